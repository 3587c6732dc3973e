"""The event loop: one thread, one epoll; each turn has the same order (event-loop.md#turn).

    poll ── reads ── timers ── jobs ── commit ── flush ── close

A turn stops reading when its time budget is spent; the next turn begins with the descriptors that are left. Each
callback has an equal share of the budget, so one that has much to read cannot make the others wait for several turns.
While both reads and jobs are waiting, turns alternate between the two. Sockets are closed last, so that no descriptor
number is reused within a turn.

A turn without other work waits for descriptors and for the alarm of the timers, without a timeout; where there is no
alarm, and in other turns, poll has the timeout.
"""

from __future__ import annotations

import contextlib
import math
import select
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from reed.counters import TurnTimes
from reed.loop.timers import Callback, Timer, Timers, make_alarm
from reed.system_calls import needed

# Seconds of a turn; commit and replies take about as long again.
READ_BUDGET = 0.0025
LEAST_SHARE = 0.0002  # of it, for each callback
JOB_BUDGET = 0.0033
JOB_BUDGET_UNDER_LOAD = 0.0018
TIMER_BUDGET = 0.001
COMMIT_HOLD = 0.01  # how long a COMMIT waits for a connection that sends many writes (`hold_commit`)

Job = Callable[[float], bool]  # works until the given time; returns whether more is left

_IN = select.EPOLLIN
_OUT = select.EPOLLOUT
_MAX_EVENTS = 64  # per turn; poll allocates twelve bytes for each
_MAX_WAIT = 86400.0  # seconds; epoll takes no infinity


class Flushable(Protocol):
    def flush(self) -> None: ...


class Closable(Protocol):
    def close(self) -> None: ...


class Loop:
    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        commit: Callback = lambda: None,
        on_exception: Callable[[BaseException], None],
        fsync_seconds: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`fsync_seconds` returns the seconds that all commits so far have waited for the disk. `on_exception` gets
        what a callback raises, which is a bug; the loop continues."""
        self.now = clock
        self.times = TurnTimes()
        self.began = 0.0  # of the turn, by the clock
        self.read_deadline = 0.0  # of the callback that runs (`over_budget`)
        self.commit = commit
        with needed("epoll_create1", "the event loop"):
            self._epoll = select.epoll()
        self._on_exception = on_exception
        self._fsync_seconds = fsync_seconds
        self._fsync_before = 0.0
        self._has_work = True  # besides descriptors and timers: a callback, a job, a commit, a flush …
        self._commit_due = True
        self._is_held = False  # the commit, by a callback of the last reads
        self._held_since = math.inf
        self._readers: dict[int, Callback] = {}  # by descriptor
        self._writers: dict[int, Callback] = {}
        self._masks: dict[int, int] = {}  # that epoll has
        self._timers = Timers()
        self._alarm = make_alarm() if clock is time.monotonic else None
        self._rescheduled: deque[Callback] = deque()
        self._leftover: Sequence[tuple[int, int]] = ()  # ready, but not reached in the previous turn
        self._jobs: deque[Job] = deque()
        self._had_reads = False  # in the previous turn
        self._to_flush: list[Flushable] = []
        self._to_close: list[Closable] = []
        self._running = False
        if self._alarm is not None:
            self.watch(self._alarm.fd, self._alarm.on_readable)

    # Registration.

    def watch(self, fd: int, on_readable: Callback) -> None:
        """Level-triggered."""
        self._readers[fd] = on_readable
        self._update(fd)

    def watch_write(self, fd: int, on_writable: Callback) -> None:
        """Needed only after a short write."""
        self._writers[fd] = on_writable
        self._update(fd)

    def unwatch_read(self, fd: int) -> None:
        if self._readers.pop(fd, None) is not None:
            self._update(fd)

    def unwatch_write(self, fd: int) -> None:
        if self._writers.pop(fd, None) is not None:
            self._update(fd)

    def unwatch(self, fd: int) -> None:
        """Call it before `fd` is closed; safe inside callbacks, and when `fd` is not watched."""
        self._readers.pop(fd, None)
        self._writers.pop(fd, None)
        self._update(fd)
        if self._leftover:  # the number may be reused
            self._leftover = [ready for ready in self._leftover if ready[0] != fd]

    def call_later(self, seconds: float, callback: Callback) -> Timer:
        return self._timers.add(self.now() + seconds, callback)

    def call_soon(self, callback: Callback, *, hold_commit: bool = False) -> None:
        """In the next turn, which does not wait in poll. `hold_commit`: it goes on writing (`hold_commit`)."""
        self._rescheduled.append(callback)
        self._has_work = True
        if hold_commit:
            self.hold_commit()

    def add_job(self, job: Job) -> None:
        """Jobs take turns until they return False."""
        if job not in self._jobs:
            self._jobs.append(job)
            self._has_work = True

    def request_commit(self) -> None:
        self._commit_due = self._has_work = True

    def hold_commit(self) -> None:
        """The caller has more to write in the next turn: what it writes goes into one commit, as far as that waits no
        longer than COMMIT_HOLD. Without it a connection that sends a thousand writes waits for the disk fifty times."""
        self._is_held = True
        self._held_since = min(self._held_since, self.began)

    def schedule_flush(self, stream: Flushable) -> None:
        """Call it at most once per turn."""
        self._to_flush.append(stream)
        self._has_work = True

    def schedule_close(self, thing: Closable) -> None:
        self._to_close.append(thing)
        self._has_work = True

    def over_budget(self) -> bool:
        """Whether the callback has used its share of the read budget; with more to read it then calls `call_soon`."""
        return self.now() >= self.read_deadline

    # The turn.

    def run(self) -> None:
        self._running = True
        while self._running:
            if self._has_work:
                self._turn_with_work(_MAX_WAIT)
            else:
                self._quiet_turns(_MAX_WAIT)

    def stop(self) -> None:
        self._running = False

    def turn(self, max_wait: float = _MAX_WAIT) -> None:
        """Poll waits at most `max_wait` seconds."""
        if self._has_work:
            self._turn_with_work(max_wait)
        else:
            self._quiet_turns(max_wait, once=True)

    def _quiet_turns(self, max_wait: float, *, once: bool = False) -> None:
        """Turns until one has other work than descriptors and timers, or until `stop`; `once`: one of them.

        Most turns read one descriptor. Without a function for each step, and for each turn, they take 10 % less.
        """
        now, poll, readers, timers = self.now, self._epoll.poll, self._readers, self._timers
        alarm = self._alarm if max_wait >= _MAX_WAIT else None
        wait: float | None = None
        ended = now() if alarm is None else 0.0  # the turn before
        while True:
            if alarm is None:
                wait = timers.earliest - ended
                wait = 0.0 if wait < 0.0 else max_wait if wait > max_wait else wait
            elif timers.earliest < alarm.when:
                alarm.set(timers.earliest)
            ready = poll(wait, _MAX_EVENTS)
            began = self.began = now()
            self.read_deadline = began + READ_BUDGET
            if len(ready) == 1:
                ((fd, events),) = ready
                on_readable = readers.get(fd)
                if events == _IN and on_readable is not None:
                    try:
                        on_readable()
                    except Exception as error:  # noqa: BLE001
                        self._on_exception(error)
                else:
                    self._call_ready(fd, events)
            elif ready:
                self._read_ready(ready)
                self.read_deadline = began + READ_BUDGET
            if began >= timers.earliest:
                self._run_timers()
            if self._has_work:
                self._had_reads = bool(ready)
                self._end_turn()
                break
            ended = now()
            self.times.add(ended - began)
            if once or not self._running:
                break

    def _turn_with_work(self, max_wait: float) -> None:
        """With callbacks, jobs, a commit, or descriptors that are left."""
        is_for_jobs = self._had_reads and bool(self._jobs)
        had_leftovers = bool(self._leftover)
        ready = () if is_for_jobs else self._ready(max_wait)
        began = self.began = self.now()
        self.read_deadline = began + READ_BUDGET
        self._had_reads = not is_for_jobs and bool(ready or self._rescheduled)
        if self._had_reads:
            self._read_ready(ready, had_leftovers)
            self.read_deadline = began + READ_BUDGET
        if began >= self._timers.earliest:
            self._run_timers()
        if self._jobs and not self._had_reads:
            self._run_job(JOB_BUDGET_UNDER_LOAD if is_for_jobs else JOB_BUDGET)
        self._end_turn()

    def _end_turn(self) -> None:
        disk_seconds = self._commit() if self._commit_due and not self._holds_commit() else 0.0
        if self._to_flush or self._to_close:
            self._flush_and_close()
        self._has_work = bool(self._rescheduled or self._jobs or self._leftover or self._commit_due)
        self.times.add(self.now() - self.began - disk_seconds, disk_seconds)

    def close(self) -> None:
        self._flush_and_close()
        self._epoll.close()
        if self._alarm is not None:
            self._alarm.close()
            self._alarm = None
        self._readers.clear()
        self._writers.clear()

    def _ready(self, max_wait: float) -> Sequence[tuple[int, int]]:
        if self._leftover:
            ready, self._leftover = self._leftover, ()
            return ready
        return self._epoll.poll(self._timeout(max_wait), _MAX_EVENTS)

    def _read_ready(self, ready: Sequence[tuple[int, int]], had_leftovers: bool = False) -> None:
        has_begun = self._is_held = False
        deadline = self.read_deadline
        count = len(ready) + len(self._rescheduled)
        share = max(READ_BUDGET / count, LEAST_SHARE)
        if self._rescheduled and not had_leftovers:
            self._run_rescheduled(share, deadline)
            has_begun = True
        for number, (fd, events) in enumerate(ready):
            if count > 1:
                now = self.now()
                if has_begun and now >= deadline:
                    self._leftover = ready[number:]
                    self._has_work = True
                    return
                until = now + share
                self.read_deadline = until if until < deadline else deadline  # min() takes three times as long
            has_begun = True
            self._call_ready(fd, events)
        if self._rescheduled and had_leftovers and self.now() < deadline:
            self._run_rescheduled(share, deadline)

    def _call_ready(self, fd: int, events: int) -> None:
        """An error or a hang-up counts as both; the next read or write reports it. A callback may be gone: another one
        of this turn has unwatched the descriptor."""
        try:
            if events != _OUT and (on_readable := self._readers.get(fd)) is not None:
                on_readable()
            if events != _IN and (on_writable := self._writers.get(fd)) is not None:
                on_writable()
        except Exception as error:  # noqa: BLE001
            self._on_exception(error)

    def _timeout(self, max_wait: float) -> float:
        if self._rescheduled or self._jobs or self._to_flush or self._to_close:
            return 0.0
        deadline = self._timers.earliest
        if self._commit_due:
            if not self._is_held:
                return 0.0
            deadline = min(deadline, self._held_since + COMMIT_HOLD)
        return min(max(deadline - self.now(), 0.0), max_wait)

    def _run_rescheduled(self, share: float, deadline: float) -> None:
        now = self.now()
        for _ in range(len(self._rescheduled)):
            self.read_deadline = min(deadline, now + share)
            self._call(self._rescheduled.popleft())
            now = self.now()
            if now >= deadline:
                break

    def _run_timers(self) -> None:
        """Those of many plugins are due at once: the rest is left to the next turn."""
        now = self.now()
        until = now + TIMER_BUDGET
        while (callback := self._timers.pop_due(now)) is not None:
            self._call(callback)
            if self.now() >= until:
                break

    def _run_job(self, seconds: float) -> None:
        job = self._jobs.popleft()
        try:
            more = job(self.now() + seconds)
        except Exception as error:  # noqa: BLE001
            self._on_exception(error)
            more = False
        if more and job not in self._jobs:  # it may have added itself again
            self._jobs.append(job)

    def _holds_commit(self) -> bool:
        return self._is_held and self.began - self._held_since < COMMIT_HOLD

    def _commit(self) -> float:
        """Returns the seconds of waiting for the disk."""
        self._commit_due = self._is_held = False
        self._held_since = math.inf
        self._call(self.commit)
        before, self._fsync_before = self._fsync_before, self._fsync_seconds()
        return self._fsync_before - before

    def _flush_and_close(self) -> None:
        while self._to_flush:  # a flush that fails may end calls, whose replies follow
            streams, self._to_flush = self._to_flush, []
            for stream in streams:
                try:  # not `_call`, since there may be one for each request of the turn
                    stream.flush()
                except Exception as error:  # noqa: BLE001
                    self._on_exception(error)
        while self._to_close:
            things, self._to_close = self._to_close, []
            for thing in things:
                self._call(thing.close)

    def _call(self, callback: Callback) -> None:
        try:
            callback()
        except Exception as error:  # noqa: BLE001
            self._on_exception(error)

    def _update(self, fd: int) -> None:
        mask = (_IN if fd in self._readers else 0) | (_OUT if fd in self._writers else 0)
        registered = self._masks.get(fd, 0)
        if mask == registered:
            return
        if not mask:
            del self._masks[fd]
            with contextlib.suppress(OSError):  # the descriptor was closed
                self._epoll.unregister(fd)
            return
        if registered:
            self._epoll.modify(fd, mask)
        else:
            self._epoll.register(fd, mask)
        self._masks[fd] = mask
