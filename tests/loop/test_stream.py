"""Streams: short writes, slow and stalled readers, and the end of the input."""

from __future__ import annotations

import contextlib
import gc
import socket
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reed.loop.loop import Loop
from reed.loop.stream import Stream


class Pair:
    """A stream and the other end of its socket, on a fake clock."""

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
def test_data_arrives_complete_and_in_order_despite_short_writes(parts):
    pair = Pair()
    for part in parts:
        pair.stream.send(memoryview(part) if len(part) % 2 else part)
    expected = b"".join(parts)
    assert pair.read_all(len(expected)) == expected
    assert pair.stream.queued == 0
    pair.end()


def test_thousands_of_parts_are_sent(pair):
    for number in range(5000):
        pair.stream.send(b"%04d" % (number % 10_000))
    assert pair.read_all(20_000) == b"".join(b"%04d" % number for number in range(5000))


def test_a_slow_reader_is_disconnected_at_max_queued():
    pair = Pair(max_queued=100_000)
    for _ in range(30):
        pair.stream.send(bytes(10_000))
        pair.loop.turn(0)
    assert len(pair.closed) == 1
    assert "100000" in pair.closed[0]
    pair.end()


def test_only_a_stalled_reader_is_disconnected():
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


def test_on_drained_is_called_once_a_blocked_stream_is_empty():
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


def test_end_of_input_reads_as_zero_and_a_failed_write_closes(pair):
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


def test_a_closed_stream_drops_what_is_sent(pair):
    pair.stream.close("enough")
    pair.stream.send(b"late")
    pair.stream.close("again")
    assert pair.closed == ["enough"]
    assert pair.stream.queued == 0


def test_the_owner_of_a_closed_stream_is_freed_at_once() -> None:
    """Thousands of closed connections would otherwise wait for the garbage collector."""

    class Owner:
        def __init__(self, loop: Loop, sock: socket.socket) -> None:
            self.reasons: list[str] = []
            self.stream = Stream(loop, sock, self.on_closed, on_drained=self.on_drained, max_queued=1 << 20)
            self.stream.watch(self.on_drained)

        def on_closed(self, reason: str) -> None:
            self.reasons.append(reason)

        def on_drained(self) -> None:
            pass

    loop = Loop(on_exception=lambda error: None)
    mine, other = socket.socketpair()
    with other:
        gc.disable()
        try:
            owner = Owner(loop, mine)
            alive = weakref.ref(owner)
            owner.stream.close("enough")
            loop.turn(0)
            assert owner.reasons == ["enough"]
            del owner
            assert alive() is None
        finally:
            gc.enable()
    loop.close()
