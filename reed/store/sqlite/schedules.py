"""The table `schedules` in content.db. One core has the file, so its leases are in memory (`reed.store.schedules`)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection

from reed.store.base import Done, Failed, T
from reed.store.schedules import ScheduleState
from reed.store.sqlite.transaction import Transaction

_COLUMNS = "plugin, name, rule, due, last_due, began, ended, error, runs, failures, skipped"
_PLAN = (
    f"INSERT INTO schedules ({_COLUMNS}) VALUES (?, ?, ?, ?, 0, 0, 0, '', 0, 0, 0)"
    " ON CONFLICT (plugin, name) DO UPDATE SET rule = excluded.rule, due = excluded.due"
    " WHERE schedules.rule != excluded.rule OR schedules.due = ?"
)
_END = (
    "UPDATE schedules SET due = ?, last_due = ?, began = ?, ended = ?, error = ?, runs = ?, failures = ?, skipped = ?"
    " WHERE plugin = ? AND name = ?"
)


class Schedules:
    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self._execute = transaction.writer.execute
        self._generation = 0
        self._leases: dict[tuple[str, str], int] = {}  # generation by plugin and name

    def load(self, done: Done[list[ScheduleState]], failed: Failed) -> None:  # noqa: ARG002
        done(self._read(lambda: [self._state(row) for row in self._execute(f"SELECT {_COLUMNS} FROM schedules")]))

    def plan(
        self, plugin: str, name: str, rule: str, due: int, instead_of: int, done: Done[ScheduleState], failed: Failed
    ) -> None:
        def write() -> ScheduleState:
            self._execute(_PLAN, (plugin, name, rule, due, instead_of or -1))
            state = self._get(plugin, name)
            assert state is not None
            return state

        self._write(write, done, failed)

    def begin(self, plugin: str, name: str, due: int, done: Done[ScheduleState | None], failed: Failed) -> None:  # noqa: ARG002
        state, key = self._read(lambda: self._get(plugin, name)), (plugin, name)
        if state is None or key in self._leases or due not in {0, state.due}:
            done(state and state._replace(is_running=False))
            return
        self._generation += 1
        self._leases[key] = self._generation
        done(state._replace(generation=self._generation, is_running=True))

    def end(self, state: ScheduleState, done: Done[None], failed: Failed) -> None:
        key = state.plugin, state.name

        def write() -> None:
            if self._leases.get(key) == state.generation:
                outcome = state.last_due, state.began, state.ended, state.error
                counts = state.runs, state.failures, state.skipped
                self._execute(_END, (state.due, *outcome, *counts, *key))

        def ended(_: None) -> None:
            if self._leases.get(key) == state.generation:
                del self._leases[key]
            done(None)

        self._write(write, ended, failed)

    def forget(self, plugin: str, keep: Collection[str], done: Callable[[None], None], failed: Failed) -> None:
        def write() -> None:
            for (name,) in self._execute("SELECT name FROM schedules WHERE plugin = ?", (plugin,)).fetchall():
                if name not in keep:
                    self._execute("DELETE FROM schedules WHERE plugin = ? AND name = ?", (plugin, name))
                    self._leases.pop((plugin, name), None)

        self._write(write, done, failed)

    def _get(self, plugin: str, name: str) -> ScheduleState | None:
        query = f"SELECT {_COLUMNS} FROM schedules WHERE plugin = ? AND name = ?"
        row = self._execute(query, (plugin, name)).fetchone()
        return None if row is None else self._state(row)

    def _state(self, row: tuple[str | int, ...]) -> ScheduleState:
        state = ScheduleState._make((*row[:4], 0, False, *row[4:]))
        return state._replace(is_running=(state.plugin, state.name) in self._leases)

    def _read(self, operation: Callable[[], T]) -> T:
        try:
            return operation()
        except (sqlite3.Error, MemoryError) as error:
            raise self._transaction.database.error(error) from error

    def _write(self, operation: Callable[[], T], done: Done[T], failed: Failed) -> None:
        try:
            self._transaction.begin()
            result = operation()
        except (sqlite3.Error, MemoryError) as error:
            raise self._transaction.fail(error) from error
        self._transaction.reply_at_end(done, result, failed)
