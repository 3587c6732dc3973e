"""Both clients and a real core: threads, forks, kill -9, a core that stands still, quotas, named users."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import reed.testing
from reed.client import Client, NoAnswer, Request, TimedOut
from reed.client.aio import AsyncClient
from reed.errors import Malformed, PermissionDenied, ReedError
from reed.wire.codes import Command
from reed.wire.requests import Ref
from reed.wire.snippets import SnippetGot

NAMES = [f"n{number}" for number in range(40)]


def fill(core: Any) -> Any:
    """A snippet for each name, whose content is its name."""
    with Client(core.socket) as client:
        client.registry_define("page", {})
        for name in NAMES:
            client.snippet_create("page", name, {"name": name})
    return core


def freeze(pid: int) -> None:
    """Return when the process runs no more."""
    os.kill(pid, signal.SIGSTOP)
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        time.sleep(0.001)


@pytest.fixture
def pages(core: Any) -> Any:
    return fill(core)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The same, for tests that change nothing."""
    with reed.testing.core(tmp_path_factory.mktemp("shared")) as core:
        yield fill(core)


def test_threads_take_turns_on_a_client(shared: Any) -> None:
    wrong: list[str] = []
    began = threading.Barrier(9)

    def read(client: Client, number: int) -> None:
        began.wait()
        for at in range(50):
            name = NAMES[(number * 7 + at) % len(NAMES)]
            if client.snippet_get(name).json() != {"name": name}:
                wrong.append(name)

    def read_many(client: Client) -> None:
        began.wait()
        for _ in range(5):
            for request, answer in client.pipelined(Request(Command.SNIPPET_GET, Ref(n).pack(), n) for n in NAMES):
                assert isinstance(answer, bytes)
                if SnippetGot.unpack(answer).record.name != request.tag:
                    wrong.append(request.tag)

    with Client(shared.socket) as client:
        threads = [threading.Thread(target=read, args=(client, number)) for number in range(8)]
        threads.append(threading.Thread(target=read_many, args=(client,)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert not wrong


def test_a_thread_cannot_use_the_client_within_its_own_pipeline(shared: Any) -> None:
    with Client(shared.socket) as client:
        answers = client.pipelined(Request(Command.SNIPPET_GET, Ref(name).pack()) for name in NAMES)
        next(answers)
        with pytest.raises(ReedError, match="this thread uses the client already; finish or close the iterator"):
            client.stats()
        answers.close()
        assert client.snippet_get("n3").name == "n3"


def test_closing_a_client_ends_the_call_of_another_thread(core: Any) -> None:
    """The call waits for a core that stands still."""
    client = Client(core.socket, timeout=None)
    found: list[ReedError] = []

    def write() -> None:
        try:
            client.registry_define("page", {})
        except ReedError as error:
            found.append(error)

    thread = threading.Thread(target=write)
    os.kill(core.pid, signal.SIGSTOP)
    try:
        thread.start()
        while thread.is_alive() and (client._link.protocol.unsent or not client._link.protocol.in_flight):
            pass
        client.close()
        thread.join(60)
    finally:
        os.kill(core.pid, signal.SIGCONT)
    assert [type(error).__name__ for error in found] == ["ConnectionEnded"]


def in_a_child(check: Any) -> int:
    pid = os.fork()
    if not pid:
        try:
            os._exit(0 if check() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_client_that_was_open_at_a_fork_is_refused_in_the_child(shared: Any) -> None:
    with Client(shared.socket) as client:

        def uses() -> bool:
            try:
                client.snippet_get("n1")
            except ReedError as error:
                return "opened before the process forked" in str(error)
            return False

        def closes_first() -> bool:
            client.close()
            return client.snippet_get("n1").name == "n1"

        assert in_a_child(uses) == 0
        assert in_a_child(closes_first) == 0
        assert client.snippet_get("n2").name == "n2"


def test_an_async_client_that_was_open_at_a_fork_is_refused_in_the_child(shared: Any) -> None:
    client = AsyncClient(shared.socket)
    with asyncio.Runner() as runner:
        assert runner.run(client.snippet_get("n1")).name == "n1"

        def uses() -> bool:
            try:
                asyncio.new_event_loop().run_until_complete(client.snippet_get("n1"))
            except ReedError as error:
                return "opened before the process forked" in str(error)
            return False

        asyncio.set_event_loop(None)
        assert in_a_child(uses) == 0
        assert runner.run(client.snippet_get("n2")).name == "n2"
        runner.run(client.close())


def test_hundreds_of_calls_at_once_and_some_are_cancelled(shared: Any) -> None:
    chance = random.Random(16)

    async def read(client: AsyncClient, name: str) -> None:
        assert (await client.snippet_get(name)).json() == {"name": name}

    async def scenario() -> None:
        async with AsyncClient(shared.socket, timeout=60) as client:
            for _ in range(10):
                calls = [asyncio.create_task(read(client, chance.choice(NAMES))) for _ in range(200)]
                for _ in range(chance.randrange(4)):
                    await asyncio.sleep(0)
                for call in chance.sample(calls, 60):
                    call.cancel()
                for answer in await asyncio.gather(*calls, return_exceptions=True):
                    assert answer is None or isinstance(answer, asyncio.CancelledError)
            names = [record.name async for record in client.snippets("page", 7)]
            assert names == NAMES
            assert (await client.stats())["connections"] <= 4

    asyncio.run(scenario())


def test_calls_to_a_core_that_stands_still_time_out_and_later_ones_work(shared: Any) -> None:
    async def scenario() -> None:
        async with AsyncClient(shared.socket, timeout=60, connections=2) as client:
            os.kill(shared.pid, signal.SIGSTOP)
            try:
                calls = [client.with_timeout(0.1).snippet_get(name) for name in NAMES]
                for answer in await asyncio.gather(*calls, return_exceptions=True):
                    assert isinstance(answer, TimedOut)
            finally:
                os.kill(shared.pid, signal.SIGCONT)
            records = await asyncio.gather(*[client.snippet_get(name) for name in NAMES])
            assert [record.name for record in records] == NAMES

    asyncio.run(scenario())


def test_with_timeout_shares_the_connection_of_a_blocking_client(shared: Any) -> None:
    with Client(shared.socket) as client:
        hurried = client.with_timeout(0.1)
        assert hurried.snippet_get("n1").name == "n1"
        os.kill(shared.pid, signal.SIGSTOP)
        try:
            with pytest.raises(TimedOut, match=r"no answer to SNIPPET_GET within 0\.1 s"):
                hurried.snippet_get("n2")
        finally:
            os.kill(shared.pid, signal.SIGCONT)
        assert client.snippet_get("n3").name == "n3"
        assert client.timeout == 60.0
        assert client.stats()["connections"] == 1


def test_after_kill_9_reads_are_repeated_and_writes_happen_at_most_once(pages: Any) -> None:
    written: list[str] = []
    unknown: list[str] = []

    async def write(client: AsyncClient, number: int) -> None:
        for at in range(1000):
            name = f"w{number}-{at}"
            try:
                await client.snippet_create("page", name, {"name": name})
            except NoAnswer:
                unknown.append(name)
                return
            written.append(name)

    async def read(client: AsyncClient, done: asyncio.Event) -> None:
        while not done.is_set():
            name = random.choice(NAMES)
            assert (await client.snippet_get(name)).json() == {"name": name}

    def waiting(client: AsyncClient, count: int) -> bool:
        protocols = [connection.protocol for connection in client._pool._connections]
        return sum(len(each.in_flight) for each in protocols) == count and not any(each.unsent for each in protocols)

    async def scenario() -> None:
        done = asyncio.Event()
        async with AsyncClient(pages.socket, timeout=60) as client, AsyncClient(pages.socket, timeout=60) as reader:
            writers = [asyncio.create_task(write(client, number)) for number in range(10)]
            while len(written) < 50:
                await asyncio.sleep(0)
            reading = asyncio.create_task(read(reader, done))
            await reader.snippet_get("n1")
            freeze(pages.pid)
            last = -1  # what the core had still answered is read first
            while len(written) > last or not (waiting(client, 10) and waiting(reader, 1)):
                last = len(written)
                for _ in range(5):
                    await asyncio.sleep(0)
            pages.kill()
            pages.start()
            await asyncio.wait(writers)
            await reader.snippet_get("n1")
            done.set()
            await reading
            for name in written:
                assert (await client.snippet_get(name)).json() == {"name": name}
            found = {record.name async for record in client.snippets("page", 500)}
            assert found >= {*NAMES, *written}
            assert found - {*NAMES, *written} <= set(unknown)
            assert len(unknown) == 10

    asyncio.run(scenario())


def test_a_named_user_of_an_async_client_has_no_other_connection(site: Any) -> None:
    site.config.write_text(json.dumps({"groups": {"editor": {"permissions": ["snippet_read"]}}}))
    site.start()

    async def scenario() -> None:
        async with AsyncClient(site.socket, timeout=60) as client:
            await asyncio.gather(*[client.stats() for _ in range(20)])
            found = await client.assume("anna", "editor")
            assert found["permissions"] == ["snippet_read"]
            for answer in await asyncio.gather(*[client.stats() for _ in range(300)], return_exceptions=True):
                assert isinstance(answer, PermissionDenied)
            with pytest.raises(ReedError, match="make an AsyncClient for each user"):
                await client.assume("bob", "editor")
            await client.close()
            with pytest.raises(PermissionDenied):
                await client.stats()

    asyncio.run(scenario())


def test_a_pool_that_is_larger_than_the_users_quota(site: Any) -> None:
    site.config.write_text(json.dumps({"limits": {"user_connections": 2}}))
    site.start()

    async def scenario() -> None:
        async with AsyncClient(site.socket, timeout=60, connections=8) as client:
            await client.registry_define("page", {})
            trees = await asyncio.gather(*[client.search("nothing") for _ in range(40)])
            assert [page.total for page in trees] == [0] * 40

    asyncio.run(scenario())


def test_json_of_records_answers_and_definitions(core: Any) -> None:
    with Client(core.socket) as client:
        client.registry_define("page", {"searchable": {"title": 1}})
        client.snippet_create("page", "home", b'{"title": "Home", "n": 1.50}')
        record, definition = client.snippet_get("home"), client.registry_get("page")
        (hit,) = client.search("home").hits
    assert (record.json(), definition.json()) == ({"title": "Home", "n": 1.5}, {"searchable": {"title": 1}})
    assert (record.name, record.type, definition.name) == ("home", "page", "page")
    assert (hit.name, hit.type) == (hit.semantic_name, hit.snippet_type) == ("home", "page")


def test_an_answer_that_is_no_json_is_shown() -> None:
    from reed.wire.plugins import PluginAnswer

    assert PluginAnswer(200, b"").json() is None
    with pytest.raises(Malformed, match=r"the plugin's answer is not JSON: .*: b'Hello'"):
        PluginAnswer(200, b"Hello").json()


def test_an_async_watch_goes_on_after_kill_9_and_a_cancelled_step_loses_nothing(pages: Any) -> None:
    async def scenario() -> None:
        async with (
            AsyncClient(pages.socket, timeout=60) as client,
            client.watch(types=["page"], reconnect=True) as changes,
        ):
            first = asyncio.create_task(anext(changes))
            await asyncio.sleep(0)
            first.cancel()
            await asyncio.wait([first])
            await client.snippet_update("n1", {"seen": 1})
            change = await anext(changes)
            assert (change.kind, change.name, change.version) == ("snippet.updated", "n1", 2)
            pages.kill()
            pages.start()
            await client.snippet_update("n2", {"seen": 2})
            await client.snippet_delete("n3")
            assert [(await anext(changes)).name for _ in range(2)] == ["n2", "n3"]
            cursor = changes.cursor
        with pytest.raises(StopAsyncIteration):
            await anext(changes)
        async with AsyncClient(pages.socket, timeout=60) as client:
            await client.snippet_delete("n4")
            async with client.watch(after=cursor) as later:
                assert (await anext(later)).name == "n4"

    asyncio.run(scenario())


def test_an_async_watch_without_reconnect_ends_with_the_core_and_others_close_it(pages: Any) -> None:
    async def scenario() -> None:
        client = AsyncClient(pages.socket, timeout=60)
        async with client.watch() as closed, client.watch() as ended:
            waits = asyncio.create_task(anext(closed))
            await asyncio.sleep(0)
            await closed.close()
            with pytest.raises(StopAsyncIteration):
                await waits
            pages.kill()
            with pytest.raises(NoAnswer, match="before it answered SNIPPET_WATCH"):
                await anext(ended)
        with pytest.raises(ReedError, match="core not running"):
            async with client.watch():
                pass
        pages.start()
        with pytest.raises(ReedError, match="cursor"):
            async with client.watch(after="nonsense"):
                pass
        await client.close()

    asyncio.run(scenario())


def test_an_async_watch_that_is_not_read_stops_reading(pages: Any) -> None:
    """What the reader has not taken is bounded; nothing is lost when it goes on."""

    async def scenario() -> None:
        async with AsyncClient(pages.socket, timeout=60) as client, client.watch(types=["page"]) as changes:
            for at in range(5):
                await asyncio.gather(*[client.snippet_update(name, {"at": at}) for name in NAMES])
            found = [await anext(changes) for _ in range(5 * len(NAMES))]
            for name in NAMES:
                assert [change.version for change in found if change.name == name] == [2, 3, 4, 5, 6]

    asyncio.run(scenario())
