"""The core's side of the search index: when the indexer runs, and which searches wait for it (see `indexing`).

A search waits until everything that this core knew to be committed is indexed. Indexing begins when no write came for
a moment, unless a search waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from reed.errors import CallError
from reed.store.context import StoreLoop
from reed.store.workers import THE_STORE, Deadline, Workers

SLICE_SECONDS = 0.1  # of one job
PAUSE_SECONDS = 0.1  # without writes
_AGAIN_SECONDS = 0.02  # when another core has claimed what is left

Ready = Callable[[CallError | None], None]


class _Waiter(NamedTuple):
    needs: int  # batch
    ready: Ready


class SearchIndex:
    def __init__(self, loop: StoreLoop, conninfo: str, indexer: Workers, deadline: Deadline) -> None:
        self.behind = 0  # snippets that are not indexed, about
        self._loop = loop
        self._conninfo = conninfo
        self._indexer = indexer
        self._deadline = deadline
        self._reached = -1  # everything up to this batch is indexed
        self._waiters: deque[_Waiter] = deque()
        self._is_running = False
        self._is_timing = False
        self._touched_at = 0.0
        self._is_closed = False

    def touched(self, count: int = 1) -> None:
        """This core has written so many snippets to index, about."""
        self.behind += count
        self._touched_at = self._loop.now()
        self._start_later(PAUSE_SECONDS)

    def counted(self, behind: int) -> None:
        """So many snippets of all cores are not indexed."""
        self.behind = behind
        if behind:
            self._start_later(PAUSE_SECONDS)

    def when_caught_up(self, batch: int, ready: Ready) -> None:
        """Call `ready` when everything up to this batch is indexed."""
        if self._reached >= batch:
            ready(None)
        else:
            self._waiters.append(_Waiter(batch, ready))
            self._start()

    def close(self) -> None:
        self._is_closed = True
        self._waiters.clear()

    def _start_later(self, seconds: float) -> None:
        if not (self._is_timing or self._is_running):
            self._is_timing = True
            self._loop.call_later(seconds, self._time_is_over)

    def _time_is_over(self) -> None:
        self._is_timing = False
        if not self._waiters and self._loop.now() - self._touched_at < PAUSE_SECONDS / 2:
            self._start_later(PAUSE_SECONDS)
        else:
            self._start()

    def _start(self) -> None:
        if not self._is_running and not self._is_closed:
            self._is_running = True
            arguments = self._conninfo, self._deadline.seconds, SLICE_SECONDS
            self._indexer.submit(
                "index", arguments, self._done, self._failed, origin=THE_STORE, deadline=self._deadline
            )

    def _done(self, answer: tuple[int, int, bool]) -> None:
        reached, count, is_left = answer
        self._is_running = False
        self._reached = max(self._reached, reached)
        self.behind = max(self.behind - count, 0) if is_left else 0
        while self._waiters and self._waiters[0].needs <= self._reached:
            self._waiters.popleft().ready(None)
        if self._waiters:
            if count:
                self._start()
            else:
                self._start_later(_AGAIN_SECONDS)
        elif is_left:
            self._start_later(PAUSE_SECONDS)

    def _failed(self, error: CallError) -> None:
        """Another write, or another search, tries again."""
        self._is_running = False
        waiters, self._waiters = self._waiters, deque()
        for waiter in waiters:
            waiter.ready(error)
