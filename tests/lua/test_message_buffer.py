"""Messages from a torn stream: a writer that dies costs only its last message."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from reed.plugin_host.message_buffer import MessageBuffer
from reed.wire.plugins import PluginMessage

TEXTS = st.text(max_size=40) | st.sampled_from(["GMLP", "GML", "G", "GMLP\x01", "x" * 5000])
MESSAGES = st.lists(st.tuples(st.integers(0, 255), TEXTS), min_size=1, max_size=8)


def packed(number: int, kind: int, text: str) -> bytes:
    return PluginMessage(kind, "writer", "reader", number, json.dumps(text, ensure_ascii=False).encode()).pack()


def read(data: bytes, cut: int) -> tuple[list[PluginMessage], MessageBuffer]:
    """The messages of a stream that arrives in pieces of `cut` bytes."""
    buffer, found = MessageBuffer("writer", "reader"), []
    for at in range(0, len(data), cut):
        buffer.feed(data[at : at + cut])
        while (message := buffer.next_message()) is not None:
            found.append(message)
    return found, buffer


@given(MESSAGES, st.integers(1, 300))
def test_whole_messages_arrive_unchanged(messages: list[tuple[int, str]], cut: int) -> None:
    stream = [packed(number, *message) for number, message in enumerate(messages)]
    found, buffer = read(b"".join(stream), cut)
    assert [message.pack() for message in found] == stream
    assert (buffer.dropped, buffer.pending) == (0, 0)


@given(MESSAGES, st.data(), st.integers(1, 300))
def test_only_the_torn_message_is_lost(messages: list[tuple[int, str]], data: st.DataObject, cut: int) -> None:
    stream = [packed(number, *message) for number, message in enumerate(messages)]
    torn = data.draw(st.integers(0, len(stream) - 1))
    size = data.draw(st.integers(0, len(stream[torn]) - 1))
    after = packed(1000, 7, "after")
    pieces = [*stream[:torn], stream[torn][:size], *stream[torn + 1 :], after]
    found, buffer = read(b"".join(pieces), cut)
    assert [message.pack() for message in found] == [*stream[:torn], *stream[torn + 1 :], after]
    assert buffer.dropped == size


@given(st.binary(max_size=400), st.integers(1, 100))
def test_garbage_is_dropped(garbage: bytes, cut: int) -> None:
    """A message after garbage is found, even if the garbage looks like the start of another one."""
    message = packed(1, 2, "text")
    found, _ = read(garbage + message + packed(2, 2, "next"), cut)
    assert message in [each.pack() for each in found]


def test_a_message_with_other_names_is_dropped() -> None:
    foreign = PluginMessage(1, "other", "reader", 1, b"{}").pack()
    found, buffer = read(foreign + packed(2, 1, "own"), 50)
    assert [message.timestamp for message in found] == [2]
    assert buffer.dropped == len(foreign)


def test_a_header_with_a_length_beyond_the_limit_is_dropped() -> None:
    forged = bytearray(packed(1, 1, "x"))
    forged[78:82] = b"\xff\xff\xff\xff"
    found, _ = read(bytes(forged) + packed(2, 1, "own"), 4096)
    assert [message.timestamp for message in found] == [2]
