"""The wording of errors that `reed.wire` and `reed.client` raise."""

from __future__ import annotations

from pathlib import Path

import pytest

from reed.client import Client
from reed.errors import CallError, CoreNotRunning, Malformed
from reed.wire import frames, identifiers, strict_json
from reed.wire.snippets import SnippetCreate, SnippetDelete


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"NaN", "NaN is not a JSON value"),
        (b"[1, Infinity]", "Infinity is not a JSON value"),
        (b"[1, -Infinity]", "-Infinity is not a JSON value"),
        (b"1e999", "number 1e999 is out of range"),
        (b"-1e999", "number -1e999 is out of range"),
        (b'{"a":1,"b":2,"a":3}', "duplicate key 'a'"),
        (b'{"o":{"a":1,"\\u0061":3}}', "duplicate key 'a'"),
        (b'["\\ud800"]', "lone surrogate in a string"),
        (b'["\\uDFFFx"]', "lone surrogate in a string"),
        (b'{"\\udc00\\ud800":1}', "lone surrogate in a string"),
        (b'"\xed\xa0\x80"', "not UTF-8 at byte 1"),
        (b'"\xff"', "not UTF-8 at byte 1"),
        ('{"a":1}'.encode("utf-16"), "not UTF-8 at byte 0"),
        (b"\xef\xbb\xbf{}", "starts with a byte order mark"),
        (b"1" * 5000, "an integer of more than 4300 digits"),
        (b'{\n "a": 1,\n "b": tru\n}', "Expecting value at line 3 column 7"),
        (b"", "the text is empty"),
        (b" \n", "the text is empty"),
        (b"{} {}", "Extra data at line 1 column 4"),
        (b"[" * 65, "nested deeper than 64"),
    ],
)
def test_json(text: bytes, message: str) -> None:
    with pytest.raises(Malformed) as caught:
        strict_json.loads(text)
    assert str(caught.value) == f"JSON: {message}"


def test_json_that_is_not_an_object() -> None:
    found = []
    for text in (b"[]", b'"x"', b"1.5", b"true", b"null"):
        with pytest.raises(Malformed) as caught:
            strict_json.load_object(text)
        found.append(str(caught.value).removeprefix("JSON: expected an object, found "))
    assert found == ["an array", "a string", "a number", "a boolean", "null"]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"GET / HTTP/1.1\r\n", "bad magic 0x20544547; the connection is closed"),
        (b"DEER\x02" + bytes(7), "protocol version 2; this core speaks version 1"),
        (frames.header(1, 9), "payload of 9 bytes; the limit is 8"),
    ],
)
def test_frames(header: bytes, message: str) -> None:
    buffer = frames.ReceiveBuffer(max_payload=8)
    buffer.feed(memoryview(header))
    with pytest.raises(CallError) as caught:
        buffer.next_frame()
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"", "SNIPPET_DELETE: 0 bytes, expected 37"),
        (b"r" * 36 + b"\2", "SNIPPET_DELETE: cascade is 2, expected 0 or 1"),
        (b"\xff" + bytes(36), "text field is not UTF-8: b'\\xff'"),
    ],
)
def test_records(payload: bytes, message: str) -> None:
    with pytest.raises(Malformed) as caught:
        SnippetDelete.unpack(payload)
    assert str(caught.value) == message


def test_names() -> None:
    with pytest.raises(Malformed) as caught:
        identifiers.check("type name", "A")
    assert str(caught.value) == "'A' is not a type name; expected a-z, then a-z 0-9 -, at most 31 characters"
    with pytest.raises(Malformed) as caught:
        SnippetCreate("t" * 32, "", b"{}").pack()
    assert str(caught.value) == f"'{'t' * 32}' does not fit a field of 31 bytes"


def test_no_core(tmp_path: Path) -> None:
    path = tmp_path / "core.sock"
    with pytest.raises(CoreNotRunning) as caught:
        Client(path)
    assert str(caught.value) == f"core not running: nobody listens on {path}; start it with: reed start"
