"""The protocol core without I/O, against a core in memory that reads and answers in pieces of any size."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from reed.client.protocol import ConnectionEnded, Exchange, NoAnswer, Protocol, may_repeat
from reed.errors import CallError, ErrorCode, NotFound, PluginBusy, Restarting, TooLarge
from reed.wire import frames
from reed.wire.codes import Command, Flag
from reed.wire.common import ErrorResponse
from reed.wire.frames import ReceiveBuffer

READ, WRITE = Command.SNIPPET_GET, Command.PLUGIN_SEND
ANSWERED = Flag.RESPONSE


def error_frame(command: int, status: int, code: int, text: str = "why") -> bytes:
    return frames.encode(command, ErrorResponse(status, code, text).pack(), Flag.RESPONSE | Flag.ERROR)


class InMemory(RuleBasedStateMachine):
    """Exchanges start, are sent, answered and abandoned in any order, and the connection ends at any time."""

    @initialize()
    def connect(self) -> None:
        self.protocol = Protocol()
        self.exchanges: list[Exchange] = []
        self.abandoned: set[int] = set()
        self.never_sent: set[int] = set()
        self.answers: dict[int, object] = {}
        self.core = ReceiveBuffer()
        self.to_client = bytearray()
        self.read_by_core: list[int] = []
        self.answered_by_core: list[int] = []

    @rule(size=st.sampled_from([0, 1, 30, 5000, 300_000]), is_write=st.booleans())
    def start(self, size: int, is_write: bool) -> None:
        number = len(self.exchanges)
        payload = b"%8d" % number + b"x" * size
        self.exchanges.append(self.protocol.start(WRITE if is_write else READ, payload, owner=number))

    @rule(most=st.sampled_from([1, 11, 12, 100, 4096, 10**6]))
    def send(self, most: int) -> None:
        data = bytes(self.protocol.outgoing())
        if not data:
            assert not self.protocol.unsent
            return
        self.protocol.sent(len(data[:most]))
        self.core.feed(memoryview(data[:most]))
        while (frame := self.core.next_frame()) is not None:
            number = int(bytes(frame.payload[:8]))
            self.read_by_core.append(number)
            self.to_client += frames.encode(frame.command_id, b"\xc8\0" + bytes(frame.payload), ANSWERED)
        self.core.keep()

    @rule(most=st.sampled_from([1, 11, 12, 13, 100, 4096, 10**6]))
    def receive(self, most: int) -> None:
        if not self.to_client:
            return
        data = bytes(self.to_client[:most])
        del self.to_client[:most]
        self.take(self.protocol.receive(memoryview(data)))

    @precondition(lambda self: self.exchanges)
    @rule(data=st.data())
    def abandon(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(0, len(self.exchanges) - 1))
        exchange = self.exchanges[number]
        self.protocol.abandon(exchange)
        if exchange.frame is not None and exchange not in self.protocol.queue:
            self.never_sent.add(number)
        self.abandoned.add(number)

    @precondition(lambda self: len(self.exchanges) > 3)
    @rule()
    def end(self) -> None:
        for exchange, error in self.protocol.end():
            assert isinstance(error, ConnectionEnded)
            assert exchange.owner not in self.abandoned
            assert exchange.owner not in self.answers
            if exchange.owner in self.read_by_core:  # it must not be carried out twice
                assert not error.unsent
                assert may_repeat(exchange.command, error) == (exchange.command == READ)
            else:
                assert error.unsent
                assert may_repeat(exchange.command, error)
            self.answers[exchange.owner] = error
        assert set(self.answers) | self.abandoned == set(range(len(self.exchanges)))
        assert not self.protocol.outgoing()
        self.connect()

    def take(self, answers: list[tuple[Exchange, object]]) -> None:
        for exchange, answer in answers:
            assert exchange.owner not in self.abandoned
            assert exchange.owner not in self.answers
            self.answers[exchange.owner] = answer

    @invariant()
    def every_answer_is_that_of_its_request(self) -> None:
        for number, answer in getattr(self, "answers", {}).items():
            if isinstance(answer, bytes):
                assert int(answer[2:10]) == number
        read = getattr(self, "read_by_core", [])
        assert read == sorted(read)
        assert not set(read) & getattr(self, "never_sent", set())

    def teardown(self) -> None:
        """When all bytes have passed, whatever was not abandoned is answered."""
        if not hasattr(self, "protocol"):
            return
        while self.protocol.unsent:
            self.send(10**6)
        while self.to_client:
            self.receive(10**6)
        assert set(self.answers) | self.abandoned == set(range(len(self.exchanges)))
        assert not self.protocol.in_flight
        assert all(type(self.answers[number]) is bytes for number in set(self.answers))


InMemory.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
test_exchanges_in_any_order = InMemory.TestCase


@settings(max_examples=60, deadline=None)
@given(data=st.data(), count=st.integers(1, 6))
def test_answers_may_be_split_anywhere(data: st.DataObject, count: int) -> None:
    protocol = Protocol()
    for number in range(count):
        protocol.start(READ, b"", owner=number)
    protocol.sent(protocol.unsent)
    stream = b"".join(frames.encode(READ, b"\xc8\0%d" % number + b"y" * 50, ANSWERED) for number in range(count))
    cuts = sorted({0, len(stream), *data.draw(st.lists(st.integers(0, len(stream)), max_size=8))})
    found = []
    for start, stop in itertools.pairwise(cuts):
        found += protocol.receive(memoryview(bytearray(stream[start:stop])))
    assert [(exchange.owner, answer) for exchange, answer in found] == [
        (number, b"\xc8\0%d" % number + b"y" * 50) for number in range(count)
    ]


def sent(*commands: int) -> Protocol:
    """A protocol whose requests, numbered from 0, are all sent."""
    protocol = Protocol()
    for number, command in enumerate(commands):
        protocol.start(command, b"x", owner=number)
    protocol.sent(protocol.unsent)
    return protocol


def test_the_answer_of_an_abandoned_request_is_not_that_of_the_next() -> None:
    protocol = sent(READ, READ)
    protocol.abandon(protocol.in_flight[0])
    (found,) = protocol.receive(
        memoryview(frames.encode(READ, b"\xc8\0first", ANSWERED) + frames.encode(READ, b"\xc8\0second", ANSWERED))
    )
    assert (found[0].owner, found[1]) == (1, b"\xc8\0second")


def test_an_abandoned_request_that_was_not_sent_never_is() -> None:
    protocol = Protocol()
    first, second, third = (protocol.start(WRITE, b"%d" % number) for number in range(3))
    protocol.sent(3)  # the beginning of the first
    protocol.abandon(first)
    protocol.abandon(second)
    rest = bytes(protocol.outgoing())
    protocol.sent(len(rest))
    rest += bytes(protocol.outgoing())
    assert rest == frames.encode(WRITE, b"0")[3:] + frames.encode(WRITE, b"2")
    assert list(protocol.in_flight) == [first, third]


def test_after_a_restart_is_announced_everything_may_be_repeated() -> None:
    protocol = sent(WRITE, WRITE)
    ((exchange, answer),) = protocol.receive(memoryview(error_frame(WRITE, 503, ErrorCode.ERR_RESTARTING)))
    assert isinstance(answer, Restarting)
    assert protocol.is_over
    ((later, error),) = protocol.end()
    assert (exchange.owner, later.owner) == (0, 1)
    assert may_repeat(WRITE, answer)
    assert may_repeat(WRITE, error)


def test_what_follows_a_request_that_was_too_large_was_not_read() -> None:
    protocol = sent(WRITE, WRITE)
    ((_, answer),) = protocol.receive(memoryview(error_frame(WRITE, 413, ErrorCode.ERR_TOO_LARGE)))
    assert isinstance(answer, TooLarge)
    ((_, error),) = protocol.end()
    assert may_repeat(WRITE, error)


def test_after_another_answer_the_core_reads_again() -> None:
    """The 413 was a plugin's."""
    protocol = sent(WRITE, WRITE, WRITE)
    protocol.receive(memoryview(error_frame(WRITE, 413, ErrorCode.ERR_TOO_LARGE)))
    protocol.receive(memoryview(frames.encode(WRITE, b"\xc8\0", ANSWERED)))
    ((_, error),) = protocol.end()
    assert not may_repeat(WRITE, error)


def test_a_refused_connection_refuses_every_request() -> None:
    refusal = error_frame(0, 429, ErrorCode.ERR_PLUGIN_BUSY, "too many connections")
    early, late = Protocol(), sent(WRITE, WRITE)
    assert early.receive(memoryview(refusal)) == []
    early.start(WRITE)
    found = [*late.receive(memoryview(refusal)), *late.end(), *early.end()]
    assert early.is_over
    assert late.is_over
    assert [type(answer) for _, answer in found] == [PluginBusy] * 3


@pytest.mark.parametrize(
    "nonsense",
    [b"220 mail.example ESMTP\r\n", frames.encode(WRITE, b"\xc8\0", ANSWERED), frames.encode(READ, b"", Flag.ERROR)],
)
def test_a_peer_that_is_not_a_core(nonsense: bytes) -> None:
    protocol = sent(READ, WRITE)
    ((exchange, answer),) = protocol.receive(memoryview(nonsense))
    assert exchange.owner == 0
    assert isinstance(answer, NoAnswer)
    assert protocol.is_over
    ((_, error),) = protocol.end()
    assert not may_repeat(WRITE, error)


def test_an_answer_without_a_request() -> None:
    protocol = Protocol()
    assert protocol.receive(memoryview(frames.encode(READ, b"\xc8\0", ANSWERED))) == []
    assert protocol.is_over


def test_a_request_without_an_answer_does_not_wait_for_one() -> None:
    protocol = Protocol()
    silent = protocol.start(WRITE, flags=Flag.ASYNC, owner=0)
    protocol.start(READ, owner=1)
    assert len(protocol.in_flight) == 1
    protocol.sent(protocol.unsent)
    assert silent.frame is None
    ((exchange, _),) = protocol.receive(memoryview(frames.encode(READ, b"\xc8\0", ANSWERED)))
    assert exchange.owner == 1


def test_a_request_without_an_answer_that_was_not_sent_is_reported() -> None:
    protocol = Protocol()
    protocol.start(WRITE, flags=Flag.SIGNAL, owner="signal")
    ((exchange, error),) = protocol.end()
    assert exchange.owner == "signal"
    assert may_repeat(WRITE, error)


def test_a_stream_has_many_answers_until_an_error() -> None:
    protocol = Protocol()
    protocol.start(READ, owner="watch", is_stream=True)
    protocol.sent(protocol.unsent)
    part = frames.encode(READ, b"\xc8\0", ANSWERED)
    assert len(protocol.receive(memoryview(part * 3))) == 3
    ((_, error),) = protocol.receive(memoryview(error_frame(READ, 404, ErrorCode.ERR_NOT_FOUND)))
    assert isinstance(error, NotFound)
    assert not protocol.in_flight


@pytest.mark.parametrize("error", [CallError("no"), NoAnswer("no"), NotFound("no")])
def test_any_other_failure_is_final(error: CallError) -> None:
    assert not may_repeat(READ, error)
