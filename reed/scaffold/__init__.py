"""New plugins: templates of a folder that works as it is, and writing them.

    templates/lua/    plugin.yaml, main.lua, README.md, tests/
    templates/rust/   plugin.yaml, Cargo.toml, src/main.rs, README.md; the crate reed-plugin comes with reed

A template is a file as it will be, with @name@, @row@ and @crate@ for what is not known yet. Nothing that exists is
ever overwritten: the folder is made, or it is an error.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from reed.errors import ReedError
from reed.plugin_types import LANGUAGES
from reed.wire import identifiers

VERSION = "0.1.0"
TEMPLATES = Path(__file__).parent / "templates"
CRATE = Path(__file__).parent.parent / "rust"

_PLACEHOLDER = re.compile(r"@([a-z]+)@")


def language_of(name: str) -> str:
    """The language that a plugin's name tells: new-lua-plugin, new-rust-plugin; "" when it tells none, or both."""
    told = set(name.split("-")) & LANGUAGES.keys()
    return told.pop() if len(told) == 1 else ""


def row(name: str, language: str) -> str:
    """The line of plugin-registry.csv that lets a new plugin run."""
    kind = LANGUAGES[language].name
    path = f"/tmp/reed-cms/plugins/{name}.sock"
    return f'{name},{kind},{path},{VERSION},"snippet_read","editor,admin",true,"What {name} does, in one line"'


def files(name: str, language: str) -> dict[str, str]:
    """What a new plugin's folder holds: path below it, and text."""
    # A TOML string may be written as JSON writes it.
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
    """The template with every @placeholder@ filled in; one that has no value is a KeyError."""
    return _PLACEHOLDER.sub(lambda match: values[match[1]], template)


def write(name: str, language: str, above: Path) -> tuple[Path, list[str]]:
    """Make the folder NAME below `above`; the folder, and the paths in it. Malformed when the name is none; ReedError
    when something is there already. What cannot be written whole is taken away again.
    """
    identifiers.check("plugin name", name)
    texts = files(name, language)
    folder = above / name
    above.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir()
    except FileExistsError:
        raise ReedError(f"{folder} is there already", hint="choose another name, or another folder: --dir") from None
    try:
        for path, text in texts.items():
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder, list(texts)
