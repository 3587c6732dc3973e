"""Pipelines: responses come in order, without deadlock, and survive restarts of the core."""

from __future__ import annotations

import itertools
import socket
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reed.client import Client, NoAnswer, Request
from reed.errors import ErrorCode, Invalid, NotFound, TooLarge
from reed.wire import structs
from reed.wire.codes import Command, Flag
from reed.wire.common import ErrorResponse
from reed.wire.frames import ReceiveBuffer
from reed.wire.plugins import PluginAnswer
from reed.wire.snippets import SnippetWritten


def echoes(fake_core):
    """A core that answers every request with its payload."""
    return fake_core.answering(lambda command, payload: fake_core.reply(command, PluginAnswer(200, payload).pack()))


@pytest.fixture
def echo(fake_core):
    return fake_core(echoes(fake_core))


def send(*payloads):
    return (Request(Command.PLUGIN_SEND, payload, number) for number, payload in enumerate(payloads))


def test_responses_come_in_order_with_their_requests(fake_core):
    payloads = [b"%d" % number for number in range(5000)]
    with Client(fake_core(echoes(fake_core)).path) as client:
        answers = list(client.pipelined(send(*payloads)))
    assert [request.tag for request, _ in answers] == list(range(5000))
    assert [answer[2:] for _, answer in answers] == payloads


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.lists(st.integers(0, 400_000), max_size=12), window=st.integers(1, 8))
def test_requests_of_any_size_and_windows_of_any_length(echo, sizes, window):
    payloads = [bytes([number]) * size for number, size in enumerate(sizes)]
    with Client(echo.path, timeout=20) as client:
        assert [answer[2:] for _, answer in client.pipelined(send(*payloads), window)] == payloads


def test_a_core_that_answers_before_it_reads_more_causes_no_deadlock(fake_core):
    """Its responses are large, its buffers small, and it reads nothing while it sends."""

    def strict(connection):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        buffer = ReceiveBuffer()
        while data := connection.recv(1000):
            buffer.feed(memoryview(data))
            while (frame := buffer.next_frame()) is not None:
                connection.sendall(fake_core.reply(frame.command_id, b"\xc8\0" + b"y" * 50_000))
            buffer.keep()

    with Client(fake_core(strict).path, timeout=20) as client:
        answers = list(client.pipelined(send(*[b"x" * 30_000] * 60)))
    assert len(answers) == 60
    assert all(len(answer) == 50_002 for _, answer in answers)


def test_the_window_bounds_how_many_requests_are_consumed(fake_core):
    taken = []

    def endless():
        for number in itertools.count():
            taken.append(number)
            yield Request(Command.PLUGIN_SEND, b"x")

    with Client(fake_core(echoes(fake_core)).path) as client:
        answers = client.pipelined(endless(), window=10)
        for _ in range(100):
            next(answers)
        answers.close()
        assert len(taken) <= 110
        assert client.plugin_send("a", "b").status == 200  # on a new connection


def test_an_error_belongs_to_one_request(fake_core):
    def answer(command, payload):
        if payload == b"bad":
            return fake_core.reply(command, ErrorResponse(404, ErrorCode.ERR_NOT_FOUND, "no").pack(), Flag.ERROR)
        return fake_core.reply(command, b"\xc8\0")

    with Client(fake_core(fake_core.answering(answer)).path) as client:
        kinds = [type(answer) for _, answer in client.pipelined(send(b"a", b"bad", b"c"))]
    assert kinds == [bytes, NotFound, bytes]


def test_a_write_error_in_the_response_struct_is_an_error(fake_core):
    refused = SnippetWritten(422, "", "the reason")
    core = fake_core(fake_core.answering(lambda command, _: fake_core.reply(command, refused.pack())))
    with Client(core.path) as client:
        ((_, answer),) = client.pipelined([Request(Command.SNIPPET_CREATE, b"")])
    assert isinstance(answer, Invalid)


def closing_at_large(fake_core):
    """A core that answers a payload over its limit with 413 and closes (protocol.md#frames)."""
    refusal = ErrorResponse(413, ErrorCode.ERR_TOO_LARGE, "too large")

    def talk(connection):
        rest = b""
        while data := connection.recv(65536):
            rest += data
            while len(rest) >= structs.HEADER.size:
                *_, command, _, _, length = structs.HEADER.unpack_from(rest)
                if length > 1000:
                    connection.sendall(fake_core.reply(command, refusal.pack(), Flag.ERROR))
                    return
                if len(rest) < structs.HEADER.size + length:
                    break
                payload = rest[structs.HEADER.size : structs.HEADER.size + length]
                rest = rest[structs.HEADER.size + length :]
                connection.sendall(fake_core.reply(command, b"\xc8\0" + payload))

    return talk


def test_only_the_frame_that_is_too_large_fails(fake_core):
    core = fake_core(closing_at_large(fake_core))
    payloads = [b"a", b"x" * 2000, b"b", b"x" * 900_000, b"c" * 900, b"x" * 1001]
    with Client(core.path, timeout=20) as client:
        answers = [answer for _, answer in client.pipelined(send(*payloads))]
    assert [type(answer) for answer in answers] == [bytes, TooLarge, bytes, TooLarge, bytes, TooLarge]
    assert answers[4][2:] == b"c" * 900
    assert core.connections >= 3


def test_responses_before_the_death_of_the_core_are_yielded(fake_core):
    def dying(connection):
        for _, (command, _, _) in zip(range(3), fake_core.requests(connection), strict=False):
            connection.sendall(fake_core.reply(command, b"\xc8\0"))

    answered = []
    with Client(fake_core(dying).path) as client:
        answers = (answered.append(request.tag) for request, _ in client.pipelined(send(*[b"x"] * 10)))
        with pytest.raises(NoAnswer):
            list(answers)
    assert answered == [0, 1, 2]


def restarting_after(fake_core, count):
    """A core that restarts: it answers `count` requests, refuses the next with ERR_RESTARTING, and closes."""
    refusal = ErrorResponse(503, ErrorCode.ERR_RESTARTING, "not done")

    def talk(connection):
        asked = fake_core.requests(connection)
        for command, _, payload in itertools.islice(asked, count):
            connection.sendall(fake_core.reply(command, b"\xc8\0" + payload))
        for command, _, _ in itertools.islice(asked, 3):
            connection.sendall(fake_core.reply(command, refusal.pack(), Flag.ERROR))

    return talk


def test_a_restart_of_the_core_loses_nothing(fake_core):
    payloads = [b"%d" % number for number in range(2000)]
    core = fake_core(restarting_after(fake_core, 700), restarting_after(fake_core, 0), echoes(fake_core))
    with Client(core.path, timeout=20) as client:
        answers = list(client.pipelined(send(*payloads)))
    assert [answer[2:] for _, answer in answers] == payloads
    assert core.connections == 3


def test_a_core_that_keeps_restarting_is_an_error(fake_core):
    with (
        Client(fake_core(restarting_after(fake_core, 0)).path, timeout=20) as client,
        pytest.raises(NoAnswer),
    ):
        list(client.pipelined(send(b"x")))


def test_a_write_that_was_never_sent_goes_to_the_next_core(fake_core):
    """The core ended while nothing was in flight."""
    ended = threading.Event()

    def one(connection):
        command, _, payload = next(fake_core.requests(connection))
        connection.sendall(fake_core.reply(command, b"\xc8\0" + payload))
        connection.shutdown(socket.SHUT_RDWR)
        ended.set()

    def slowly():
        yield Request(Command.PLUGIN_SEND, b"a")
        assert ended.wait(20)
        yield Request(Command.PLUGIN_SEND, b"b")

    core = fake_core(one, echoes(fake_core))
    with Client(core.path, timeout=20) as client:
        assert [answer[2:] for _, answer in client.pipelined(slowly(), window=1)] == [b"a", b"b"]


def test_a_read_in_flight_is_repeated(fake_core):
    core = fake_core(lambda connection: next(fake_core.requests(connection)), echoes(fake_core))
    with Client(core.path, timeout=20) as client:
        answers = list(client.pipelined([Request(Command.SNIPPET_GET, b"x")] * 3))
    assert [answer[2:] for _, answer in answers] == [b"x"] * 3


def test_an_empty_pipeline(fake_core):
    with Client(fake_core(echoes(fake_core)).path) as client:
        assert list(client.pipelined([])) == []
