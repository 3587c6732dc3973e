"""strict_json against the standard library: accepts all of RFC 8259 and nothing else, in linear time."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reed.errors import Malformed
from reed.wire import strict_json

CLEAN_TEXT = st.text(st.characters(exclude_categories=("Cs",)))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | CLEAN_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(CLEAN_TEXT, inner, max_size=4),
    max_leaves=20,
)
LIMIT = 5.0  # seconds for a text of about 1 MB, which takes 0.3; quadratic time takes minutes


def loads_or_error(data: bytes) -> Any:
    try:
        return strict_json.loads(data)
    except Malformed as error:
        return error


@given(VALUES, st.booleans(), st.sampled_from([None, 2]))
def test_every_json_text_is_decoded_as_by_the_standard_library(value: Any, ascii_only: bool, indent: Any) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    assert strict_json.loads(text) == json.loads(text) == value
    assert strict_json.loads(memoryview(bytearray(text))) == value


@given(VALUES)
def test_encoding_is_compact_and_round_trips(value: Any) -> None:
    data = strict_json.dumps(value)
    assert strict_json.loads(data) == value
    assert data == json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


JSON_LIKE = st.text(st.sampled_from('{}[]",:\\u0019eE+-.tfn\x00\t dDaA8😀\ufeff'), max_size=40)


@given(JSON_LIKE)
def test_nothing_is_accepted_that_the_standard_library_rejects(text: str) -> None:
    value = loads_or_error(text.encode())
    assert isinstance(value, Malformed) or json.loads(text) == value


@given(st.binary(max_size=60))
def test_random_bytes_are_decoded_or_malformed(data: bytes) -> None:
    value = loads_or_error(data)
    assert isinstance(value, Malformed) or json.loads(data) == value


NOT_JSON = [
    b"NaN",
    b"[1, Infinity]",
    b"[1, -Infinity]",
    b"1e999",
    b"-1e999",
    b'{"a":1,"b":2,"a":3}',
    b'{"o":{"a":1,"\\u0061":3}}',
    b'["\\ud800"]',
    b'["\\uDFFFx"]',
    b'{"\\udc00\\ud800":1}',
    b'"\xed\xa0\x80"',
    b'"\xff"',
    '{"a":1}'.encode("utf-16"),
    '{"a":1}'.encode("utf-16-be"),
    b"\xef\xbb\xbf{}",
    b"1" * 5000,
    b'{\n "a": 1,\n "b": tru\n}',
    b"",
    b" \n",
    b"{} {}",
]


@pytest.mark.parametrize("text", NOT_JSON)
def test_what_is_not_json_is_malformed(text: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        strict_json.loads(text)
    assert "sys." not in str(caught.value)  # Python's own hint at an option of the interpreter


def test_a_surrogate_pair_is_one_character() -> None:
    assert strict_json.loads(b'"\\ud83d\\ude00"') == "😀"
    assert strict_json.loads(b'"\\\\ud800"') == "\\ud800"  # an escaped backslash, not an escaped surrogate
    assert strict_json.loads(b"-0.0e-5") == 0
    assert strict_json.loads(b"1e-999") == 0


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_nesting_deeper_than_64_levels_is_malformed(opening: str, closing: str) -> None:
    def nested(depth: int) -> bytes:
        return (opening * depth + "1" + closing * depth).encode()

    strict_json.loads(nested(64))
    strict_json.loads(b"[" + nested(63) + b"," + nested(63) + b"]")
    strict_json.loads(b'["' + b"[" * 1000 + b'\\"' + b"{" * 1000 + b'"]')  # brackets in strings are text
    strict_json.loads(b"[" + b",".join([nested(63)] * 100) + b"]")
    for depth in (65, 100_000):
        with pytest.raises(Malformed):
            strict_json.loads(nested(depth))
    with pytest.raises(Malformed):
        strict_json.loads(opening.encode() * 100_000)


NESTED = st.recursive(
    st.text(st.sampled_from('"\\[{'), max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.sampled_from('"\\[{')), inner, max_size=3),
    max_leaves=10,
)


@example(["\\", [[["x"]]]], 3)
@example(['"', [[["x"]]]], 3)
@example(["[[[[", ['"[[[[']], 2)
@given(NESTED, st.integers(0, 4))
def test_quotes_and_brackets_in_strings_do_not_change_the_depth(value: Any, limit: int) -> None:
    def depth(value: Any) -> int:
        if isinstance(value, str):
            return 0
        return 1 + max(map(depth, value.values() if isinstance(value, dict) else value), default=0)

    try:
        accepted = strict_json.loads(json.dumps(value).encode(), limit) == value
    except Malformed:
        accepted = False
    assert accepted == (depth(value) <= limit)


@pytest.mark.parametrize(
    "text",
    [
        b'["' + b'\\"' * 500_000 + b"[" * 70,  # an unterminated string
        b'["' + b"[" * 70 + b'\\"' * 500_000 + b"\\",
        b'["' + b"[" * 70 + b"a" * 1_000_000,
        b'["' + b"[" * 1_000_000 + b'"]',
        b"[" + b"[]," * 300_000 + b"[]]",
        b'{"a":"' + b"\\\\" * 500_000 + b'"}' + b"[" * 70,
        b"0." + b"1" * 1_000_000,
        b"1" * 1_000_000,
        b'"' * 1_000_001 + b"[" * 65,
        b'["' + b"\\ud83d\\ude00" * 100_000 + b'"]',
    ],
    ids=lambda text: f"{text[:12]!r}…",
)
def test_long_texts_take_linear_time(text: bytes) -> None:
    started = time.process_time()
    value = loads_or_error(text)
    assert not isinstance(value, Malformed) or len(str(value)) < 200
    assert time.process_time() - started < LIMIT


def test_load_object_rejects_every_other_value() -> None:
    assert strict_json.load_object(b'{"a":[1]}') == {"a": [1]}
    for text in (b"[]", b'"x"', b"1.5", b"true", b"null"):
        with pytest.raises(Malformed):
            strict_json.load_object(text)


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), {1, 2}, "\ud800", b"bytes", 10**5000, {(1, 2): 3}], ids=type
)
def test_values_without_a_json_text_are_malformed(value: Any) -> None:
    with pytest.raises(Malformed):
        strict_json.dumps(value)


def test_cyclic_and_very_deep_values_are_malformed() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(Malformed):
        strict_json.dumps(endless)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(Malformed):
        strict_json.dumps(deep)
