"""Workers in restricted places: a core embedded in a program, as PID 1, with no_new_privs, with few descriptors."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reed.client import Client
from reed.errors import Invalid, JobTimeout
from tests.waiting import until

from .test_workers import runs, workers

LONG = {"title": "words " * 50_000}  # checked in a worker
EMBEDDED = """
import logging, sys
from reed.config import load
from reed.daemon import Daemon

daemon = Daemon(load(None, {}, {"runtime_dir": "run", "data_dir": "data", "registry": "plugin-registry.csv"}),
                logging.getLogger("reed"))
daemon.loop.watch(0, daemon.stop)
print("ready", flush=True)
daemon.run()
daemon.close()
"""


def use(path: Path) -> None:
    """A search, a long content, and one that is refused: each needs a worker."""
    with Client(path) as client:
        client.registry_define(
            "page", {"schema": {"properties": {"title": {"type": "string"}}}, "searchable": {"title": 1}}
        )
        client.snippet_create("page", "long", LONG)
        assert client.search("words").total == 1
        with pytest.raises(Invalid):
            client.snippet_create("page", "", {"title": [1] * 100_000})
        found = client.stats()["workers"]
        assert found["done"] >= 3
        assert (found["died"], found["killed_by_memory"], found["killed_by_deadline"]) == (0, 0, 0)


def test_a_core_in_a_program_without_threads_has_workers_that_end_with_it(site) -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", EMBEDDED], cwd=site.root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with program:
        assert program.stdout.readline() == "ready\n"
        assert len(list(Path(f"/proc/{program.pid}/task").iterdir())) == 1
        use(site.socket_path)
        found = workers(program.pid)
        assert found
        assert len(list(Path(f"/proc/{program.pid}/task").iterdir())) == 1
        program.stdin.close()
        assert program.wait(30) == 0
    for worker in found:
        until(lambda worker=worker: not runs(worker), "a worker outlives the program")


def test_a_core_that_is_pid_1_has_workers_and_reaps_those_that_die(site) -> None:
    wrapper = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
    if not shutil.which("unshare") or subprocess.run([*wrapper, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no pid namespace can be made here")
    site.config.write_text("timing: {search_timeout: 500ms}\n")
    site.start(wrapper=wrapper)
    use(site.socket_path)
    with Client(site.socket_path) as client:
        assert client.stats()["pid"] == 1
        for _ in range(8):
            client.snippet_create("page", "", {"title": "a " * 500_000})
        client.search_index()
        with pytest.raises(JobTimeout):
            client.search(" ".join(f'"{"a " * words}"' for words in range(2, 9)))
        assert client.search("nothing").total == 0
        (core,) = map(int, Path(f"/proc/{site.process.pid}/task/{site.process.pid}/children").read_text().split())
        until(lambda: all(runs(worker) for worker in workers(core)), "a zombie stays")
    site.no_tracebacks()


@pytest.mark.parametrize(
    "wrapper",
    [("setpriv", "--no-new-privs"), ("prlimit", "--nofile=64:64")],
    ids=["no_new_privs", "64 descriptors"],
)
def test_workers_need_neither_privileges_nor_many_descriptors(site, wrapper) -> None:
    if not shutil.which(wrapper[0]):
        pytest.skip(f"no {wrapper[0]} here")
    site.start(wrapper=wrapper)
    use(site.socket_path)
    status = site.reed("status", "--json")
    assert json.loads(status.stdout)["workers"]["done"] >= 3
    assert site.stop() == 0
    site.no_tracebacks()
