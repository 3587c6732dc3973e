"""SCAFFOLD: new plugins from templates, and the row that registers them.

    templates/LANGUAGE/    the files of a plugin that works as it is; LANGUAGE is that of a plugin type

A template is the finished file with the placeholders @name@, @row@ and @crate@. Existing files are never overwritten.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from reed.errors import ReedError
from reed.plugin_types import LANGUAGES
from reed.wire import identifiers

VERSION = "0.1.0"
TEMPLATES = Path(__file__).parent / "templates"
CRATE = Path(__file__).parent.parent / "rust"

_PLACEHOLDER = re.compile(r"@([a-z]+)@")


def language_of(name: str) -> str:
    """The language in a plugin's name, as in new-lua-plugin; "" if there is none or more than one."""
    found = set(name.split("-")) & LANGUAGES.keys()
    return found.pop() if len(found) == 1 else ""


def row(name: str, language: str) -> str:
    kind = LANGUAGES[language].name
    path = f"/tmp/reed-cms/plugins/{name}.sock"
    return f'{name},{kind},{path},{VERSION},"snippet_read","editor,admin",true,"What {name} does, in one line"'


def files(name: str, language: str) -> dict[str, str]:
    """The files of a new plugin: path in its folder -> text."""
    # A TOML string may be written like a JSON string.
    values = {"name": name, "row": row(name, language), "crate": json.dumps(os.fspath(CRATE), ensure_ascii=False)}
    root = TEMPLATES / language
    found = {
        path.relative_to(root).as_posix(): render(path.read_text(encoding="utf-8"), values)
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }
    copied = LANGUAGES[language].template_files
    return found | {path: source.read_text(encoding="utf-8") for path, source in copied.items()}


def render(template: str, values: Mapping[str, str]) -> str:
    """Fills in every @placeholder@. Raises KeyError for an unknown one."""
    return _PLACEHOLDER.sub(lambda match: values[match[1]], template)


def write(name: str, language: str, parent: Path) -> tuple[Path, list[str]]:
    """Creates the folder `name` in `parent`; returns it with the paths in it. Removes it again if a file fails.

    Raises Malformed for an invalid name, ReedError if the folder exists.
    """
    identifiers.check("plugin name", name)
    texts = files(name, language)
    folder = parent / name
    parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir()
    except FileExistsError:
        raise ReedError(f"{folder} already exists", hint="choose another name, or another folder: --dir") from None
    try:
        for path, text in texts.items():
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder, list(texts)


def update_file(path: Path, update: Callable[[bytes], bytes]) -> None:
    """Replaces a file's contents by `update` of them, atomically: temporary file, fsync, rename, fsync of the folder.

    The folder is locked meanwhile. Mode and owner stay; a symbolic link is followed. If `update` raises, the file is
    unchanged. Raises OSError.
    """
    path = Path(os.path.realpath(path))
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        new = update(path.read_bytes())
        _replace(path, new, os.stat(path))
        os.fsync(folder)
    finally:
        os.close(folder)


def _replace(path: Path, data: bytes, old: os.stat_result) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            with contextlib.suppress(PermissionError):  # only root can change the owner
                os.fchown(fd, old.st_uid, old.st_gid)
            os.fchmod(fd, old.st_mode & 0o7777)
            os.fsync(fd)
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
