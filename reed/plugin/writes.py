"""The commands that write, encoded: `reed.snippet` sends one at once, a batch collects them.

Write("snippet.create", (b'["page","blog/intro"]', b'{"title":"Hello"}'))
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from reed.plugin import services
from reed.plugin.failure import Error
from reed.plugin.records import Snippet
from reed.plugin.services import encode, text_of

Json = Mapping[str, Any] | str | bytes  # an object, or its JSON text

is_batching = False  # set by Batch


class Write(NamedTuple):
    operation: str
    arguments: tuple[bytes, ...]


def create(type: str, name: str, content: Json) -> Write:
    return Write("snippet.create", (encode([type, name]), text_of(content)))


def update(ref: str, patch: Json, if_version: int) -> Write:
    return Write("snippet.update", (encode([ref, if_version]), text_of(patch)))


def rename(ref: str, name: str) -> Write:
    return Write("snippet.rename", (encode([ref, name]),))


def delete(ref: str, cascade: bool) -> Write:
    return Write("snippet.delete", (encode([ref, cascade]),))


def restore(snippet: Snippet, accept_unfit: bool, overwrite: bool, dry_run: bool) -> Write:
    flags = 1 * accept_unfit | 2 * overwrite | 4 * dry_run
    *fields, content = snippet
    return Write("snippet.restore", (encode([flags, *fields]), text_of(content)))


def bond(parent: str, child: str, weight: int, path: str) -> Write:
    return Write("schema.bond", (encode([parent, child, weight, path]),))


def unbond(parent: str, child: str) -> Write:
    return Write("schema.unbond", (encode([parent, child]),))


def define(name: str, definition: Json) -> Write:
    return Write("registry.define", (encode([name]), text_of(definition)))


def delete_type(name: str) -> Write:
    return Write("registry.delete", (encode([name]),))


def written(write: Write) -> list[Any]:
    """Sends it; its results. Raises Error."""
    if is_batching:
        name = write.operation
        raise Error(f"reed.{name} within a batch", status=500, hint=f"call batch.{name}, which queues the write")
    found = services.ask_json(write.operation, *write.arguments)
    return found if isinstance(found, list) else [found]


def written_id(write: Write) -> str:
    return str(written(write)[0])
