"""A Daemon in the threads of a program: built here and run there, several at once, errors, and orderly ends."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from pathlib import Path

import pytest

from reed.client import Client
from reed.config import Config
from reed.daemon import Daemon
from reed.errors import CoreNotRunning, ReedError, RuntimeFolderError
from reed.process_handle import start_time
from tests.embedding.conftest import DEADLINE, wait_until_gone, write_site
from tests.waiting import until

SCHEMA = {"schema": {"type": "object", "required": ["title"]}, "searchable": {"title": 1}}


def use(core: Daemon) -> int:
    """Write, read, search (in a worker) and call a plugin; returns the plugin's pid."""
    with Client(core.socket) as client:
        client.registry_define("page", SCHEMA)
        client.snippet_create("page", "", {"title": "Hello"})
        assert client.search("hello").hits
        with pytest.raises(ReedError, match="title"):
            client.snippet_create("page", "", {})
        client.plugin_start("echo")
        assert bytes(client.plugin_send("echo", "echo", b"hi").body) == b"hi"
        return int(client.plugin_list()[0]["pid"])


def test_a_core_serves_in_a_block(config: Config) -> None:
    with Daemon(config) as core:
        pid = use(core)
    assert start_time(pid) is None
    with pytest.raises(CoreNotRunning):
        Client(core.socket).stats()
    with Daemon(config) as core, Client(core.socket) as client:  # the folders are free again
        assert client.stats()["store"]["snippets"] == 1


def test_a_core_is_built_in_one_thread_and_run_in_another(config: Config, caplog: pytest.LogCaptureFixture) -> None:
    """The thread that built it, and defined a type and stored content in an earlier core, has ended."""
    with Daemon(config) as core:
        use(core)
    built: list[Daemon] = []
    builder = threading.Thread(target=lambda: built.append(Daemon(config)))
    builder.start()
    builder.join()
    (core,) = built
    runner = threading.Thread(target=core.run)
    runner.start()
    pid = use(core)
    core.stop()
    runner.join(DEADLINE)
    assert not runner.is_alive()
    assert start_time(pid) is None
    core.close()
    assert "a bug in the core" not in caplog.text


def test_workers_survive_the_thread_that_built_the_core(config: Config) -> None:
    """The kernel kills a worker when the thread ends that started the zygote."""
    built: list[Daemon] = []
    is_built, may_end = threading.Event(), threading.Event()

    def build() -> None:
        built.append(Daemon(config))
        is_built.set()
        may_end.wait(DEADLINE)

    builder = threading.Thread(target=build)
    builder.start()
    is_built.wait(DEADLINE)
    with built[0] as core, Client(core.socket) as client:
        client.registry_define("page", SCHEMA)
        client.snippet_create("page", "", {"title": "Hello"})
        assert client.search("hello").hits
        may_end.set()
        builder.join()
        assert client.search("hello").hits
        workers = client.stats()["workers"]
        assert (workers["running"] > 0, workers["died"]) == (True, 0)


def test_two_cores_in_one_process(tmp_path: Path) -> None:
    """Neither takes the other's plugins for orphans."""
    with Daemon(write_site(tmp_path / "a")) as first, Daemon(write_site(tmp_path / "b")) as second:
        pids = [use(first), use(second)]
        for _ in range(3):
            for core in (first, second):
                with Client(core.socket) as client:
                    client.plugin_stop("echo")  # sweeps
                    client.plugin_start("echo")
                    assert client.plugin_health("echo")[0]["restarts"] == 0
        with Client(first.socket) as one, Client(second.socket) as other:
            for client in (one, other):
                assert client.plugin_send("echo", "echo", b"x").body == b"x"
                pids.append(client.plugin_list()[0]["pid"])
            assert len(set(pids)) == 4
    wait_until_gone(*pids)


def test_many_cores_start_and_stop_at_once(tmp_path: Path) -> None:
    configs = [write_site(tmp_path / str(number)) for number in range(4)]
    pids: list[int] = []

    def live(config: Config) -> None:
        for _ in range(2):
            with Daemon(config) as core, Client(core.socket) as client:
                client.plugin_start("echo")
                assert client.plugin_send("echo", "echo", b"x").body == b"x"
                pids.append(client.plugin_list()[0]["pid"])

    threads = [threading.Thread(target=live, args=(config,)) for config in configs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * DEADLINE)
    assert len(pids) == 8
    wait_until_gone(*pids)


def test_an_exception_of_the_block_passes_and_the_core_ends(config: Config) -> None:
    pids = []

    def program() -> None:
        with Daemon(config) as core:
            pids.append(use(core))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        program()
    assert start_time(pids[0]) is None
    Daemon(config).close()


def test_a_failure_to_start_is_raised_in_the_caller(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    with Daemon(config), pytest.raises(RuntimeFolderError, match="another core"):
        Daemon(config).run_in_thread()
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    core = Daemon(config)
    with pytest.raises(FileNotFoundError, match="/nowhere/python"):
        core.run_in_thread()
    monkeypatch.undo()
    with Daemon(config):  # what could not start has released its folders
        pass


def test_an_error_that_ends_the_loop_is_raised_where_the_block_ends(config: Config) -> None:
    def leave() -> None:
        raise SystemExit("enough")

    def program() -> None:
        with Daemon(config) as core:
            pid = use(core)
            core._call(leave)
            until(lambda: start_time(pid) is None, "the plugin outlived the loop")

    with pytest.raises(SystemExit, match="enough"):
        program()


def test_stop_from_several_threads_and_twice(config: Config) -> None:
    core = Daemon(config).run_in_thread()
    threads = [threading.Thread(target=core.stop) for _ in range(8)]
    for thread in threads:
        thread.start()
    core.join(DEADLINE)
    core.stop()
    core.close()
    core.close()
    with pytest.raises(ReedError, match="this core has ended; create another Daemon"):
        core.run()


def test_a_stop_before_run_lets_run_return(config: Config) -> None:
    core = Daemon(config)
    core.stop()
    core.run()
    core.close()


def test_misuse_is_explained(config: Config) -> None:
    core = Daemon(config)
    with pytest.raises(ReedError, match="does not run"):
        core.join()
    errors: list[ReedError] = []

    def close() -> None:
        for call in (core.close, core.join, core.run):
            with pytest.raises(ReedError) as error:
                call()
            errors.append(error.value)

    with core:
        core._call(close)
        with pytest.raises(ReedError, match="runs already, in the thread 'reed'"):
            core.run()
        with pytest.raises(ReedError, match=r"not ended within 0\.01 s"):
            core.join(0.01)
        until(lambda: len(errors) == 3, "the loop did not call")
    assert "its end; call stop()" in str(errors[0])
    assert str(errors[0]) == str(errors[1])
    assert "runs already" in str(errors[2])


def test_no_descriptor_is_left(config: Config) -> None:
    with Daemon(config) as core:
        use(core)
    gc.collect()  # what other tests left
    before = sorted(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with Daemon(config) as core, Client(core.socket) as client:
            client.stats()
    gc.collect()
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_a_core_beside_the_loop_of_asyncio(config: Config) -> None:
    """asyncio's child watcher and the core do not take each other's children."""

    async def program() -> None:
        core = await asyncio.to_thread(Daemon(config).run_in_thread)
        pid = await asyncio.to_thread(use, core)
        child = await asyncio.create_subprocess_exec("sh", "-c", "exit 7")
        assert await child.wait() == 7
        await asyncio.to_thread(core.close)
        assert start_time(pid) is None

    asyncio.run(program())


def test_reload_from_another_thread(config: Config) -> None:
    with Daemon(config) as core, Client(core.socket) as client:
        rows = config.registry.read_text()
        config.registry.write_text(rows.splitlines()[0] + "\n")
        core.reload()
        until(lambda: not client.plugin_list(), "the row is still there")
