"""New plugins from templates: templates/LANGUAGE/ has the files, with placeholders such as @name@."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from reed.atomic_file import errors_of
from reed.errors import ReedError
from reed.plugin_types import LANGUAGES
from reed.wire import identifiers

VERSION = "0.1.0"
TEMPLATES = Path(__file__).parent / "templates"

_PLACEHOLDER = re.compile(r"@([a-z]+)@")


def language_of(name: str) -> str:
    """The language in a plugin's name, such as new-lua-plugin; "" if there is none or more than one."""
    found = set(name.split("-")) & LANGUAGES.keys()
    return found.pop() if len(found) == 1 else ""


def row(name: str, language: str) -> str:
    kind = LANGUAGES[language].name
    path = f"/tmp/reed-cms/plugins/{name}.sock"
    return f'{name},{kind},{path},{VERSION},"snippet_read","editor,admin",true,"What {name} does, in one line"'


def files(name: str, language: str) -> dict[str, str]:
    """The text of each file of a new plugin."""
    values = {"name": name, "row": row(name, language), "version": VERSION}
    root = TEMPLATES / language
    found = {
        path.relative_to(root).as_posix(): render(path.read_text(encoding="utf-8"), values)
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.parent.name != "__pycache__"  # pip compiles what it installs
    }
    copied = LANGUAGES[language].template_files()
    return found | {path: source.read_text(encoding="utf-8") for path, source in copied.items()}


def render(template: str, values: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda match: values[match[1]], template)


def write(name: str, language: str, parent: Path) -> tuple[Path, list[str]]:
    """Create the folder `name` in `parent`; return it and the files in it.

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
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            with errors_of(str(folder / path)):
                (folder / path).write_text(text, encoding="utf-8")
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder, list(texts)
