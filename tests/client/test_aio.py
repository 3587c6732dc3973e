"""AsyncClient against a fake core in the same event loop: which connection, what is dropped, what is repeated."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reed.client.aio import AsyncClient, NoAnswer, PoolExhausted, Request, TimedOut
from reed.client.connection import ConnectionEnded
from reed.errors import CoreNotRunning, ErrorCode, NotFound, PluginBusy, ReedError
from reed.wire import frames
from reed.wire.codes import Command, Flag
from reed.wire.common import ErrorResponse
from reed.wire.frames import ReceiveBuffer

READ, WRITE, SLOW = Command.SNIPPET_GET, Command.SNIPPET_CREATE, Command.PLUGIN_SEND
DEADLINE = 30.0  # seconds: generous, since nothing is expected to take long


class FakeCore:
    """Keeps each request that it reads; `answer` sends the answer to the oldest of a connection."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connections: list[Peer] = []
        self.arrived = asyncio.Condition()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(writer)
        self.connections.append(peer)
        buffer = ReceiveBuffer()
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                buffer.feed(memoryview(data))
                async with self.arrived:
                    while (frame := buffer.next_frame()) is not None:
                        peer.requests.append((frame.command_id, bytes(frame.payload)))
                        if peer.on_request is not None:
                            peer.on_request(peer)
                    self.arrived.notify_all()
                buffer.keep()
        async with self.arrived:
            peer.is_closed = True
            self.arrived.notify_all()
        writer.close()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE), self.arrived:
            await self.arrived.wait_for(condition)

    async def requests(self, count: int) -> None:
        await self.until(lambda: sum(len(peer.requests) for peer in self.connections) >= count)


class Peer:
    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.requests: list[tuple[int, bytes]] = []
        self.answered = 0
        self.is_closed = False
        self.on_request: Callable[[Peer], None] | None = None

    def answer(self, count: int = 1) -> None:
        for command, payload in self.requests[self.answered : self.answered + count]:
            self.writer.write(frames.encode(command, b"\xc8\0" + payload.ljust(60, b"\0"), Flag.RESPONSE))
            self.answered += 1

    def refuse(self, error: ErrorResponse, command: int | None = None) -> None:
        shown = self.requests[self.answered][0] if command is None else command
        self.answered += 1
        self.writer.write(frames.encode(shown, error.pack(), Flag.RESPONSE | Flag.ERROR))


@contextlib.asynccontextmanager
async def fake_core(folder: Path) -> AsyncIterator[FakeCore]:
    core = FakeCore(folder / "core.sock")
    server = await asyncio.start_unix_server(core.serve, core.path)
    try:
        yield core
    finally:
        server.close()
        for peer in core.connections:
            peer.writer.close()


Scenario = Callable[[FakeCore], Awaitable[None]]


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Scenario], None]:
    """Runs a scenario with a fake core."""

    def run(scenario: Scenario) -> None:
        async def with_core() -> None:
            async with fake_core(tmp_path) as core, asyncio.timeout(2 * DEADLINE):
                await scenario(core)

        asyncio.run(with_core())

    return run


def started(client: AsyncClient, command: int, payload: bytes) -> asyncio.Task[bytes]:
    return asyncio.create_task(client.call(command, payload))


def text(answer: bytes) -> bytes:
    return answer[2:].rstrip(b"\0")


def test_a_cancelled_calls_answer_is_dropped(play: Any) -> None:
    async def scenario(core: FakeCore) -> None:
        async with AsyncClient(core.path, connections=1) as client:
            calls = [started(client, READ, b"%d" % number) for number in range(5)]
            await core.requests(5)
            calls[1].cancel()
            calls[2].cancel()
            await asyncio.wait(calls[1:3])
            core.connections[0].answer(5)
            assert [text(await calls[number]) for number in (0, 3, 4)] == [b"0", b"3", b"4"]
            late = started(client, READ, b"late")
            await core.requests(6)
            core.connections[0].answer()
            assert text(await late) == b"late"
        assert len(core.connections) == 1

    play(scenario)


def test_a_cancelled_write_that_was_sent_stays_sent_and_one_that_was_not_is_never_sent(play: Any) -> None:
    async def scenario(core: FakeCore) -> None:
        async with AsyncClient(core.path, connections=1, in_flight=2) as client:
            first, sent = started(client, READ, b"first"), started(client, WRITE, b"sent")
            await core.requests(2)
            never, last = started(client, WRITE, b"never"), started(client, READ, b"last")
            await asyncio.sleep(0)
            never.cancel()
            sent.cancel()
            await asyncio.wait([never, sent])
            assert never.cancelled()
            assert sent.cancelled()
            core.connections[0].on_request = Peer.answer
            core.connections[0].answer(2)
            assert (text(await first), text(await last)) == (b"first", b"last")
            assert [payload for _, payload in core.connections[0].requests] == [b"first", b"sent", b"last"]

    play(scenario)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["call", "cancel", "answer", "turn"]), st.integers(0, 20)), min_size=5, max_size=60
    )
)
def test_whatever_is_cancelled_every_call_gets_its_own_answer(tmp_path_factory: Any, steps: Any) -> None:
    async def scenario() -> None:
        async with (
            fake_core(tmp_path_factory.mktemp("core")) as core,
            asyncio.timeout(DEADLINE),
            AsyncClient(core.path, connections=2, in_flight=6) as client,
        ):
            calls: list[asyncio.Task[bytes]] = []
            for step, number in steps:
                if step == "call":
                    command = (READ, WRITE, SLOW)[number % 3]
                    calls.append(started(client, command, b"%d" % len(calls)))
                elif step == "cancel" and calls:
                    calls[number % len(calls)].cancel()
                elif step == "answer":
                    for peer in core.connections:
                        peer.answer(number)
                else:
                    await asyncio.sleep(0)
            for peer in core.connections:
                peer.on_request = Peer.answer
            while not all(call.done() for call in calls):
                for peer in core.connections:
                    peer.answer(1000)
                    peer.on_request = Peer.answer
                await asyncio.wait(calls, timeout=0.01)
            for number, call in enumerate(calls):
                assert call.cancelled() or text(call.result()) == b"%d" % number
            sent = [payload for peer in core.connections for _, payload in peer.requests]
            assert len(sent) == len(set(sent)), "a request was sent twice"

    asyncio.run(scenario())


def test_a_timeout_does_not_shift_the_answers(play: Any) -> None:
    async def scenario(core: FakeCore) -> None:
        async with AsyncClient(core.path, connections=1) as client:
            with pytest.raises(TimedOut, match=r"no answer to SNIPPET_GET within 0\.05 s"):
                await client.with_timeout(0.05).call(READ, b"late")
            await core.until(lambda: core.connections[0].is_closed)
            fresh = started(client, READ, b"fresh")
            await core.requests(2)
            core.connections[1].answer()
            assert text(await fresh) == b"fresh"

    play(scenario)


def test_other_calls_of_a_connection_survive_a_timeout(play: Any) -> None:
    async def scenario(core: FakeCore) -> None:
        async with AsyncClient(core.path, connections=1) as client:
            patient = started(client, READ, b"patient")
            with pytest.raises(TimedOut):
                await client.with_timeout(0.05).call(READ, b"hurried")
            core.connections[0].answer(2)
            assert text(await patient) == b"patient"
            await core.until(lambda: core.connections[0].is_closed)

    play(scenario)


def test_asyncio_timeouts_work_too(play: Any) -> None:
    async def scenario(core: FakeCore) -> None:
        async with AsyncClient(core.path, connections=1) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await client.call(READ, b"late")
            fresh = started(client, READ, b"fresh")
            await core.requests(2)
            core.connections[0].answer(2)
            assert text(await fresh) == b"fresh"

    play(scenario)


def test_a_full_pool_says_so_and_sends_nothing(play: Any) -> None:
    async def scenario(core: FakeCore) -> None:
        async with AsyncClient(core.path, connections=2, in_flight=2) as client:
            full = [started(client, READ, b"%d" % number) for number in range(4)]
            await core.requests(4)
            with pytest.raises(PoolExhausted, match="2 connections with 2 requests in flight each"):
                await client.with_timeout(0.05).call(READ, b"too many")
            waits = started(client, READ, b"waits")
            await asyncio.sleep(0)
            for peer in core.connections:
                peer.on_request = Peer.answer
                peer.answer(2)
            assert [text(answer) for answer in await asyncio.gather(*full, waits)] == [b"0", b"1", b"2", b"3", b"waits"]
            sent = [payload for peer in core.connections for _, payload in peer.requests]
            assert b"too many" not in sent

    play(scenario)


def test_a_slow_request_does_not_delay_the_others(play: Any) -> None:
    async def scenario(core: FakeCore) -> None:
        async with AsyncClient(core.path, connections=2) as client:
            slow = started(client, SLOW, b"slow")
            await core.requests(1)
            quick = [started(client, READ, b"%d" % number) for number in range(10)]
            await core.requests(11)
            core.connections[1].answer(10)
            assert [text(answer) for answer in await asyncio.gather(*quick)] == [b"%d" % number for number in range(10)]
            assert not slow.done()
            core.connections[0].answer()
            assert text(await slow) == b"slow"

    play(scenario)


def test_many_quick_requests_share_a_connection(play: Any) -> None:
    async def scenario(core: FakeCore) -> None:
        async with AsyncClient(core.path) as client:
            calls = [started(client, READ, b"%d" % number) for number in range(100)]
            await core.requests(100)
            core.connections[0].answer(100)
            await asyncio.gather(*calls)
        assert len(core.connections) == 1

    play(scenario)


def test_after_the_end_of_a_connection_reads_are_repeated_and_writes_are_not(play: Any) -> None:
    async def scenario(core: FakeCore) -> None:
        async with AsyncClient(core.path, connections=1) as client:
            read, write = started(client, READ, b"read"), started(client, WRITE, b"write")
            await core.requests(2)
            core.connections[0].writer.close()
            with pytest.raises(ConnectionEnded, match="before it answered SNIPPET_CREATE"):
                await write
            await core.requests(3)
            core.connections[1].answer()
            assert text(await read) == b"read"
            assert core.connections[1].requests == [(READ, b"read")]

    play(scenario)


def test_a_write_is_repeated_when_the_core_has_not_begun_it(play: Any) -> None:
    async def scenario(core: FakeCore) -> None:
        async with AsyncClient(core.path, connections=1) as client:
            writes = [started(client, WRITE, b"%d" % number) for number in range(3)]
            await core.requests(3)
            core.connections[0].answer()
            core.connections[0].refuse(ErrorResponse(503, ErrorCode.ERR_RESTARTING, "restarting"))
            await core.requests(5)
            core.connections[1].answer(2)
            assert [text(answer) for answer in await asyncio.gather(*writes)] == [b"0", b"1", b"2"]

    play(scenario)


def test_a_core_that_keeps_restarting_is_an_error(play: Any) -> None:
    async def scenario(core: FakeCore) -> None:
        async def restart() -> None:
            while True:
                await core.until(lambda: any(len(peer.requests) > peer.answered for peer in core.connections))
                for peer in core.connections:
                    if len(peer.requests) > peer.answered:
                        peer.refuse(ErrorResponse(503, ErrorCode.ERR_RESTARTING, "restarting"))

        restarting = asyncio.create_task(restart())
        async with AsyncClient(core.path, connections=1) as client:
            with pytest.raises(ReedError, match="restarting"):
                await client.call(READ, b"x")
        restarting.cancel()

    play(scenario)


def test_connections_that_the_core_refuses_are_done_without(play: Any) -> None:
    """limits.user_connections is smaller than the pool."""

    async def scenario(core: FakeCore) -> None:
        busy = ErrorResponse(429, ErrorCode.ERR_PLUGIN_BUSY, "too many connections")
        async with AsyncClient(core.path, connections=3) as client:
            slow = started(client, SLOW, b"slow")
            await core.requests(1)
            other = started(client, SLOW, b"other")
            await core.requests(2)
            core.connections[1].refuse(busy, command=0)
            await core.requests(3)
            core.connections[0].answer(2)
            assert [text(answer) for answer in await asyncio.gather(slow, other)] == [b"slow", b"other"]
        async with AsyncClient(core.path) as alone:
            refused = started(alone, READ, b"x")
            await core.requests(4)
            core.connections[2].refuse(busy, command=0)
            with pytest.raises(PluginBusy, match="too many connections"):
                await refused

    play(scenario)


def test_closing_ends_the_calls_that_wait(play: Any) -> None:
    async def scenario(core: FakeCore) -> None:
        client = AsyncClient(core.path, connections=1, in_flight=1)
        sent = started(client, READ, b"sent")
        await core.requests(1)
        waits = started(client, READ, b"waits")
        await asyncio.sleep(0)
        await client.close()
        for call in (sent, waits):
            with pytest.raises(NoAnswer, match="the client was closed"):
                await call
        again = started(client, READ, b"again")
        await core.requests(2)
        core.connections[1].answer()
        assert text(await again) == b"again"
        await client.close()

    play(scenario)


def test_a_request_without_an_answer_returns_once_it_is_sent(play: Any) -> None:
    async def scenario(core: FakeCore) -> None:
        async with AsyncClient(core.path, connections=1) as client:
            assert await client.call(WRITE, b"silent", Flag.ASYNC) == b""
            await core.requests(1)
            read = started(client, READ, b"read")
            await core.requests(2)
            core.connections[0].answered = 1
            core.connections[0].answer()
            assert text(await read) == b"read"

    play(scenario)


def test_a_pipeline_keeps_its_order_over_the_end_of_a_connection(play: Any) -> None:
    async def scenario(core: FakeCore) -> None:
        reads = [Request(READ, b"%d" % number, number) for number in range(200)]
        async with AsyncClient(core.path) as client:
            answers = []

            async def collect() -> None:
                answers.extend([(request.tag, text(answer)) async for request, answer in client.pipelined(reads, 50)])

            collecting = asyncio.create_task(collect())
            await core.requests(50)
            core.connections[1].answer(20)
            await core.requests(70)
            core.connections[1].writer.close()
            await core.until(lambda: len(core.connections) == 3 and bool(core.connections[2].requests))
            core.connections[2].on_request = Peer.answer
            core.connections[2].answer(1000)
            await collecting
        assert answers == [(number, b"%d" % number) for number in range(200)]

    play(scenario)


def test_a_pipeline_that_is_left_early_closes_its_connection(play: Any) -> None:
    async def scenario(core: FakeCore) -> None:
        async with AsyncClient(core.path) as client:
            async with contextlib.aclosing(client.pipelined([Request(READ, b"x")] * 10)) as answers:
                getting = asyncio.ensure_future(anext(answers))
                await core.requests(10)
                core.connections[1].answer()
                await getting
            await core.until(lambda: core.connections[1].is_closed)
            other = started(client, READ, b"y")
            await core.requests(11)
            core.connections[0].answer()
            assert text(await other) == b"y"

    play(scenario)


def test_an_error_of_a_pipeline_belongs_to_one_request(play: Any) -> None:
    async def scenario(core: FakeCore) -> None:
        async with AsyncClient(core.path) as client:
            found: list[type] = []

            async def collect() -> None:
                found.extend([type(answer) async for _, answer in client.pipelined([Request(WRITE, b"x")] * 3)])

            collecting = asyncio.create_task(collect())
            await core.requests(3)
            core.connections[1].answer()
            core.connections[1].refuse(ErrorResponse(404, ErrorCode.ERR_NOT_FOUND, "no"))
            core.connections[1].answer()
            await collecting
        assert found == [bytes, NotFound, bytes]

    play(scenario)


def test_a_client_belongs_to_one_event_loop(tmp_path: Path) -> None:
    async def connected(stack: contextlib.AsyncExitStack) -> AsyncClient:
        core = await stack.enter_async_context(fake_core(tmp_path))
        return await AsyncClient(core.path).__aenter__()

    with asyncio.Runner() as first, asyncio.Runner() as second:
        stack = contextlib.AsyncExitStack()
        client = first.run(connected(stack))
        with pytest.raises(ReedError, match="another event loop"):
            second.run(client.stats())
        first.run(client.close())
        first.run(stack.aclose())
        with pytest.raises(CoreNotRunning):
            second.run(client.stats())


def test_no_core(tmp_path: Path) -> None:
    async def scenario() -> None:
        with pytest.raises(CoreNotRunning, match=r"core\.sock"):
            async with AsyncClient(tmp_path / "core.sock"):
                pass
        with pytest.raises(CoreNotRunning):
            await AsyncClient(tmp_path / "core.sock").stats()

    asyncio.run(scenario())
