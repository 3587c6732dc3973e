"""The event loop: one thread, one selector, one turn (event-loop.md#turn).

    poll      wait for readable and writable file descriptors, or for the next timer
    reads     each callback reads and handles a bounded number of frames. A callback with more to read is rescheduled
              (`call_soon`), as is everything left once the turn's budget is spent; these come first in the next turn
    timers    that are due
    jobs      one long operation gets a slice (`add_job`). If there are reads too, reads and jobs alternate between
              turns, and the slice is short
    commit    if requested (`request_commit`): the turn's writes reach the disk, and their replies are queued
    flush     what was queued for sending in this turn is written (`schedule_flush`)
    close     what died is closed (`schedule_close`), never earlier: no descriptor number is used twice in a turn

A callback that raises is a bug: its traceback goes to `on_exception`, and the loop continues.
"""

from __future__ import annotations

import math
import selectors
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from reed.loop.epoll import READABLE, WRITABLE, Epoll
from reed.loop.timers import Callback, Timer, Timers

# Seconds. A turn takes in requests for so long (a commit is worth the more, the more it holds), or works for so long on
# what is long; commit and replies take about as long again.
READ_BUDGET = 0.0025
JOB_BUDGET = 0.0033
JOB_BUDGET_UNDER_LOAD = 0.0018  # when requests come in too

Work = Callable[[float], bool]  # goes on until about that time; True while some is left

_READ = selectors.EVENT_READ
_WRITE = selectors.EVENT_WRITE


class Flushable(Protocol):
    def flush(self) -> None: ...


class Closable(Protocol):
    def close(self) -> None: ...


class _Watch:
    """Who is called when a descriptor is ready."""

    __slots__ = ("on_readable", "on_writable", "registered")

    def __init__(self) -> None:
        self.on_readable: Callback | None = None
        self.on_writable: Callback | None = None
        self.registered = 0  # the mask that the selector has

    @property
    def mask(self) -> int:
        return (_READ if self.on_readable else 0) | (_WRITE if self.on_writable else 0)


class TurnTimes:
    """How long turns took: counts by powers of two of a microsecond, the waiting for the disk apart."""

    __slots__ = ("buckets", "disk_longest", "longest")

    def __init__(self) -> None:
        self.buckets = [0] * 32  # buckets[n]: turns that took below 2**n microseconds, and not below 2**(n-1)
        self.longest = 0.0
        self.disk_longest = 0.0

    @property
    def turns(self) -> int:
        return sum(self.buckets)

    def add(self, seconds: float, disk_seconds: float = 0.0) -> None:
        self.buckets[min(int(seconds * 1e6).bit_length(), 31)] += 1
        self.longest = max(self.longest, seconds)
        self.disk_longest = max(self.disk_longest, disk_seconds)

    def quantile(self, part: float) -> float:
        """Seconds that this part of all turns stayed below (to a factor of two)."""
        left = part * self.turns
        for power, count in enumerate(self.buckets):
            left -= count
            if left <= 0:
                return min((1 << power) / 1e6, self.longest)
        return self.longest


class Loop:
    """Waits for descriptors and timers, and runs the turn. Everything happens on the caller's thread."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        commit: Callback = lambda: None,
        on_exception: Callable[[BaseException], None],
        waited: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`commit` is called in each turn that requested it, and in the first. `waited` gives the seconds that all
        commits so far have waited for the disk."""
        self.now = clock
        self.times = TurnTimes()
        self.commit = commit
        self._epoll = Epoll()
        self._on_exception = on_exception
        self._waited = waited
        self._waited_before = 0.0
        self._commit_due = True
        self._late = 0.0  # when the read budget of the present turn is spent
        self._watches: dict[int, _Watch] = {}
        self._timers = Timers()
        self._soon: deque[Callback] = deque()
        self._left: Sequence[tuple[int, int]] = ()  # of what was ready, for the next turn
        self._work: deque[Work] = deque()  # jobs
        self._had_reads = False  # in the previous turn
        self._to_flush: list[Flushable] = []
        self._to_close: list[Closable] = []
        self._running = False

    # What may happen.

    def watch(self, fd: int, on_readable: Callback) -> None:
        """Call `on_readable` in every turn in which `fd` has something to read (level-triggered)."""
        self._watch(fd).on_readable = on_readable
        self._update(fd)

    def watch_write(self, fd: int, on_writable: Callback) -> None:
        """Call `on_writable` in every turn in which `fd` takes output: only while a write was short."""
        self._watch(fd).on_writable = on_writable
        self._update(fd)

    def unwatch_read(self, fd: int) -> None:
        if fd in self._watches:
            self._watches[fd].on_readable = None
            self._update(fd)

    def unwatch_write(self, fd: int) -> None:
        if fd in self._watches:
            self._watches[fd].on_writable = None
            self._update(fd)

    def unwatch(self, fd: int) -> None:
        """Forget `fd`; call it before it is closed. Safe inside callbacks, and when it is not watched."""
        watch = self._watches.pop(fd, None)
        if watch is not None:
            if watch.registered:
                self._epoll.unregister(fd)
            watch.on_readable = watch.on_writable = None  # an event of this turn may still hold the watch
            if self._left:  # its number may soon be another's
                self._left = [ready for ready in self._left if ready[0] != fd]

    def call_later(self, seconds: float, callback: Callback) -> Timer:
        return self._timers.add(self.now() + seconds, callback)

    def call_soon(self, callback: Callback) -> None:
        """Call it in the next turn, which does not wait in poll: for a callback that has used its share of this one."""
        self._soon.append(callback)

    def add_job(self, work: Work) -> None:
        """Give `work` a slice of each turn, alternating with other jobs, until it returns False."""
        if work not in self._work:
            self._work.append(work)

    def request_commit(self) -> None:
        """Call `commit` at the end of this turn: there is something to commit, or a job to add."""
        self._commit_due = True

    def schedule_flush(self, stream: Flushable) -> None:
        """Flush it after this turn's commit. Call it once for each turn."""
        self._to_flush.append(stream)

    def schedule_close(self, thing: Closable) -> None:
        """Close it at the end of this turn."""
        self._to_close.append(thing)

    def over_budget(self) -> bool:
        """Is this turn's read budget spent? A callback with more to read then calls `call_soon`."""
        return self.now() >= self._late

    # The turn.

    def run(self) -> None:
        """Run turns until `stop()`."""
        self._running = True
        while self._running:
            self.turn()

    def stop(self) -> None:
        """End `run()` after the present turn."""
        self._running = False

    def turn(self, max_wait: float | None = None) -> None:
        """One turn, in order. Waits for `max_wait` seconds at the most (None: until something happens)."""
        now = self.now
        is_for_jobs = self._had_reads and bool(self._work)
        had_leftovers = bool(self._left)
        ready = () if is_for_jobs else self._ready(max_wait)
        began = now()
        self._late = began + READ_BUDGET
        self._had_reads = not is_for_jobs and bool(ready or self._soon)
        if self._had_reads:
            self._read_ready(ready, had_leftovers)
        if began >= self._timers.earliest:
            self._run_timers()
        if self._work and not self._had_reads:
            self._run_job(JOB_BUDGET_UNDER_LOAD if is_for_jobs else JOB_BUDGET)
        disk_seconds = self._commit() if self._commit_due else 0.0
        if self._to_flush or self._to_close:
            self._flush_and_close()
        self.times.add(now() - began - disk_seconds, disk_seconds)

    def close(self) -> None:
        self._flush_and_close()
        self._epoll.close()
        self._watches.clear()

    def _ready(self, max_wait: float | None) -> Sequence[tuple[int, int]]:
        """What the previous turn left, or else what the kernel reports."""
        if self._left:
            left, self._left = self._left, ()
            return left
        return self._epoll.ready(self._timeout(max_wait))

    def _read_ready(self, ready: Sequence[tuple[int, int]], had_leftovers: bool) -> None:
        """Run rescheduled and ready callbacks, each once, until the budget is spent; the rest comes first next turn."""
        has_begun = False
        if self._soon and not had_leftovers:
            self._run_soon()
            has_begun = True
        watches = self._watches
        for number, (fd, events) in enumerate(ready):
            if has_begun and self.now() >= self._late:
                self._left = ready[number:]
                return
            has_begun = True
            watch = watches.get(fd)
            if watch is None:  # a callback of this turn has forgotten it
                continue
            try:
                if events & READABLE and watch.on_readable is not None:
                    watch.on_readable()
                if events & WRITABLE and watch.on_writable is not None:
                    watch.on_writable()
            except Exception as error:  # noqa: BLE001
                self._on_exception(error)
        if self._soon and had_leftovers and self.now() < self._late:
            self._run_soon()

    def _timeout(self, max_wait: float | None) -> float | None:
        if self._soon or self._work or self._commit_due or self._to_flush or self._to_close:
            return 0.0
        deadline = self._timers.earliest
        if deadline == math.inf:
            return max_wait
        wait = max(0.0, deadline - self.now())
        return wait if max_wait is None else min(wait, max_wait)

    def _run_soon(self) -> None:
        """Run each rescheduled callback once, until the budget is spent."""
        for _ in range(len(self._soon)):
            self._call(self._soon.popleft())
            if self.now() >= self._late:
                break

    def _run_timers(self) -> None:
        now = self.now()
        while (callback := self._timers.pop_due(now)) is not None:
            self._call(callback)

    def _run_job(self, seconds: float) -> None:
        work = self._work.popleft()
        try:
            more = work(self.now() + seconds)
        except Exception as error:  # noqa: BLE001
            self._on_exception(error)
            more = False
        if more and work not in self._work:  # it may have added itself again
            self._work.append(work)

    def _commit(self) -> float:
        """Returns the seconds that this turn waited for the disk."""
        self._commit_due = False
        self._call(self.commit)
        before, self._waited_before = self._waited_before, self._waited()
        return self._waited_before - before

    def _flush_and_close(self) -> None:
        while self._to_flush:  # a flush that fails may end calls, whose replies are flushed too
            streams, self._to_flush = self._to_flush, []
            for stream in streams:
                self._call(stream.flush)
        while self._to_close:
            things, self._to_close = self._to_close, []
            for thing in things:
                self._call(thing.close)

    def _call(self, callback: Callback) -> None:
        try:
            callback()
        except Exception as error:  # noqa: BLE001
            self._on_exception(error)

    def _watch(self, fd: int) -> _Watch:
        watch = self._watches.get(fd)
        if watch is None:
            watch = self._watches[fd] = _Watch()
        return watch

    def _update(self, fd: int) -> None:
        """Tell the selector what is wanted of `fd` now: it holds only what is wanted at all."""
        watch = self._watches[fd]
        mask = watch.mask
        if mask == watch.registered:
            return
        if not mask:
            self._epoll.unregister(fd)
        elif watch.registered:
            self._epoll.modify(fd, mask, watch)
        else:
            self._epoll.register(fd, mask, watch)
        watch.registered = mask
