"""The pool of workers: which job goes to which, and the deadlines.

    submit ── waiting, in turn by caller ── a worker without a job ── sent ── done(value) | failed(error)

    a worker    starting ── READY ──▶ idle ── job ──▶ busy ── outcome ──▶ idle
                    │                  │ a minute       │ its deadline: SIGKILL; or it died: an error for the caller
                    └──────────────────┴────────────────┴──▶ gone, and started again when a job waits

A connection has one job at a time, and callers take turns. Callers whose job was killed share one worker for a minute,
so the others always have the rest.
"""

from __future__ import annotations

import math
import mmap
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from reed.errors import CallError, Internal, JobKilled, JobMemory, JobTimeout, ReedError
from reed.loop.loop import Loop
from reed.loop.stream import Stream
from reed.loop.timers import Timer
from reed.peer_log import THE_CORE, PeerLog
from reed.process_handle import ProcessHandle
from reed.store.workers import Deadline, Origin, Release
from reed.workers.messages import Outcome, Reader, encode

IDLE_SECONDS = 60.0
PENALTY_SECONDS = 60.0  # for a caller whose job was killed
_START_SECONDS = 10.0  # until READY
_EXIT_POLL = 0.05  # seconds, without pidfd
_LEAST_WAIT = 0.01  # seconds between two looks at its processor time
_MAX_QUEUED = 64 * 1024 * 1024  # bytes to one worker: one job
_SCRATCH = 256 * 1024

Launch = Callable[[socket.socket, Callable[[str], None]], None]


class Job(NamedTuple):
    kind: str
    message: tuple[bytes, ...]
    origin: Origin
    deadline: Deadline
    done: Callable[[Any], None]
    failed: Callable[[CallError], None]


class _Worker:
    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.reader = Reader()
        self.process: ProcessHandle | None = None  # once it is READY
        self.job: Job | None = None
        self.timer: Timer | None = None  # of its start, job or idle minute
        self.problem: CallError | None = None  # why it was killed
        self.job_began = 0.0  # by the loop's clock
        self.used_before = 0.0  # seconds of processor time before the job

    @property
    def is_idle(self) -> bool:
        return self.process is not None and self.job is None


class WorkerPool:
    """At most `count` workers. `launch(socket, failed)` forks one that serves the other end of that socket."""

    def __init__(self, loop: Loop, launch: Launch, count: int, memory: int, log: PeerLog) -> None:
        self._done = 0  # jobs: the handler returned, or raised an error
        self._killed_by_deadline = 0
        self._killed_by_memory = 0
        self._lost = 0  # processes that ended during a job for any other reason
        self._loop = loop
        self._launch = launch
        self._count = count
        self._memory = memory
        self._log = log
        self._workers: list[_Worker] = []
        # By caller and connection; the next caller comes first.
        self._waiting: dict[str, dict[int, deque[Job]]] = {}
        self._busy: set[Origin] = set()
        self._penalties: dict[str, float] = {}  # by caller: until when
        self._holds: deque[Callable[[Release], None]] = deque()
        self._is_held = False
        # Pages that were never written take no memory.
        self._scratch = memoryview(mmap.mmap(-1, _SCRATCH, mmap.MAP_PRIVATE))
        self._is_closed = False

    @property
    def waiting(self) -> int:
        return sum(len(jobs) for connections in self._waiting.values() for jobs in connections.values())

    @property
    def pids(self) -> list[int]:
        return [worker.process.pid for worker in self._workers if worker.process is not None]

    def stats(self) -> dict[str, int]:
        """The figures of SYSTEM_STATS."""
        return {
            "most": self._count,
            "running": len(self.pids),
            "busy": sum(worker.job is not None for worker in self._workers),
            "waiting": self.waiting,
            "done": self._done,
            "killed_by_deadline": self._killed_by_deadline,
            "killed_by_memory": self._killed_by_memory,
            "died": self._lost,
        }

    def submit(
        self,
        kind: str,
        arguments: tuple[Any, ...],
        done: Callable[[Any], None],
        failed: Callable[[CallError], None],
        *,
        origin: Origin,
        deadline: Deadline,
    ) -> None:
        """Run a handler. Calls `done` or `failed` in a later turn: with JobTimeout, JobMemory, JobKilled, or the
        handler's error."""
        job = Job(kind, encode(kind, arguments), origin, deadline, done, failed)
        self._waiting.setdefault(origin.caller, {}).setdefault(origin.connection, deque()).append(job)
        self._hand_out()

    def hold(self, callback: Callable[[Release], None]) -> None:
        """Begin no job, and call `callback` when none runs: no worker has a snapshot open then. Jobs begin again when
        it calls its argument."""
        self._holds.append(callback)
        self._hand_out()

    def over_budget(self) -> bool:
        return self._loop.over_budget()

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._loop.call_soon(callback)

    def _release(self) -> None:
        self._is_held = False
        self._hand_out()

    def close(self) -> None:
        """Kill the workers. Waiting and running jobs get no answer."""
        self._is_closed = True
        self._waiting.clear()
        for worker in list(self._workers):
            process, worker.process, worker.job = worker.process, None, None
            worker.stream.close("the core ends")
            if process is not None:
                with suppress(ProcessLookupError):
                    process.send(signal.SIGKILL)
                with suppress(ChildProcessError):
                    os.waitpid(process.pid, 0)
                process.close()

    # Jobs.

    def _hand_out(self) -> None:
        if self._is_closed:
            return
        while self._holds and not self._is_held and not any(worker.job for worker in self._workers):
            self._is_held = True
            self._holds.popleft()(self._release)
        while not self._is_held and not self._holds and (job := self._next_job()) is not None:
            worker = next((worker for worker in self._workers if worker.is_idle), None)
            if worker is None:
                if len(self._workers) < self._count and not any(each.process is None for each in self._workers):
                    self._start()
                return
            self._take(job)
            self._give(worker, job)

    def _next_job(self) -> Job | None:
        """The oldest job of the first idle connection, of the first caller who may use a worker."""
        now = self._loop.now()
        self._penalties = {caller: until for caller, until in self._penalties.items() if until > now}
        is_penalty_busy = any(origin.caller in self._penalties for origin in self._busy)
        for caller, connections in self._waiting.items():
            if is_penalty_busy and caller in self._penalties:
                continue
            for jobs in connections.values():
                if jobs[0].origin not in self._busy:
                    return jobs[0]
        return None

    def _take(self, job: Job) -> None:
        """Dequeue it; its caller and connection go to the end."""
        caller, connection, _ = job.origin
        connections = self._waiting.pop(caller)
        jobs = connections.pop(connection)
        jobs.popleft()
        if jobs:
            connections[connection] = jobs
        if connections:
            self._waiting[caller] = connections
        self._busy.add(job.origin)

    def _give(self, worker: _Worker, job: Job) -> None:
        worker.job = job._replace(message=())  # it may have 16 MB, which only the stream needs from here on
        worker.job_began, worker.used_before = self._loop.now(), _processor_seconds(worker)
        self._set_timer(worker, job.deadline.seconds, self._check_deadline)
        worker.stream.send(*job.message)

    def _end_job(self, worker: _Worker) -> Job | None:
        job, worker.job = worker.job, None
        if job is not None:
            self._busy.discard(job.origin)
        return job

    def _check_deadline(self, worker: _Worker) -> None:
        job = worker.job
        assert job is not None
        left = job.deadline.seconds - (_processor_seconds(worker) - worker.used_before)
        patience = worker.job_began + job.deadline.seconds * job.deadline.patience - self._loop.now()
        if left > 0 and patience > 0:
            self._set_timer(worker, min(max(left, _LEAST_WAIT), patience), self._check_deadline)
        else:
            self._overdue(worker, job)

    def _overdue(self, worker: _Worker, job: Job) -> None:
        self._penalties[job.origin.caller] = self._loop.now() + PENALTY_SECONDS
        worker.problem = JobTimeout(
            f"{job.kind} took more than {job.deadline.seconds:g} s and was stopped",
            hint=f"make it smaller, or raise {job.deadline.setting} in reed.yaml",
        )
        self._killed_by_deadline += 1
        self._log.warning("a worker was killed: %s", worker.problem.message, peer=job.origin.caller)
        self._kill(worker)

    # Workers.

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        worker = _Worker(Stream(self._loop, ours, lambda reason: self._closed(worker, reason), max_queued=_MAX_QUEUED))
        self._workers.append(worker)
        self._set_timer(worker, _START_SECONDS, self._kill)
        worker.stream.watch(lambda: self._on_readable(worker))
        try:
            with theirs:
                self._launch(theirs, worker.stream.close)
        except (OSError, ReedError) as error:
            worker.stream.close(str(error))

    def _cannot_start(self, reason: str) -> None:
        """All waiting jobs fail; the next one tries again."""
        self._log.error("no worker could be started: %s", reason, peer=THE_CORE)
        waiting, self._waiting = self._waiting, {}
        for connections in waiting.values():
            for jobs in connections.values():
                for job in jobs:
                    job.failed(JobKilled(f"no worker could be started: {reason}", hint="see the core's log"))

    def _on_readable(self, worker: _Worker) -> None:
        size = worker.stream.receive(self._scratch)
        if size == 0:
            worker.stream.close("it ended" if worker.process else "it ended before it was ready")
        if size <= 0:
            return
        worker.reader.feed(self._scratch[:size])
        if (message := worker.reader.next()) is not None:
            self._received(worker, *message)

    def _received(self, worker: _Worker, outcome: int, value: Any) -> None:
        if outcome == Outcome.READY:
            worker.process = ProcessHandle(value)
        job = self._end_job(worker)
        if outcome == Outcome.MEMORY:
            self._retire(worker)  # it ends by itself
        else:
            self._set_timer(worker, IDLE_SECONDS, self._retire)
        if job is not None:
            self._done += outcome != Outcome.MEMORY
            self._tell(job, outcome, value)
        self._hand_out()

    def _tell(self, job: Job, outcome: int, value: Any) -> None:
        try:
            self._deliver(job, outcome, value)
        except Exception as bug:  # noqa: BLE001
            self._log.bug(bug)
            with suppress(Exception):  # its caller may have its answer already
                job.failed(Internal.of(bug))

    def _deliver(self, job: Job, outcome: int, value: Any) -> None:
        if outcome == Outcome.DONE:
            job.done(value)
        elif outcome == Outcome.FAILED:
            status, code, message, hint = value
            job.failed(CallError(message, hint=hint, status=status, error_code=code))
        elif outcome == Outcome.MEMORY:
            job.failed(self._out_of_memory(job))
        else:
            self._log.error("a bug in a worker (%s):\n%s", job.kind, value, peer=THE_CORE)
            job.failed(Internal(f"a bug in a worker ({job.kind})", hint="its traceback is in the log"))

    def _out_of_memory(self, job: Job) -> JobMemory:
        self._killed_by_memory += 1
        return JobMemory(
            f"{job.kind} took more than {self._memory // 2**20} MB of memory and was stopped",
            hint="make it smaller, or raise limits.worker_memory in reed.yaml",
        )

    def _retire(self, worker: _Worker) -> None:
        worker.stream.close("it is not needed")  # the process ends upon that

    def _kill(self, worker: _Worker) -> None:
        if worker.process is None:
            worker.stream.close("it was not ready in time")
        else:
            with suppress(ProcessLookupError):
                worker.process.send(signal.SIGKILL)

    def _closed(self, worker: _Worker, reason: str) -> None:
        """Its socket is closed: it exits."""
        self._workers.remove(worker)
        self._cancel_timer(worker)
        if worker.process is not None:
            self._reap(worker, worker.process)
            self._hand_out()
        elif not self._is_closed:
            self._cannot_start(reason)

    def _reap(self, worker: _Worker, process: ProcessHandle) -> None:
        try:
            end = process.wait()
        except ChildProcessError:  # an embedding program has waited for it
            how = "it ended"
        else:
            if end is None:
                self._when_ended(process, lambda: self._reap(worker, process))
                return
            how = f"signal {end.si_status}" if end.si_code != os.CLD_EXITED else f"exit status {end.si_status}"
        process.close()
        self._died(worker, how)

    def _when_ended(self, process: ProcessHandle, callback: Callable[[], None]) -> None:
        if process.fd < 0:
            self._loop.call_later(_EXIT_POLL, callback)
            return

        def ended() -> None:
            self._loop.unwatch(process.fd)
            callback()

        self._loop.watch(process.fd, ended)

    def _died(self, worker: _Worker, how: str) -> None:
        """Tell the caller of its job, if it had one. A native library that gets no more memory aborts the process."""
        job = self._end_job(worker)
        if job is None:
            return
        if worker.problem is None and how == f"signal {int(signal.SIGABRT)}":
            worker.problem = self._out_of_memory(job)
        if worker.problem is None:
            self._lost += 1
            worker.problem = JobKilled(f"the worker died during {job.kind}: {how}", hint="see the core's log; retry")
        job.failed(worker.problem)
        self._hand_out()

    def _set_timer(self, worker: _Worker, seconds: float, callback: Callable[[_Worker], None]) -> None:
        self._cancel_timer(worker)
        worker.timer = self._loop.call_later(seconds, lambda: callback(worker))

    @staticmethod
    def _cancel_timer(worker: _Worker) -> None:
        if worker.timer is not None:
            worker.timer.cancel()
            worker.timer = None


def _processor_seconds(worker: _Worker) -> float:
    """That its process has used; of one that has ended, infinite."""
    assert worker.process is not None
    try:
        return time.clock_gettime(~worker.process.pid << 3 | 2)  # clock_getcpuclockid(3) of a process
    except OSError:
        return math.inf
