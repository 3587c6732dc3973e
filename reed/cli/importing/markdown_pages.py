"""The Markdown files of a folder as pages, for `reed import FOLDER --markdown`. No core is needed here.

    file               path           below
    index.md           index                    the page of the folder itself
    about.md           about          index
    guide/README.md    guide          index     index.md, README.md, or guide.md beside the folder: only one of them
    guide/start.md     guide/start    guide
    notes/first.md     notes/first    notes     `notes` is made up: its title is the folder's name, its body is empty

The content of a page is its front matter with `path`, `file`, `title` and `body`:

    title    that of the front matter; else the first heading of the first level; else from the file's name
    body     the text after the front matter
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.front_matter import front_matter_plugin

from reed.cli.importing import front_matter
from reed.cli.options import without_bom
from reed.errors import FileError, Malformed
from reed.wire import strict_json

ROOT = "index"  # the path of the outermost folder's page
SUFFIXES = (".md", ".markdown")
_FOLDER_PAGES = ("index", "readme")
_SET_BY_IMPORT = ("path", "file", "body")
_MARKDOWN = MarkdownIt("commonmark").enable("table").use(front_matter_plugin)

Report = Callable[[FileError], None]


class Page(NamedTuple):
    path: str
    file: str  # below the folder, as "guide/start.md"; that of a made-up page ends with "/"
    parent: str  # the path of its folder's page; "" for the outermost one
    content: bytes  # a JSON object
    order: tuple[float, str] = (0, "")  # among the pages of its parent


class Folder(NamedTuple):
    pages: list[Page]  # a page comes after its parent
    rejected: set[str]  # paths of files that cannot be imported


def read_folder(folder: Path, reject: Report, warn: Report, progress: Callable[[int], None]) -> Folder:
    """Problems of single files are reported. Raises FileError if there are no files of Markdown."""
    files = _files(folder, reject, warn)
    by_path: dict[str, Page] = {}
    rejected: set[str] = set()
    for number, file in enumerate(files, 1):
        path = path_of(file)
        try:
            if path in by_path:
                raise FileError(file, f"duplicate path {path!r}: {by_path[path].file} has it too")
            by_path[path] = _page(folder, file, path, set(files), warn)
        except FileError as error:
            rejected.update({path} - by_path.keys())
            reject(_shown(folder, error))
        progress(number)
    if not files:
        raise FileError(str(folder), "no file ends with .md or .markdown", hint="nothing was imported")
    _add_folders(folder, by_path, rejected)
    return Folder(sorted(by_path.values(), key=lambda page: (page.path != ROOT, page.path.count("/"))), rejected)


def path_of(file: str) -> str:
    """The path of the page in this file: "guide" of "guide/index.md"."""
    parent, _, name = file.rpartition("/")
    stem = name.rpartition(".")[0]
    if stem.lower() in _FOLDER_PAGES:
        return parent or ROOT
    return f"{parent}/{stem}" if parent else stem


def _files(folder: Path, reject: Report, warn: Report) -> list[str]:
    """Relative, sorted. Hidden files and folders are left out."""

    def unreadable(error: OSError) -> None:
        reject(FileError(str(error.filename), f"cannot be read: {error.strerror}"))

    found = []
    for where, folders, names in os.walk(folder, onerror=unreadable):
        for name in folders:
            if Path(where, name).is_symlink():
                warn(FileError(str(Path(where, name)), "is a symbolic link to a folder, which is not followed"))
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(where, name).relative_to(folder).as_posix()
            for name in names
            if name.lower().endswith(SUFFIXES) and not name.startswith(".")
        ]
    return sorted(found)


def _page(folder: Path, file: str, path: str, files: set[str], warn: Report) -> Page:
    """Raises FileError, with the path below the folder."""
    text = _text(folder, file)
    tokens = _MARKDOWN.parse(text)
    fields, lines, begin = _front_matter(file, text, tokens)
    for name in _SET_BY_IMPORT:
        if name in fields:
            problem = f"front matter: {name!r} is set by the import"
            raise FileError(file, problem, line=lines[name], hint="give the field another name")
    order = fields.get("order")
    if order is not None and (isinstance(order, bool) or not isinstance(order, (int, float))):
        problem = f"front matter: order must be a number, found {order!r}"
        raise FileError(file, problem, line=lines["order"])
    title = fields.pop("title", None) or _heading(tokens) or _title_of(path, folder)
    body = "\n".join(text.split("\n")[begin:]).strip("\n")
    try:
        content = strict_json.dumps({"path": path, "file": file, "title": title, **fields, "body": body})
        strict_json.loads(content)  # also what a core would refuse, such as nesting
    except (Malformed, UnicodeEncodeError) as error:
        raise FileError(file, f"front matter: {error}", line=1) from None
    for line, problem in _bad_links(folder, file, tokens, files):
        warn(_shown(folder, FileError(file, f"warning: {problem}", line=line)))
    return Page(path, file, _parent(path), content, _order(order, path))


def _text(folder: Path, file: str) -> str:
    whole = folder / file
    if whole.is_symlink() and not whole.resolve().is_relative_to(folder.resolve()):
        raise FileError(file, "is a symbolic link out of the folder", hint="copy the file into the folder")
    try:
        file.encode()
        data = without_bom(whole.read_bytes())
        return data.decode().replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeEncodeError:
        raise FileError(file, "the name of the file is not UTF-8") from None
    except UnicodeDecodeError as error:
        line, column = data.count(b"\n", 0, error.start) + 1, error.start - data.rfind(b"\n", 0, error.start)
        raise FileError(file, f"not UTF-8: byte 0x{data[error.start]:02X}", line=line, column=column) from None
    except OSError as error:
        raise FileError(file, f"cannot be read: {error.strerror}") from None


def _front_matter(file: str, text: str, tokens: list[Token]) -> tuple[dict[str, Any], dict[str, int], int]:
    """The fields, the lines of their keys, and the line (from 0) in which the body begins."""
    if tokens and tokens[0].type == "front_matter" and tokens[0].map:
        found = front_matter.read(file, tokens[0].content, 2)
        return found.fields, found.lines, tokens[0].map[1]
    if re.match(r"---[ \t]*\n", text):
        hint = "end it with a line of ---, or write *** for a horizontal line"
        raise FileError(file, "front matter begins here, but does not end", line=1, hint=hint)
    return {}, {}, 0


def _heading(tokens: list[Token]) -> str:
    """The text of the first heading of the first level."""
    for token, content in itertools.pairwise(tokens):
        if token.type == "heading_open" and token.tag == "h1":
            return "".join(each.content for each in content.children or ()).strip()
    return ""


def _bad_links(folder: Path, file: str, tokens: list[Token], files: set[str]) -> Iterator[tuple[int, str]]:
    """Line and problem of relative links that lead out of the folder, or to nothing."""
    for token in tokens:
        line = token.map[0] + 1 if token.map else 0
        for each in token.children or ():
            line += each.type in ("softbreak", "hardbreak")
            target = str(each.attrGet("href" if each.type == "link_open" else "src") or "")
            parts = urlsplit(target)
            if parts.scheme or parts.netloc or not parts.path or parts.path.startswith("/"):
                continue
            linked = os.path.normpath(os.path.join(os.path.dirname(file), unquote(parts.path)))
            if linked == ".." or linked.startswith("../"):
                yield line, f"the link {target} leads out of the folder"
            elif linked not in files and not (folder / linked).exists():
                yield line, f"the link {target} leads to no file"


def _add_folders(folder: Path, pages: dict[str, Page], rejected: set[str]) -> None:
    """Make up the pages of folders that have none."""
    missing = [page.parent for page in pages.values()]
    while missing:
        path = missing.pop()
        if not path or path in pages or path in rejected:
            continue
        file = "./" if path == ROOT else f"{path}/"
        content = strict_json.dumps({"path": path, "file": file, "title": _title_of(path, folder), "body": ""})
        pages[path] = Page(path, file, _parent(path), content, _order(None, path))
        missing.append(_parent(path))


def _parent(path: str) -> str:
    return "" if path == ROOT else path.rpartition("/")[0] or ROOT


def _order(order: float | None, path: str) -> tuple[float, str]:
    """Numbers first, then by name."""
    return (float("inf") if order is None else order), path


def _title_of(path: str, folder: Path) -> str:
    name = folder.resolve().name if path == ROOT else path.rpartition("/")[2]
    words = re.sub(r"[-_\s]+", " ", name).strip()
    return words[:1].upper() + words[1:] if words else "Home"


def _shown(folder: Path, error: FileError) -> FileError:
    """With the path as the user can open it."""
    return FileError(str(folder / error.path), error.message, line=error.line, column=error.column, hint=error.hint)
