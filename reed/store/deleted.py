"""What an event `snippet.deleted` carries of the snippet, as it was before (events.md#deleted-snippets).

    content    "content":{…}     beyond MAX_CONTENT bytes "content":null,"content_bytes":N
    bonds      "bonds":[…]       as many as fit into MAX_BONDS bytes, then "more_bonds":true

They are kept as members of the event's JSON object, byte for byte, until each subscriber has acknowledged the event.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from reed.wire import strict_json
from reed.wire.structs import Bytes

# With both a Lua plugin of 8 MB can decode the event.
MAX_CONTENT = 256 * 1024
MAX_BONDS = 64 * 1024


class Deleted(NamedTuple):
    content: bytes = b""  # b"": unknown
    bonds: bytes = b""


NOT_DELETED = Deleted()


def content_member(content: Bytes) -> bytes:
    if len(content) > MAX_CONTENT:
        return b'"content":null,"content_bytes":%d' % len(content)
    return b'"content":' + bytes(content)


def bonds_member(bonds: Iterable[tuple[str, str, str, int, str]]) -> bytes:
    """Of bonds (id, parent, child, weight, path), where parent and child are ids; reads no more than fit."""
    parts: list[bytes] = []
    room = MAX_BONDS
    more = b""
    for bond in bonds:
        part = strict_json.dumps(dict(zip(("id", "parent", "child", "weight", "path"), bond, strict=True)))
        room -= len(part)
        if room < 0:
            more = b',"more_bonds":true'
            break
        parts.append(part)
    return b'"bonds":[%b]%b' % (b",".join(parts), more)
