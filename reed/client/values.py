"""What callers pass and what they get: JSON as bytes, records without views of a buffer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reed.wire.registry import Definition
    from reed.wire.snippets import Record, SnippetPage


def to_json(value: Any) -> bytes:
    """`bytes` stay as they are."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    from reed.wire import strict_json

    return strict_json.dumps(value)


def own(record: Record) -> Record:
    """With `bytes` in place of the view of the payload."""
    return record._replace(content=bytes(record.content))


def own_page(page: SnippetPage) -> SnippetPage:
    return page._replace(records=[own(record) for record in page.records])


def own_definition(definition: Definition) -> Definition:
    return definition._replace(definition=bytes(definition.definition))
