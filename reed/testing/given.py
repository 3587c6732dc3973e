"""What a test is given: types and content of its core, and where its plugins are."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reed.client import Client
from reed.errors import ReedError
from reed.supervision import manifest
from reed.supervision.registry_csv import Row
from reed.testing.rows import make_row

_KEYS = {"type", "name", "content", "parent"}

Folder = str | os.PathLike[str]
Types = Mapping[str, Any]
Content = Iterable[Mapping[str, Any]]
Plugins = Mapping[Folder, Iterable[str]] | Iterable[Folder]


def define_and_create(client: Client, types: Types, content: Content) -> None:
    """Define the types, then create the snippets in order. Raises CallError, with the place as a note."""
    for name, definition in types.items():
        with _place(f"types[{name!r}]"):
            client.registry_define(name, definition)
    for number, each in enumerate(content):
        with _place(f"content[{number}]"):
            _create(client, each)


def rows_of(plugins: Plugins) -> list[tuple[Path, Row]]:
    """Each plugin's folder and registry row. Without permissions of its own, a row has those that plugin.yaml asks for.

    Raises ManifestError."""
    found = []
    for each in plugins:
        folder = folder_of(each)
        described = manifest.load(folder)
        permissions = plugins[each] if isinstance(plugins, Mapping) else described.permissions
        found.append((folder, make_row(folder, described, permissions)))
    return found


def folder_of(plugin: Folder) -> Path:
    """A folder, or that of the bundled plugin with this name."""
    path = Path(plugin)
    if not path.is_dir() and os.fspath(plugin) == path.name:
        from reed.plugin_packages.source import bundled_folder

        bundled = bundled_folder() / path.name
        if bundled.is_dir():
            return bundled
    return path.absolute()


def _create(client: Client, given: Mapping[str, Any]) -> None:
    if "type" not in given or "content" not in given or not _KEYS.issuperset(given):
        raise ReedError(
            f"expected the keys type and content, and perhaps name and parent, but found {', '.join(map(repr, given))}",
            hint='for example {"type": "page", "name": "blog/intro", "content": {"title": "Hello"}}',
        )
    snippet_id = client.snippet_create(given["type"], given.get("name", ""), given["content"])
    if "parent" in given:
        client.schema_bond(given["parent"], snippet_id)


@contextmanager
def _place(text: str) -> Iterator[None]:
    try:
        yield
    except ReedError as error:
        error.add_note(f"reed.testing: {text}")
        raise
