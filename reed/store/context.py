"""What a core gives its store: the loop, folders, workers, limits and callbacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

from reed.store.workers import Deadlines, Workers


class Timer(Protocol):
    def cancel(self) -> None: ...


class StoreLoop(Protocol):
    """The part of reed.loop.Loop that a store may use."""

    now: Callable[[], float]  # monotonic seconds

    def watch(self, fd: int, on_readable: Callable[[], None], /) -> None: ...
    def watch_write(self, fd: int, on_writable: Callable[[], None], /) -> None: ...
    def unwatch_read(self, fd: int, /) -> None: ...
    def unwatch_write(self, fd: int, /) -> None: ...
    def unwatch(self, fd: int, /) -> None: ...
    def call_later(self, seconds: float, callback: Callable[[], None], /) -> Timer: ...
    def call_soon(self, callback: Callable[[], None], /) -> None: ...
    def request_commit(self) -> None: ...
    def over_budget(self) -> bool: ...


class OpenWorkers(Protocol):
    def __call__(self, handlers: Mapping[str, str], count: int, name: str = "workers") -> Workers:
        """A pool of at most `count` processes. `handlers`: "module:function" by kind. `name`: in SYSTEM_STATS."""


class StoreContext(NamedTuple):
    loop: StoreLoop
    data_dir: Path
    runtime_dir: Path
    core_name: str  # among the cores that share a store: the host and the runtime folder
    open_workers: OpenWorkers
    max_workers: int
    deadlines: Deadlines
    max_events: int  # that wait for one subscriber
    max_changes: int  # that the log keeps for watchers
    on_news: Callable[[], None]  # events were committed
    warn: Callable[[str], None]
    registry: Callable[[], Mapping[str, str]] = dict  # by plugin, what cores are to agree on
