"""Streams: nothing is lost or reordered by short writes, and a slow reader is closed."""

from __future__ import annotations

import contextlib
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reed.loop.loop import Loop
from reed.loop.stream import Stream


class Pair:
    """A stream with the other end of its socket, on a loop with a clock of its own."""

    def __init__(self, **options) -> None:
        self.bugs: list[BaseException] = []
        self.closed: list[str] = []
        self.time = 0.0
        self.loop = Loop(clock=lambda: self.time, on_exception=self.bugs.append)
        mine, self.other = socket.socketpair()
        mine.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.other.setblocking(False)
        options.setdefault("max_queued", 1 << 30)
        self.stream = Stream(self.loop, mine, self.closed.append, **options)

    def read_all(self, size: int) -> bytes:
        data = b""
        for _ in range(100_000):
            self.loop.turn(0)
            with contextlib.suppress(BlockingIOError):
                data += self.other.recv(65536)
            if len(data) >= size:
                break
        return data

    def end(self) -> None:
        self.stream.close("the test is over")
        self.loop.turn(0)
        self.loop.close()
        self.other.close()
        assert not self.bugs


@pytest.fixture
def pair():
    pair = Pair()
    yield pair
    pair.end()


@given(st.lists(st.binary(min_size=1, max_size=20_000), min_size=1, max_size=30))
def test_what_is_sent_arrives_whole_and_in_order_through_short_writes(parts):
    pair = Pair()
    for part in parts:
        pair.stream.send(memoryview(part) if len(part) % 2 else part)
    expected = b"".join(parts)
    assert pair.read_all(len(expected)) == expected
    assert pair.stream.queued == 0
    pair.end()


def test_thousands_of_parts_go_out_in_one_turn_or_more(pair):
    for number in range(5000):
        pair.stream.send(b"%04d" % (number % 10_000))
    assert pair.read_all(20_000) == b"".join(b"%04d" % number for number in range(5000))


def test_a_reader_that_lets_too_much_pile_up_is_closed():
    pair = Pair(max_queued=100_000)
    for _ in range(30):
        pair.stream.send(bytes(10_000))
        pair.loop.turn(0)
    assert len(pair.closed) == 1
    assert "100000" in pair.closed[0]
    pair.end()


def test_a_reader_that_reads_nothing_for_long_is_closed_and_one_that_reads_is_not():
    pair = Pair(stall_seconds=60)
    pair.stream.send(bytes(1_000_000))
    pair.loop.turn(0)
    for _ in range(5):
        pair.time += 50
        pair.other.recv(65536)
        pair.loop.turn(0)
    assert pair.closed == []
    pair.time += 61
    pair.loop.turn(0)
    assert len(pair.closed) == 1
    assert "60 s" in pair.closed[0]
    pair.end()


def test_drained_is_told_after_a_short_write_was_made_good():
    drained: list[str] = []
    pair = Pair(on_drained=lambda: drained.append("drained"))
    pair.stream.send(b"short")
    pair.loop.turn(0)
    assert drained == []
    pair.stream.send(bytes(500_000))
    pair.loop.turn(0)
    pair.read_all(500_005)
    assert drained == ["drained"]
    pair.end()


def test_the_end_of_the_other_side_is_read_as_zero_and_writing_to_it_closes(pair):
    buffer = memoryview(bytearray(100))
    assert pair.stream.receive(buffer) == -1
    pair.other.send(b"last words")
    pair.other.close()
    assert pair.stream.receive(buffer) == 10
    assert pair.stream.receive(buffer) == 0
    pair.stream.send(b"anyone?")
    pair.loop.turn(0)
    assert len(pair.closed) == 1
    assert pair.stream.receive(buffer) == 0


def test_sending_to_a_closed_stream_is_dropped(pair):
    pair.stream.close("enough")
    pair.stream.send(b"late")
    pair.stream.close("again")
    assert pair.closed == ["enough"]
    assert pair.stream.queued == 0
