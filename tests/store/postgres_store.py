"""The store in PostgreSQL, for the contract suite: a database for each folder, in one server for the session."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness import LateWorkers, Options

from reed.loop.loop import Loop
from reed.store import contents
from reed.store.context import StoreContext
from reed.store.setting import parse
from reed.store.workers import DEADLINES, Release, Workers
from tests.postgres.cluster import Cluster, missing, shared_clusters

_clusters: Iterator[Cluster] | None = None
_cluster: Cluster | None = None
_databases: dict[Path, str] = {}  # conninfo by folder

unavailable = missing


class _Workers(NamedTuple):
    """Jobs for contents go to workers of the test's, all others to those that it may not stop: `define` is one."""

    for_contents: Workers
    others: Workers

    def submit(self, kind: str, *arguments: Any, **options: Any) -> None:
        workers = self.for_contents if kind in contents.HANDLERS else self.others
        workers.submit(kind, *arguments, **options)

    def hold(self, callback: Callable[[Release], None]) -> None:
        self.others.hold(callback)

    def over_budget(self) -> bool:
        return self.for_contents.over_budget()

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.for_contents.call_soon(callback)


class LoopTurns:
    """Turns of a loop, in which the store's answers come from its connections."""

    def __init__(self, conninfo: str, options: Options) -> None:
        from reed.store.postgres.store import PostgresStore

        self.workers: Sequence[LateWorkers] = ()  # that tests may stop: those for contents
        self._all_workers: list[LateWorkers] = []
        self.loop = Loop(commit=self._commit, on_exception=self._on_bug)
        self._bugs: list[BaseException] = []

        def open_workers(handlers: Mapping[str, str], count: int, name: str = "workers") -> Workers:
            workers = LateWorkers(1, handlers)
            self._all_workers.append(workers)
            if name != "workers":
                return workers
            for_contents = options.workers or LateWorkers(1, handlers)
            if isinstance(for_contents, LateWorkers):
                self._all_workers.append(for_contents)
                self.workers = (for_contents,)
            return _Workers(for_contents, workers)

        context = StoreContext(
            loop=self.loop,
            data_dir=Path("/nonexistent"),
            runtime_dir=Path("/nonexistent"),
            core_name="test",
            open_workers=open_workers,
            max_workers=1,
            deadlines=DEADLINES,
            max_events=options.max_events,
            max_changes=options.max_changes,
            on_news=lambda: None,
            warn=lambda _: None,
        )
        self.store = PostgresStore(
            parse(f"postgres:{conninfo}"), context, clock=options.clock, cache_bytes=options.cache_bytes
        )

    def _commit(self) -> None:
        self.store.commit()

    def _on_bug(self, bug: BaseException) -> None:
        traceback.print_exception(bug)
        self._bugs.append(bug)

    def turn(self) -> bool:
        for workers in self._all_workers:
            workers.turn()
        self.loop.turn(0 if any(workers.is_busy for workers in self._all_workers) else 0.002)
        if self._bugs:
            raise self._bugs.pop()
        is_busy = any(workers.is_busy for workers in self._all_workers)
        return is_busy or not self.store.is_idle or self.store.stats()["unindexed"] > 0

    def close(self) -> None:
        from reed.store.postgres.session import close_sessions

        self.store.close()
        self.loop.close()
        close_sessions()


def open_postgres(folder: Path, options: Options) -> LoopTurns:
    global _clusters, _cluster  # noqa: PLW0603
    if _cluster is None:
        _clusters = iter(shared_clusters())
        _cluster = next(_clusters)
    if folder not in _databases:
        _databases[folder] = _cluster.conninfo(_cluster.create_database())
    return LoopTurns(_databases[folder], options)
