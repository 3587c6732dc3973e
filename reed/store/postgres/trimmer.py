"""The core's side of trimming the log: when a worker does it (`trimming`). News would wait for it in the loop's
connection, and it takes long if many lines wait for a plugin."""

from __future__ import annotations

import math
from collections.abc import Callable

from reed.errors import CallError, StoreUnavailable
from reed.store.context import StoreContext
from reed.store.postgres.values import ignore
from reed.store.workers import THE_STORE, Deadline, Workers

THIN_SECONDS = 10.0
TRIM_SHARE = 20  # one part of the time, at most
TRIM_AGAIN_SECONDS = 10.0


class Trimmer:
    def __init__(
        self,
        context: StoreContext,
        conninfo: str,
        workers: Workers,
        deadline: Deadline,
        warn: Callable[[str], None],
    ) -> None:
        self._now = context.loop.now
        self._max_events = context.max_events
        self._max_changes = context.max_changes
        self._conninfo = conninfo
        self._workers = workers
        self._deadline = deadline
        self._warn = warn
        self._trim_at = self._thinned_at = 0.0
        self._kept_after = 0  # the last batch that no watcher needs
        self._kept_asked_at = 0  # the last batch at that time

    def tick(self, last_batch: int) -> None:
        """Trim the log if it is time."""
        if self._now() >= self._trim_at:
            self._trim()
        if last_batch - self._kept_asked_at > self._max_changes // 100:
            self._kept_asked_at = last_batch
            self._ask_kept()

    def _trim(self) -> None:
        def trimmed(seconds: float) -> None:
            self._trim_at = self._now() + seconds * TRIM_SHARE

        def failed(error: CallError) -> None:
            self._trim_at = self._now() + TRIM_AGAIN_SECONDS
            if not isinstance(error, StoreUnavailable):
                self._warn(f"the log cannot be trimmed, and is tried again in {TRIM_AGAIN_SECONDS:g} s: {error}")

        now, self._trim_at = self._now(), math.inf
        thins = now - self._thinned_at > THIN_SECONDS
        self._thinned_at = now if thins else self._thinned_at
        arguments = self._conninfo, self._deadline.seconds, self._max_events, self._kept_after, thins
        self._workers.submit("trim", arguments, trimmed, failed, origin=THE_STORE, deadline=self._deadline)

    def _ask_kept(self) -> None:
        def found(seq: int) -> None:
            self._kept_after = seq

        arguments = self._conninfo, self._deadline.seconds, self._max_changes
        self._workers.submit("kept_after", arguments, found, ignore, origin=THE_STORE, deadline=self._deadline)
