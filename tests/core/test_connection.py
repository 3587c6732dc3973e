"""A connection: order of replies, states, fairness, back-pressure, and the end of a peer."""

from __future__ import annotations

import logging
import socket
import time
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from reed.config import Limits as SiteLimits
from reed.core.calls import Call, Caller, FastOrigin, FastPath
from reed.core.connect_rate import ConnectRates
from reed.core.connection import Connection, ConnectionState
from reed.core.quotas import Quotas
from reed.counters import CommandCounters
from reed.errors import Internal, Restarting
from reed.loop.loop import Loop
from reed.peer_log import PeerLog
from reed.wire import frames
from reed.wire.codes import Flag
from reed.wire.common import ErrorResponse
from reed.wire.frames import ReceiveBuffer
from reed.wire.requests import SignalMessage

CREATE, GET, LIST, PLUGIN_LIST = 0x01, 0x04, 0x05, 0xF4
CALLER = Caller("somebody", "", frozenset(), frozenset(), frozenset(range(256)), is_admin=True)


@dataclass(frozen=True)
class Limits:
    payload: int = 1 << 20
    frames_per_turn: int = 4
    queued_bytes: int = 1 << 30
    queued_calls: int = 100


class NoWatchers:
    watched = False

    def on_frame(self, direction: int, connection: int, peer: str, *frame: bytes | memoryview) -> None:
        raise AssertionError("nobody watches")


class Core:
    """A connection on its own loop; as the dispatcher, it keeps calls until the test ends them."""

    def __init__(self, limits: Limits | None = None, *, takes_responses: bool = False) -> None:
        self.bugs: list[BaseException] = []
        self.calls: list[tuple[Call, bytes]] = []
        self.signals: list[SignalMessage] = []
        self.closed: list[str] = []
        self.responses: list[bytes] = []
        self.cached: dict[bytes, bytes] = {}  # responses by request
        self.loop = Loop(on_exception=self.bugs.append)
        mine, self.peer = socket.socketpair()
        self.peer.settimeout(5)
        log = PeerLog(logging.getLogger("test"), self.loop)
        context = SimpleNamespace(
            loop=self.loop,
            config=SimpleNamespace(limits=limits or Limits()),
            log=log,
            quotas=Quotas(SiteLimits(), ConnectRates(SiteLimits(), time.monotonic, log)),
            monitor=NoWatchers(),
            scratch=memoryview(bytearray(65536)),
            counters=CommandCounters(self.loop.now, [(LIST, "LIST")], cached=GET),
        )
        self.connection = Connection(
            context,
            mine,
            CALLER,
            self,
            on_signal=lambda _, frame: self.signals.append(SignalMessage.unpack(bytes(frame.payload))),
            on_response=self._on_response if takes_responses else None,
            on_closed=lambda _, reason: self.closed.append(reason),
        )
        self._buffer = ReceiveBuffer()

    def _on_response(self, frame: frames.Frame) -> None:
        self.responses.append(bytes(frame.payload))

    def dispatch(self, call: Call, payload: memoryview) -> None:
        self.calls.append((call, bytes(payload)))

    @property
    def fast_paths(self) -> dict[int, FastPath]:
        return {GET: self._take}

    def _take(self, origin: FastOrigin, data: memoryview) -> int:
        """Requests of 13 bytes only."""
        taken = 0
        while not origin.stream.queued and (answer := self.cached.get(bytes(data[taken : taken + 13]))):
            origin.stream.send_now(answer)
            taken += 13
        return taken

    def turns(self, count: int = 20) -> None:
        for _ in range(count):
            self.loop.turn(0)
        assert not self.bugs

    def replies(self, count: int) -> list[frames.Frame]:
        got: list[frames.Frame] = []
        while len(got) < count:
            self.turns(2)
            data = self.peer.recv(1 << 20)
            assert data, f"the core closed after {len(got)} of {count} replies"
            self._buffer.feed(memoryview(data))
            while (frame := self._buffer.next_frame()) is not None:
                got.append(frame._replace(payload=bytes(frame.payload)))
            self._buffer.keep()
        return got

    def end(self) -> None:
        self.connection.close("the test is over")
        self.loop.turn(0)
        self.loop.close()
        self.peer.close()


@pytest.fixture
def core():
    core = Core()
    yield core
    core.end()


def test_replies_leave_in_the_order_of_the_requests(core):
    core.peer.sendall(b"".join(frames.encode(4, b"%d" % number) for number in range(3)))
    core.turns()
    for call, payload in reversed(core.calls):
        call.reply(b"to " + payload)
    assert [frame.payload for frame in core.replies(3)] == [b"to 0", b"to 1", b"to 2"]


def test_a_turn_handles_a_bounded_number_of_frames(core):
    core.peer.sendall(frames.encode(1) * 10)
    core.loop.turn(0)
    assert (len(core.calls), core.connection.state) == (4, ConnectionState.BACKLOG)
    core.loop.turn(0)
    assert (len(core.calls), core.connection.state) == (8, ConnectionState.BACKLOG)
    core.turns()
    assert (len(core.calls), core.connection.state) == (10, ConnectionState.OPEN)


def test_a_read_waits_for_the_writes_of_its_connection_and_later_requests_for_it(core):
    core.peer.sendall(frames.encode(CREATE) + frames.encode(CREATE) + frames.encode(GET) + frames.encode(CREATE))
    core.turns()
    assert [call.command_id for call, _ in core.calls] == [CREATE, CREATE]
    assert core.connection.state is ConnectionState.WAITING
    core.calls[1][0].reply(b"second")
    core.turns()
    assert len(core.calls) == 2
    core.calls[0][0].fail(Internal("a failed write has ended too"))
    core.turns()
    assert [call.command_id for call, _ in core.calls] == [CREATE, CREATE, GET, CREATE]


def test_a_connection_that_waits_costs_nothing_however_much_its_peer_sends(core):
    core.peer.sendall(frames.encode(CREATE) + frames.encode(GET))
    core.turns()
    core.peer.sendall(frames.encode(GET) * 10)
    core.turns()
    turns = core.loop.times.turns
    core.loop.turn(0.01)
    assert core.loop.times.turns == turns + 1  # that turn waited: nothing was readable
    core.calls[0][0].reply(b"written")
    core.turns()
    assert len(core.calls) == 12


def test_writes_in_flight_are_bounded_by_their_bytes():
    core = Core(Limits(payload=1000))
    core.peer.sendall(frames.encode(CREATE, bytes(600)) * 4)
    core.turns()
    assert (len(core.calls), core.connection.state) == (2, ConnectionState.PAUSED)
    core.calls[0][0].reply(b"written")
    core.turns()
    assert len(core.calls) == 3
    core.end()


@pytest.mark.parametrize("cuts", [[], [3], [14], [15], [16, 20], [40]])
def test_responses_arrive_in_order_however_the_stream_is_cut(cuts):
    core = Core(takes_responses=True)
    flags = int(Flag.RESPONSE)
    stream = frames.encode(1, b"one", flags) + frames.encode(2, b"request") + frames.encode(3, b"three", flags)
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        core.peer.sendall(stream[start:stop])
        core.turns()
    assert core.responses == [b"one", b"three"]
    assert [payload for _, payload in core.calls] == [b"request"]
    core.end()


def test_forwarded_replies_are_sent_before_the_commit_and_in_order(core):
    core.peer.sendall(frames.encode(1) + frames.encode(2) + frames.encode(3))
    core.turns()
    (first, _), (second, _), (third, _) = core.calls
    second.forward(b"second")
    first.reply(b"first")
    third.forward(b"third")
    assert [frame.payload for frame in core.replies(3)] == [b"first", b"second", b"third"]
    core.peer.sendall(frames.encode(4))
    core.turns()
    core.calls[3][0].forward(b"fourth")
    assert core.peer.recv(100).endswith(b"fourth")  # no turn has passed


def test_a_reply_of_many_parts_is_one_frame_in_order_even_for_a_slow_reader(core):
    core.peer.sendall(frames.encode(PLUGIN_LIST) + frames.encode(LIST) + frames.encode(PLUGIN_LIST))
    core.turns()
    parts = [bytes([number % 251]) * 1500 for number in range(700)]
    (plugin, _), (page, _), (last, _) = core.calls
    page.reply(*parts)
    last.reply(b"last")
    core.turns()
    plugin.forward(b"first")
    first, page_reply, last_reply = core.replies(3)
    assert (first.payload, last_reply.payload) == (b"first", b"last")
    assert (page_reply.command_id, page_reply.flags) == (LIST, int(Flag.RESPONSE))
    assert page_reply.payload == b"".join(parts)


def test_too_many_calls_in_flight_pause_the_connection():
    core = Core(Limits(queued_calls=2))
    core.peer.sendall(frames.encode(1) * 5)
    core.turns()
    assert (len(core.calls), core.connection.state) == (2, ConnectionState.PAUSED)
    core.calls[0][0].reply(b"ok")
    core.turns()
    assert len(core.calls) == 3
    for number in range(1, 5):
        core.calls[number][0].reply(b"ok")
        core.turns()
    assert len(core.replies(5)) == 5
    core.end()


def test_a_slow_reader_delays_only_itself_and_gets_every_reply(core):
    core.peer.sendall(frames.encode(4) * 20)
    big = bytes(200_000)
    answered = 0
    got = 0
    while got < 20:
        core.turns(3)
        assert core.connection.stream.queued < 2_000_000
        while answered < len(core.calls):
            core.calls[answered][0].reply(big)
            answered += 1
        got += len(core.replies(1))
    assert got == 20


def test_a_draining_connection_sends_its_replies_and_closes(core):
    core.peer.sendall(frames.encode(4) * 2)
    core.peer.shutdown(socket.SHUT_WR)
    core.turns()
    assert (core.closed, core.connection.state) == ([], ConnectionState.DRAINING)
    core.calls[0][0].reply(b"one")
    core.turns()
    core.calls[1][0].reply(b"two")
    assert [frame.payload for frame in core.replies(2)] == [b"one", b"two"]
    core.turns()
    assert core.peer.recv(100) == b""
    assert (len(core.closed), core.connection.state) == (1, ConnectionState.CLOSING)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (frames.encode(4)[:4] + b"\x02" + frames.encode(4)[5:], 505),
        (frames.header(4, 1 << 31), 413),
    ],
)
def test_invalid_input_is_rejected_after_the_replies_owed_and_closed(core, data, status):
    core.peer.sendall(frames.encode(4) + data)
    core.turns()
    assert (core.closed, core.connection.state) == ([], ConnectionState.DRAINING)
    core.connection.drain()  # reads nothing any more
    core.calls[0][0].reply(b"first")
    first, last = core.replies(2)
    assert first.payload == b"first"
    assert last.flags == Flag.RESPONSE | Flag.ERROR
    assert ErrorResponse.unpack(last.payload).status == status
    core.turns()
    assert core.peer.recv(100) == b""


def test_async_and_signals_are_never_answered(core, caplog):
    signal = SignalMessage(0x15, 1, "analytics").pack()
    core.peer.sendall(
        frames.encode(0xF3, signal, Flag.SIGNAL) + frames.encode(GET, b"", Flag.ASYNC) + frames.encode(GET)
    )
    core.turns()
    assert [message.plugin_name for message in core.signals] == ["analytics"]
    core.calls[0][0].fail(Internal("nobody hears this"))
    core.calls[1][0].reply(b"heard")
    assert [frame.payload for frame in core.replies(1)] == [b"heard"]
    assert len(caplog.messages) == 1


def test_an_unexpected_response_is_logged_and_ignored(core, caplog):
    core.peer.sendall(frames.encode(4, b"", Flag.RESPONSE) + frames.encode(4))
    core.turns()
    assert len(caplog.messages) == 1
    assert len(core.calls) == 1


def test_no_request_begins_once_the_connection_stops_accepting(core):
    core.peer.sendall(frames.encode(4, b"begun"))
    core.turns()
    core.peer.sendall(frames.encode(4, b"late") * 6)
    core.connection.stop_accepting(Restarting("restarting"))
    core.turns()
    assert [payload for _, payload in core.calls] == [b"begun"]
    core.calls[0][0].reply(b"done")
    first, *others = core.replies(7)
    assert first.payload == b"done"
    assert {ErrorResponse.unpack(frame.payload).status for frame in others} == {Restarting("").status}
    core.turns()
    assert (core.peer.recv(100), core.connection.state) == (b"", ConnectionState.CLOSING)


@pytest.mark.parametrize("state", [ConnectionState.OPEN, ConnectionState.BACKLOG, ConnectionState.DRAINING])
def test_a_closed_connection_enters_no_other_state(core, state):
    core.connection.close("the test says so")
    with pytest.raises(RuntimeError):
        core.connection._enter(state)


def test_a_reply_to_a_disconnected_peer_is_dropped(core):
    core.peer.sendall(frames.encode(4))
    core.turns()
    core.peer.close()
    core.turns()
    core.calls[0][0].reply(b"to nobody")
    core.turns()
    assert len(core.closed) == 1


def test_answering_twice_is_a_bug(core):
    core.peer.sendall(frames.encode(4))
    core.turns()
    core.calls[0][0].reply(b"once")
    with pytest.raises(RuntimeError):
        core.calls[0][0].reply(b"twice")


def test_cached_responses_keep_the_order_of_the_requests(core):
    known, other = frames.encode(4, b"k"), frames.encode(4, b"o")
    core.cached[known] = frames.encode(4, b"known", int(Flag.RESPONSE))
    core.peer.sendall(known + known + other + known)
    assert [reply.payload for reply in core.replies(2)] == [b"known", b"known"]
    core.turns()
    assert [payload for _, payload in core.calls] == [b"o", b"k"]  # behind a call that waits it is a call as well
    core.calls[1][0].reply(b"second")
    core.calls[0][0].reply(b"first")
    assert [reply.payload for reply in core.replies(2)] == [b"first", b"second"]


def test_the_cache_is_asked_after_half_a_frame_too(core):
    known = frames.encode(4, b"k")
    core.cached[known] = frames.encode(4, b"known", int(Flag.RESPONSE))
    core.peer.sendall(known + known[:5])
    assert [reply.payload for reply in core.replies(1)] == [b"known"]
    core.peer.sendall(known[5:])
    core.turns()
    core.calls[0][0].reply(b"whole")
    assert [reply.payload for reply in core.replies(1)] == [b"whole"]
    core.peer.sendall(known * 200)
    assert [reply.payload for reply in core.replies(200)] == [b"known"] * 200


def test_unread_cached_responses_are_queued_and_bounded():
    core = Core(Limits(queued_bytes=1 << 20))
    known = frames.encode(4, b"k")
    core.cached[known] = frames.encode(4, bytes(10_000), int(Flag.RESPONSE))
    core.peer.sendall(known * 500)
    core.turns(100)
    assert core.connection.buffered_bytes < 1 << 20  # the rest of the requests waits unread or as calls
    assert not core.closed
    core.end()
