"""Equality of field values: equal JSON values have the same canonical text (protocol.md#snippet_find).

    strings    equal code points
    numbers    exactly equal values: 1, 1.0 and 10e-1 are equal
    arrays     equal items in the same order
    objects    equal members in any order
    1, "1" and true differ; so do null and a missing field

An index of a field stores `key_of` the canonical text: the text itself, or a digest of a long one; `text_of_key` where
it can store only text.
"""

from __future__ import annotations

import json
import re
from _blake2 import blake2b  # not from hashlib, which loads OpenSSL
from collections.abc import Iterable
from typing import NamedTuple

from reed.errors import Malformed
from reed.wire import strict_json
from reed.wire.strict_json import Json
from reed.wire.structs import Bytes

MAX_CONDITIONS = 32

_MAX_KEY = 128  # bytes
_DIGEST_MARK = b"#"  # begins no canonical text
_MAX_SHOWN = 60  # characters of a value in a message
_MAX_EXPONENT = 18  # digits; a longer exponent is compared as it is written


class _Number(str):
    """A number as written in the JSON text."""

    __slots__ = ()


_decode = json.JSONDecoder(parse_int=_Number, parse_float=_Number).decode
_quote = json.JSONEncoder(ensure_ascii=False).encode
_NUMBER = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?")


def fields_of(content: Bytes) -> dict[str, Json]:
    """The fields of a stored content, numbers kept as written; values for `canonical` and `shown`."""
    fields: dict[str, Json] = _decode(str(content, "utf-8"))
    return fields


class FieldValue(NamedTuple):
    key: bytes  # `key_of` its canonical text
    shown: str  # in a message


def values_of(content: Bytes, names: Iterable[str]) -> dict[str, FieldValue]:
    """The values of these fields, where the content has them."""
    wanted = list(names)
    fields = fields_of(content) if wanted else {}
    return {name: FieldValue(key_of(canonical(fields[name])), shown(fields[name])) for name in wanted if name in fields}


def conditions_of(text: bytes) -> dict[str, str]:
    """The canonical text that each field must have, from a JSON object. Raises Malformed."""
    strict_json.load_object(text)
    conditions = {field: canonical(value) for field, value in fields_of(text).items()}
    if len(conditions) > MAX_CONDITIONS:
        raise Malformed(f"{len(conditions)} conditions", hint=f"at most {MAX_CONDITIONS}")
    return conditions


def satisfies(conditions: dict[str, str], content: bytes) -> bool:
    if not conditions:
        return True
    fields = fields_of(content)
    return all(field in fields and canonical(fields[field]) == wanted for field, wanted in conditions.items())


def key_of(text: str) -> bytes:
    key = text.encode()
    return key if len(key) <= _MAX_KEY else _DIGEST_MARK + blake2b(key, digest_size=32).digest()


NULL_KEY = key_of("null")  # may occur often, even in a unique field


def text_of_key(key: bytes) -> str:
    return key.decode() if is_exact(key) else f"#{key[1:].hex()}"


def key_of_text(text: str) -> bytes:
    return _DIGEST_MARK + bytes.fromhex(text[1:]) if text.startswith("#") else text.encode()


def is_exact(key: bytes) -> bool:
    """Is the key the canonical text itself, not a digest?"""
    return not key.startswith(_DIGEST_MARK)


def canonical(value: Json) -> str:
    if isinstance(value, str):
        return _canonical_number(value) if isinstance(value, _Number) else _quote(value)
    if isinstance(value, list):
        return f"[{','.join(map(canonical, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{_quote(key)}:{canonical(value[key])}' for key in sorted(value))}}}"
    return "null" if value is None else "true" if value else "false"


def shown(value: Json) -> str:
    """A value from `fields_of` as shown in a message."""
    text = str(value) if isinstance(value, _Number) else canonical(value)
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…"


def _canonical_number(text: str) -> str:
    """Sign, significant digits, exponent."""
    match = _NUMBER.fullmatch(text)
    assert match is not None
    sign, whole, fraction, exponent = match.groups("")
    digits = (whole + fraction).lstrip("0")
    if not digits:
        return "0"
    if len(exponent) > _MAX_EXPONENT:
        return text.lower()
    significant = digits.rstrip("0")
    power = int(exponent or "0") - len(fraction) + len(digits) - len(significant)
    return f"{sign}{significant}e{power}"
