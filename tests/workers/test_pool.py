"""Workers: every job has one outcome, whatever becomes of its worker; jobs are fair between callers."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reed.errors import CallError, ErrorCode
from reed.import_path import installed_mark
from reed.loop.loop import Loop
from reed.peer_log import PeerLog
from reed.store.workers import Deadline, Origin
from reed.workers import pool as pool_module
from reed.workers.pool import WorkerPool

HANDLERS = {
    name: f"handlers:{name}" for name in ("echo", "refuse", "bug", "spin", "fill", "wait_for", "abort", "whoami")
}
ALICE, BOB = Origin("alice", 1), Origin("bob", 2)
MEMORY = 256 * 1024 * 1024


class Pool:
    """A pool on a loop of its own, whose workers are children of this test."""

    def __init__(self, count: int = 1) -> None:
        self.bugs: list[BaseException] = []
        self.loop = Loop(on_exception=self.bugs.append)
        self.started: list[subprocess.Popen[bytes]] = []
        self.outcomes: list[tuple[str, object]] = []
        self.log = PeerLog(logging.getLogger("test"), self.loop, 100)
        self.is_broken = False
        self.pool = WorkerPool(self.loop, self.launch, count, MEMORY, self.log)

    def launch(self, sock, failed) -> None:
        code = (
            "import socket, sys; from reed.workers.process import run;"
            f"run(socket.socket(fileno={sock.fileno()}), {MEMORY}, {HANDLERS}, {installed_mark()})"
        )
        if self.is_broken:
            code = "raise SystemExit"
        paths = os.pathsep.join((str(Path(__file__).parent), *sys.path))
        self.started.append(
            subprocess.Popen(
                [sys.executable, "-c", code],
                pass_fds=[sock.fileno()],
                env={**os.environ, "PYTHONPATH": paths},
                start_new_session=True,  # as the zygote does
                stderr=subprocess.DEVNULL,
            )
        )

    def submit(
        self,
        name: str,
        kind: str,
        *arguments: object,
        origin: Origin = ALICE,
        seconds: float = 30.0,
        patience: int = 4,
    ) -> None:
        self.pool.submit(
            kind,
            arguments,
            lambda value: self.outcomes.append((name, value)),
            lambda error: self.outcomes.append((name, error)),
            origin=origin,
            deadline=Deadline(seconds, "timing.test", patience),
        )

    def run_until(self, condition) -> None:
        give_up = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < give_up, self.outcomes
            self.loop.turn(0.5)
        assert not self.bugs

    def run(self, count: int) -> dict[str, object]:
        self.run_until(lambda: len(self.outcomes) >= count)
        return dict(self.outcomes)

    def close(self) -> None:
        self.pool.close()
        self.log.close()
        self.loop.close()
        for process in self.started:
            process.wait(10)


@pytest.fixture
def pools():
    made: list[Pool] = []

    def make(count: int = 1) -> Pool:
        made.append(Pool(count))
        return made[-1]

    yield make
    for pool in made:
        pool.close()


def test_a_handler_answers_with_what_it_returns(pools):
    pool = pools()
    values = [None, 7, "é", b"\0\xff", (1, [2.5, {"a": True}]), b"x" * 3_000_000]
    for number, value in enumerate(values):
        pool.submit(f"{number}", "echo", value)
    assert list(pool.run(len(values)).values()) == values
    assert len(pool.started) == 1


def test_an_error_of_a_handler_keeps_status_code_and_hint(pools):
    pool = pools()
    pool.submit("refused", "refuse", "no")
    error = pool.run(1)["refused"]
    assert isinstance(error, CallError)
    assert (error.status, error.error_code, error.message, error.hint) == (
        422,
        ErrorCode.ERR_INVALID,
        "no",
        "say please",
    )


def test_a_bug_in_a_handler_is_in_the_log_with_its_traceback_and_the_worker_goes_on(pools, caplog):
    pool = pools()
    pool.submit("bug", "bug")
    pool.submit("next", "echo", 1)
    outcomes = pool.run(2)
    assert outcomes["bug"].error_code == ErrorCode.ERR_INTERNAL
    assert outcomes["next"] == 1
    assert "ZeroDivisionError: of the test" in caplog.text
    assert len(pool.started) == 1


def test_a_job_beyond_its_deadline_is_killed_and_the_next_gets_another_worker(pools):
    pool = pools()
    pool.submit("endless", "spin", seconds=0.3)
    pool.submit("next", "echo", 1, origin=BOB)
    outcomes = pool.run(2)
    error = outcomes["endless"]
    assert (error.status, error.error_code) == (504, ErrorCode.ERR_JOB_TIMEOUT)
    assert "timing.test" in error.hint
    assert outcomes["next"] == 1
    assert len(pool.started) == 2
    assert pool.started[0].poll() is not None


def test_a_deadline_counts_processor_time(pools, tmp_path):
    """A worker has low priority: on a busy machine it gets less than a processor."""
    pool = pools()
    file = tmp_path / "there"
    pool.submit("warm", "echo", 1)
    pool.run(1)
    pool.submit("waits", "wait_for", str(file), seconds=0.1, patience=1000)
    pool.loop.call_later(0.5, file.touch)
    assert not isinstance(pool.run(2)["waits"], CallError)


def test_a_job_that_gets_no_processor_at_all_is_killed_too(pools, tmp_path):
    pool = pools()
    pool.submit("waits", "wait_for", str(tmp_path / "never"), seconds=0.1, patience=2)
    assert pool.run(1)["waits"].error_code == ErrorCode.ERR_JOB_TIMEOUT


@pytest.mark.parametrize("kind", ["fill", "abort"])
def test_a_job_that_takes_too_much_memory_fails_and_the_next_does_not(pools, kind):
    """A handler gets MemoryError; a native library that cannot have more aborts its process."""
    pool = pools()
    pool.submit("large", kind)
    pool.submit("next", "echo", 1)
    outcomes = pool.run(2)
    assert (outcomes["large"].status, outcomes["large"].error_code) == (503, ErrorCode.ERR_JOB_MEMORY)
    assert outcomes["next"] == 1


def test_a_worker_that_is_killed_by_someone_else_costs_its_job_only(pools, tmp_path):
    pool = pools()
    pool.submit("who", "whoami")
    pid, _ = pool.run(1)["who"]
    pool.submit("killed", "wait_for", str(tmp_path / "never"))
    pool.loop.turn(0)
    os.kill(pid, 9)
    pool.submit("next", "echo", 1)
    outcomes = pool.run(3)
    assert outcomes["killed"].error_code == ErrorCode.ERR_JOB_KILLED
    assert outcomes["next"] == 1


def test_a_connection_has_one_job_at_a_time_and_callers_take_turns(pools, tmp_path):
    """With one worker: who has many jobs waits for who has one."""
    pool = pools()
    gate = tmp_path / "open"
    for number in range(5):
        pool.submit(f"alice {number}", "wait_for", str(gate))
    pool.submit("bob", "wait_for", str(gate), origin=BOB)
    pool.submit("alice on another connection", "wait_for", str(gate), origin=Origin("alice", 3))
    gate.touch()
    pool.run(7)
    order = [name for name, _ in pool.outcomes]
    assert order.index("bob") == 1
    assert order.index("alice on another connection") < order.index("alice 2")


def test_two_workers_run_two_callers_jobs_at_once(pools, tmp_path):
    pool = pools(2)
    pool.submit("first", "wait_for", str(tmp_path / "second ended"))
    pool.submit("second", "echo", 1, origin=BOB)
    pool.run_until(lambda: pool.outcomes)
    assert pool.outcomes == [("second", 1)]
    (tmp_path / "second ended").touch()
    pool.run(2)


def test_callers_whose_jobs_were_killed_share_one_worker(pools, tmp_path):
    pool = pools(2)
    pool.submit("endless", "spin", seconds=0.2)
    pool.submit("also endless", "spin", seconds=0.2, origin=BOB)
    pool.run(2)
    gate = tmp_path / "open"
    pool.submit("alice", "wait_for", str(gate))
    pool.submit("bob", "wait_for", str(gate), origin=BOB)
    pool.submit("carol", "echo", 1, origin=Origin("carol", 3))
    pool.run(3)
    assert pool.outcomes[-1] == ("carol", 1)
    assert pool.pool.waiting == 1
    gate.touch()
    pool.run(5)


def test_a_hold_waits_for_the_running_job_and_keeps_the_others_back_until_it_is_released(pools, tmp_path):
    pool = pools()
    gate = tmp_path / "open"
    pool.submit("running", "wait_for", str(gate))
    pool.run_until(lambda: pool.pool.pids)
    pool.loop.turn(0)
    pool.pool.hold(lambda release: pool.outcomes.append(("idle", release)))
    pool.submit("waiting", "echo", 1)
    gate.touch()
    release = pool.run(2)["idle"]
    pool.loop.turn(0)
    assert [name for name, _ in pool.outcomes] == ["running", "idle"]
    release()
    pool.run(3)
    assert pool.outcomes[-1] == ("waiting", 1)


def test_a_worker_without_work_ends_and_comes_back(pools, monkeypatch):
    monkeypatch.setattr(pool_module, "IDLE_SECONDS", 0.05)
    pool = pools()
    pool.submit("first", "echo", 1)
    pool.run(1)
    pool.run_until(lambda: pool.started[0].poll() is not None)
    pool.submit("second", "echo", 2)
    assert pool.run(2)["second"] == 2
    assert len(pool.started) == 2


def test_a_worker_runs_at_a_lower_priority(pools):
    pool = pools()
    pool.submit("who", "whoami")
    _, priority = pool.run(1)["who"]
    assert priority == min(os.getpriority(os.PRIO_PROCESS, 0) + 10, 19)


def test_so_does_its_session_on_kernels_that_group_processes_by_session(pools):
    if not Path("/proc/self/autogroup").exists():
        pytest.skip("this kernel has no autogrouping")
    pool = pools()
    count = 0

    def is_lower() -> bool:  # a user other than root may have to try again
        nonlocal count
        count += 1
        pool.submit(f"{count}", "whoami")
        pid, _ = pool.run(count)[f"{count}"]
        return Path(f"/proc/{pid}/autogroup").read_text().endswith(" nice 5\n")

    pool.run_until(is_lower)


def test_a_worker_that_never_becomes_ready_fails_its_jobs_once_and_is_tried_again_for_the_next(pools):
    pool = pools()
    pool.is_broken = True
    pool.submit("first", "echo", 1)
    pool.submit("second", "echo", 2, origin=BOB)
    outcomes = pool.run(2)
    assert {outcomes["first"].error_code, outcomes["second"].error_code} == {ErrorCode.ERR_JOB_KILLED}
    pool.is_broken = False
    pool.submit("third", "echo", 3)
    assert pool.run(3)["third"] == 3


def test_workers_end_with_the_pool(pools):
    pool = pools()
    pool.submit("endless", "spin")
    pool.run_until(lambda: pool.pool.pids)
    pool.loop.turn(0)
    pool.close()
    assert all(process.poll() is not None for process in pool.started)
