"""Workers of a real core: they end with it, are replaced when they die, and stop nobody else."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from pathlib import Path

import pytest

from reed.client import Client
from reed.client.pipeline import Request
from reed.errors import CallError, ErrorCode, Invalid, JobMemory, JobTimeout
from reed.wire.codes import Command
from reed.wire.registry import RegistryDefine
from reed.wire.snippets import SnippetCreate
from tests.waiting import until

WRONG = b'{"x":[' + b"1," * 2_000_000 + b"1]}"
LISTS = b'{"x":[' + b"[]," * 4_000_000 + b"[]]}"  # 56 bytes of memory for each


def workers(pid: int) -> list[int]:
    """The pids of the workers among the children of a process; the dead ones too."""
    found = []
    with contextlib.suppress(FileNotFoundError):  # the process is gone
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with contextlib.suppress(OSError):
                if Path(f"/proc/{child}/comm").read_text().strip() == "reed:worker":
                    found.append(int(child))
    return found


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def client(core):
    with Client(core.socket_path) as client:
        client.registry_define("page", {"schema": {"type": "object"}, "searchable": {"title": 1}})
        client.registry_define("list", {"schema": {"properties": {"x": {"items": {"type": "string"}}}}})
        client.snippet_create("page", "home", {"title": "words"})
        yield client


def test_the_first_definition_of_a_core_takes_effect_before_the_requests_after_it(core) -> None:
    """It imports the library of schemas, in several turns."""
    define = RegistryDefine("page", b'{"schema": {"required": ["title"]}}').pack()
    creates = [SnippetCreate("page", "", content).pack() for content in (b'{"title":"a"}', b"{}")]
    requests = [Request(Command.REGISTRY_DEFINE, define), *(Request(Command.SNIPPET_CREATE, each) for each in creates)]
    with Client(core.socket_path) as client:
        answers = [answer for _, answer in client.pipelined(requests)]
    assert isinstance(answers[2], Invalid)
    assert not isinstance(answers[1], Exception)


def test_a_core_at_rest_has_no_workers(core) -> None:
    with Client(core.socket_path) as client:
        client.stats()
    assert workers(core.process.pid) == []


@pytest.mark.parametrize("way", ["kill", "restart", "stop"])
def test_workers_end_with_their_core(core, client, way) -> None:
    pid = core.process.pid
    assert client.search("words").total == 1
    until(lambda: workers(pid), "no worker came")
    found = workers(pid)
    if way == "kill":
        core.kill()
    elif way == "restart":
        assert core.reed("restart").returncode == 0
    else:
        assert core.stop() == 0
    for worker in found:
        until(lambda worker=worker: not runs(worker), "a worker outlives its core")
    if way == "restart":
        with Client(core.socket_path) as again:
            assert again.search("words").total == 1
        core.no_tracebacks()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_worker_that_dies_is_replaced(core, client, number) -> None:
    pid = core.process.pid
    for _ in range(3):
        assert client.search("words").total == 1
        for worker in workers(pid):
            os.kill(worker, number)
            until(lambda worker=worker: not runs(worker), "it lives on")
    until(lambda: all(runs(worker) for worker in workers(pid)), "a zombie stays")
    core.no_tracebacks()


def test_the_death_of_the_zygote_costs_no_search(core, client) -> None:
    assert client.search("words").total == 1
    pid = core.process.pid
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        if Path(f"/proc/{child}/comm").read_text().strip() in {"reed:zygote", "reed:worker"}:
            os.kill(int(child), signal.SIGKILL)
    until(lambda: not any(map(runs, workers(pid))), "a worker lives on")
    assert client.search("words").total == 1


def test_millions_of_wrong_items_are_refused_and_others_are_served_meanwhile(core, client) -> None:
    served = []
    over = threading.Event()

    def serve() -> None:
        with Client(core.socket_path) as other:
            while not over.is_set():
                served.append(other.snippet_get("home").version)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        until(lambda: served, "nobody is served")
        before = len(served)
        with pytest.raises(Invalid) as refused:
            client.call(Command.SNIPPET_CREATE, SnippetCreate("list", "", WRONG).pack())
        assert len(str(refused.value)) < 1000
        assert len(served) > before + 20
    finally:
        over.set()
        thread.join()
    assert client.stats()["loop"]["turn_ms"]["longest"] < 1000


def test_a_schema_that_is_too_heavy_is_refused_and_the_core_starts_again(core, client) -> None:
    doubled = {f"l{n}": {"allOf": [{"$ref": f"#/$defs/l{n + 1}"}] * 2} for n in range(24)}
    with pytest.raises(Invalid):
        client.registry_define("heavy", {"schema": {"$ref": "#/$defs/l0", "$defs": {**doubled, "l24": {}}}})
    assert core.reed("restart").returncode == 0
    with Client(core.socket_path) as again:
        assert [each.type_name for each in again.registry_list()] == ["list", "page"]


def test_a_search_in_a_stopped_worker_reaches_its_deadline_and_the_next_one_does_not(core, client) -> None:
    pid = core.process.pid
    assert client.search("words").total == 1
    stopped = workers(pid)
    for worker in stopped:
        os.kill(worker, signal.SIGSTOP)
    with pytest.raises(CallError) as late:
        client.search("words")
    assert late.value.error_code == ErrorCode.ERR_JOB_TIMEOUT
    assert "timing.search_timeout" in str(late.value)
    assert client.search("words").total == 1


def test_a_write_that_is_in_a_worker_when_the_core_restarts_is_answered_or_not_begun(core, client) -> None:
    """Its client retries what was not begun, so it is written once in any case."""
    written = []
    content = json.dumps({"title": "long " * 500_000})

    def write() -> None:
        with Client(core.socket_path) as other:
            written.append(other.snippet_create("page", "long", json.loads(content)))

    thread = threading.Thread(target=write)
    thread.start()
    assert core.reed("restart").returncode == 0
    thread.join()
    with Client(core.socket_path) as again:
        assert again.snippet_get("long").id == written[0]
        until(lambda: again.search("long").total == 1, "it was not indexed, or twice")
    core.no_tracebacks()


# Figures --------------------------------------------------------------------------------------------------------------


def figures(client: Client) -> dict[str, int]:
    return client.stats()["workers"]


def test_a_search_that_exceeds_search_timeout_is_counted_as_killed_by_the_deadline(site) -> None:
    site.config.write_text("timing: {search_timeout: 500ms}\nworkers: 1\n")
    site.start()
    with Client(site.socket_path) as client:
        client.registry_define("page", {"searchable": {"title": 1}})
        for _ in range(8):
            client.snippet_create("page", "", {"title": "a " * 500_000})
        client.search_index()
        assert figures(client)["killed_by_deadline"] == 0
        with pytest.raises(JobTimeout):
            client.search(" ".join(f'"{"a " * words}"' for words in range(2, 9)))  # phrases; some 4 s
        assert figures(client)["killed_by_deadline"] == 1
        assert client.search("nothing").total == 0
        found = figures(client)
    assert (found["most"], found["running"], found["busy"], found["waiting"]) == (1, 1, 0, 0)
    assert (found["killed_by_memory"], found["died"]) == (0, 0)
    status = site.reed("status")
    assert "1 killed by deadline" in status.stdout or "workers.killed_by_deadline\t1" in status.stdout


def test_a_job_that_exceeds_worker_memory_is_counted_as_killed_by_memory(site) -> None:
    site.config.write_text("limits: {worker_memory: 64MB}\ntiming: {job_timeout: 60s}\n")
    site.start()
    with Client(site.socket_path) as client:
        client.registry_define("list", {"schema": {"properties": {"x": {"items": {"type": "string"}}}}})
        with pytest.raises(JobMemory):
            client.call(Command.SNIPPET_CREATE, SnippetCreate("list", "", LISTS).pack())
        found = figures(client)
        assert found["killed_by_memory"] == 1
        assert (found["killed_by_deadline"], found["died"]) == (0, 0)
        client.snippet_create("list", "", {"x": ["text " * 100_000]})
        assert figures(client)["done"] == found["done"] + 1
    site.no_tracebacks()


def test_jobs_that_wait_are_counted_and_so_is_a_worker_that_someone_kills(site) -> None:
    """One worker, stopped during a job of one connection, so a second connection's job waits."""
    site.config.write_text("workers: 1\n")
    site.start()
    pid = site.process.pid
    outcomes: list[object] = []

    def search() -> None:
        with Client(site.socket_path) as other:
            try:
                outcomes.append(other.search("words").total)
            except CallError as error:
                outcomes.append(error.error_code)

    with Client(site.socket_path) as client:
        client.registry_define("page", {"searchable": {"title": 1}})
        client.snippet_create("page", "", {"title": "words"})
        done = figures(client)["done"]
        assert client.search("words").total == 1
        assert figures(client)["done"] == done + 1
        assert client.stats()["indexer"]["done"] > 0
        stopped = workers(pid)
        for worker in stopped:
            os.kill(worker, signal.SIGSTOP)
        threads = [threading.Thread(target=search) for _ in range(2)]
        for thread in threads:
            thread.start()
        until(lambda: (figures(client)["busy"], figures(client)["waiting"]) == (1, 1), "no job waits")
        for worker in stopped:
            os.kill(worker, signal.SIGKILL)
        for thread in threads:
            thread.join()
        assert set(outcomes) == {1, ErrorCode.ERR_JOB_KILLED}
        assert figures(client)["died"] == 1
