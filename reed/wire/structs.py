"""Every fixed struct of the protocol, little-endian and packed (protocol.md#commands).

A struct whose last field is a length (`…_len`) is followed by its tail of that many bytes: JSON, a text, a path.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from struct import error as StructError
from typing import Any, TypeVar

from reed.errors import Malformed


def _struct(fields: str) -> Struct:
    """Fields are "FORMAT name, …"; the names are for the reader."""
    return Struct("<" + "".join(field.split()[0] for field in fields.split(",")))


HEADER = _struct("I magic, B version, B command_id, B flags, B reserved, I payload_len")
COMMAND_AT, FLAGS_AT = 5, 6  # in a header
STATUS = _struct("H status")  # starts every response
ANSWER = _struct("I magic, B version, B command_id, B flags, B reserved, I payload_len, H status")  # + body
ERROR_RESPONSE = _struct("H status, I error_code, H error_len")
SIGNAL_MESSAGE = _struct("B signal_type, Q timestamp, 32s plugin_name, H data_len")
PLUGIN_MESSAGE = _struct(
    "I magic, B version, B message_type, 32s source_plugin, 32s target_plugin, Q timestamp, I payload_len"
)

# Requests to the core.
NAME = _struct("32s name")
REF = _struct("36s ref")
SNIPPET_CREATE = _struct("32s snippet_type, 32s semantic_name, I content_len")
SNIPPET_UPDATE = _struct("36s ref, I if_version, I patch_len")
SNIPPET_DELETE = _struct("36s ref, B cascade")
SNIPPET_LIST = _struct("32s snippet_type, 36s after, I limit")
SNIPPET_FIND = _struct("32s snippet_type, 36s after, I limit, I conditions_len")
FLAGS = _struct("B flags")  # SNIPPET_RESTORE; + record
SNIPPET_RENAME = _struct("36s ref, 32s semantic_name")
SNIPPET_NAMES = _struct("32s prefix, I limit")
SNIPPET_WATCH = _struct("32s cursor, I count")  # + names of types
SCHEMA_BOND = _struct("36s parent, 36s child, i weight, H path_len")
SCHEMA_UNBOND = _struct("36s parent, 36s child")
SCHEMA_TREE = _struct("36s root, B depth")
REGISTRY_DEFINE = _struct("32s type_name, I definition_len")
REGISTRY_CHECK = _struct("32s type_name, 36s after, I limit")
SEARCH_QUERY = _struct("32s snippet_type, I limit, I offset, H query_len")
PLUGIN_REGISTER = _struct("32s name, 16s version, I pid, I manifest_len")
CONNECTION_ASSUME = _struct("32s group, H user_len")
PLUGIN_SEND = _struct("32s plugin, 32s action, I input_len")
PLUGIN_RUN_SCHEDULE = _struct("32s plugin, 32s schedule")
PLUGIN_RELOAD = _struct("32s plugin_name, B report")  # or only the name, or nothing

# Responses of the core.
SNIPPET_WRITTEN = _struct("H status, 36s snippet_id, H error_len")
WRITTEN = _struct(  # a header, and SNIPPET_WRITTEN without an error
    "I magic, B version, B command_id, B flags, B reserved, I payload_len, H status, 36s snippet_id, H error_len"
)
RECORD = _struct("36s id, 32s snippet_type, 32s semantic_name, I version, Q created_at, Q updated_at, I content_len")
SNIPPET_PAGE = _struct("H status, I count, 36s cursor")  # + records
SNIPPET_CHANGES = _struct("H status, I count, 32s cursor")  # + changes
CHANGE = _struct(
    "16s kind, 36s id, 32s snippet_type, 32s semantic_name, I version, Q at, 32s made_by, 36s child, 32s cursor"
)
BONDED = _struct("H status, 36s bond_id, H error_len")
UNBONDED = _struct("H status, H error_len")
DEFINITION = _struct("32s type_name, I definition_len")
COUNT = _struct("H status, I count")  # + items
JSON_RESPONSE = _struct("H status, I json_len")
SEARCH_PAGE = _struct("H status, I total, I count")  # + hits
SEARCH_HIT = _struct("36s id, 32s snippet_type, 32s semantic_name, f score, H excerpt_len")

MONITORED = _struct("Q timestamp, B direction, I connection, 32s peer")  # + frame

Bytes = bytes | bytearray | memoryview
Item = TypeVar("Item")


def pack_text(text: str, size: int) -> bytes:
    """Padded with zeros to `size`. A name must leave room for a NUL; a ref (36 bytes) need not."""
    try:
        raw = text.encode()  # here and not by encode_text: a page of 100 records has 300 texts
    except UnicodeEncodeError:
        raw = encode_text(text)
    room = size if size == REF.size else size - 1
    if len(raw) > room or 0 in raw:
        raise Malformed(f"{text!r} does not fit a field of {room} bytes")
    return raw.ljust(size, b"\0")


def unpack_text(raw: bytes) -> str:
    """The text before the first NUL."""
    text, nul, _ = raw.partition(b"\0")
    if not nul and len(raw) != REF.size:
        raise Malformed("text field without a terminating NUL")
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise Malformed(f"text field is not UTF-8: {bytes(text)!r}") from None


def encode_text(text: str) -> bytes:
    """Malformed for a lone surrogate, which Python makes of undecodable arguments."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Malformed(f"{text[:60]!r} is not Unicode text") from None


def fill(layout: Struct, *fields: Any) -> bytes:
    """Malformed if a number is out of its field's range."""
    try:
        return layout.pack(*fields)
    except (StructError, OverflowError) as error:
        raise Malformed(f"a number does not fit its field: {error}") from None


def split(layout: Struct, payload: Bytes, what: str) -> tuple[tuple[Any, ...], memoryview]:
    """The fields and the tail."""
    if len(payload) < layout.size:
        raise Malformed(f"{what}: {len(payload)} bytes, expected at least {layout.size}")
    fields = layout.unpack_from(payload)
    tail = memoryview(payload)[layout.size :]
    if len(tail) != fields[-1]:
        raise Malformed(f"{what}: {len(tail)} bytes follow the struct, its length field says {fields[-1]}")
    return fields, tail


def split_item(layout: Struct, payload: memoryview, what: str) -> tuple[tuple[Any, ...], memoryview, memoryview]:
    """The fields and the tail of an item of a list, and the bytes after it."""
    fields = head(layout, payload, what)
    end = layout.size + fields[-1]
    if len(payload) < end:
        raise Malformed(f"{what}: its tail of {fields[-1]} bytes is cut off")
    return fields, payload[layout.size : end], payload[end:]


def unpack_items(
    unpack_from: Callable[[memoryview], tuple[Item, memoryview]], count: int, payload: memoryview, what: str
) -> list[Item]:
    """The items of a list, which is the rest of a payload."""
    items = []
    for _ in range(count):
        item, payload = unpack_from(payload)
        items.append(item)
    nothing_left(payload, what)
    return items


def exact(layout: Struct, payload: Bytes, what: str) -> tuple[Any, ...]:
    """For a struct that is the whole payload."""
    if len(payload) != layout.size:
        raise Malformed(f"{what}: {len(payload)} bytes, expected {layout.size}")
    return layout.unpack(payload)


def head(layout: Struct, payload: Bytes, what: str) -> tuple[Any, ...]:
    """For a struct that a list follows."""
    if len(payload) < layout.size:
        raise Malformed(f"{what}: {len(payload)} bytes, expected at least {layout.size}")
    return layout.unpack_from(payload)


def nothing_left(rest: Bytes, what: str) -> None:
    if len(rest):
        raise Malformed(f"{what}: {len(rest)} trailing bytes")


def decode_text(tail: memoryview, what: str) -> str:
    try:
        return str(tail, "utf-8")
    except UnicodeDecodeError as error:
        raise Malformed(f"{what}: not UTF-8 at byte {error.start}") from None


def clip(text: str, room: int = 65535) -> bytes:
    """UTF-8 of at most `room` bytes (a 16-bit length), cut between two characters."""
    raw = text.encode("utf-8", "replace")
    return raw if len(raw) <= room else raw[:room].decode("utf-8", "ignore").encode()
