"""strict_json against the standard library: takes all that RFC 8259 has, and nothing beside it, quickly."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reed.errors import Malformed
from reed.wire import strict_json

CLEAN_TEXT = st.text(st.characters(exclude_categories=("Cs",)))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | CLEAN_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(CLEAN_TEXT, inner, max_size=4),
    max_leaves=20,
)
LIMIT = 5.0  # seconds, for texts of a megabyte or so, read in 0.3: what is not linear takes minutes


def loads_or_error(data: bytes) -> Any:
    try:
        return strict_json.loads(data)
    except Malformed as error:
        return error


@given(VALUES, st.booleans(), st.sampled_from([None, 2]))
def test_every_json_text_is_read_as_the_standard_library_reads_it(value: Any, ascii_only: bool, indent: Any) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    assert strict_json.loads(text) == json.loads(text) == value
    assert strict_json.loads(memoryview(bytearray(text))) == value


@given(VALUES)
def test_what_is_written_is_compact_and_comes_back(value: Any) -> None:
    data = strict_json.dumps(value)
    assert strict_json.loads(data) == value
    assert data == json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


JSON_LIKE = st.text(st.sampled_from('{}[]",:\\u0019eE+-.tfn\x00\t dDaA8😀\ufeff'), max_size=40)


@given(JSON_LIKE)
def test_nothing_is_taken_that_the_standard_library_refuses(text: str) -> None:
    value = loads_or_error(text.encode())
    assert isinstance(value, Malformed) or json.loads(text) == value


@given(st.binary(max_size=60))
def test_random_bytes_are_read_or_malformed(data: bytes) -> None:
    value = loads_or_error(data)
    assert not isinstance(value, Malformed) or str(value).startswith("JSON: ")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"NaN", "NaN is no JSON value"),
        (b"[1, Infinity]", "Infinity is no JSON value"),
        (b"[1, -Infinity]", "-Infinity is no JSON value"),
        (b"1e999", "number 1e999 is out of range"),
        (b"-1e999", "number -1e999 is out of range"),
        (b'{"a":1,"b":2,"a":3}', "duplicate key 'a'"),
        (b'{"o":{"a":1,"\\u0061":3}}', "duplicate key 'a'"),
        (b'["\\ud800"]', "lone surrogate"),
        (b'["\\uDFFFx"]', "lone surrogate"),
        (b'{"\\udc00\\ud800":1}', "lone surrogate"),
        (b'"\xed\xa0\x80"', "not UTF-8 at byte 1"),
        (b'"\xff"', "not UTF-8 at byte 1"),
        ('{"a":1}'.encode("utf-16"), "not UTF-8 at byte 0"),
        ('{"a":1}'.encode("utf-16-be"), "Expecting"),
        (b"\xef\xbb\xbf{}", "a byte order mark before it"),
        (b"1" * 5000, "an integer of more than 4300 digits"),
        (b'{\n "a": 1,\n "b": tru\n}', "line 3 column 7"),
        (b"", "there is nothing"),
        (b" \n", "there is nothing"),
        (b"{} {}", "Extra data at line 1 column 4"),
    ],
)
def test_what_json_has_not_is_refused_with_its_reason(text: bytes, says: str) -> None:
    with pytest.raises(Malformed, match=r"^JSON: ") as caught:
        strict_json.loads(text)
    assert says in str(caught.value)
    assert "sys." not in str(caught.value)


def test_pairs_of_surrogates_are_a_character() -> None:
    assert strict_json.loads(b'"\\ud83d\\ude00"') == "😀"
    assert strict_json.loads(b'"\\\\ud800"') == "\\ud800"  # an escaped backslash: no escape at all
    assert strict_json.loads(b"-0.0e-5") == 0
    assert strict_json.loads(b"1e-999") == 0


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_nesting_is_64_deep_at_most(opening: str, closing: str) -> None:
    def nested(depth: int) -> bytes:
        return (opening * depth + "1" + closing * depth).encode()

    strict_json.loads(nested(64))
    strict_json.loads(b"[" + nested(63) + b"," + nested(63) + b"]")
    strict_json.loads(b'["' + b"[" * 1000 + b'\\"' + b"{" * 1000 + b'"]')  # brackets in strings are text
    strict_json.loads(b"[" + b",".join([nested(63)] * 100) + b"]")
    for depth in (65, 100_000):
        with pytest.raises(Malformed, match="nested deeper than 64"):
            strict_json.loads(nested(depth))
    with pytest.raises(Malformed, match="nested deeper than 64"):
        strict_json.loads(opening.encode() * 100_000)


@pytest.mark.parametrize(
    "text",
    [
        b'["' + b'\\"' * 500_000 + b"[" * 70,  # a string that never ends
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


def test_only_an_object_where_one_is_asked_for() -> None:
    assert strict_json.load_object(b'{"a":[1]}') == {"a": [1]}
    for text, found in {
        b"[]": "an array",
        b'"x"': "a string",
        b"1.5": "a number",
        b"true": "a boolean",
        b"null": "null",
    }.items():
        with pytest.raises(Malformed, match=f"expected an object, found {found}"):
            strict_json.load_object(text)
    assert strict_json.describe({}) == "an object"


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), {1, 2}, "\ud800", b"bytes", 10**5000, {(1, 2): 3}], ids=type
)
def test_what_has_no_json_text_is_not_written(value: Any) -> None:
    with pytest.raises(Malformed):
        strict_json.dumps(value)


def test_what_never_ends_is_not_written() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(Malformed):
        strict_json.dumps(endless)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(Malformed):
        strict_json.dumps(deep)
