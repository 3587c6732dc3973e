"""The table `schedules` that several cores share (`reed.store.schedules`).

    begin ──▶ lease of LEASE_SECONDS by the database's clock ── renewed while the run is under way ── end ──▶ none
                                                └─ the core has died: another one begins the run when it is over

A statement whose connection was lost is asked again. So `begin` may find the lease that it has taken itself, and gets
it again; `end` may find none, which means that the first one was carried out or the lease was lost.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from reed.errors import CallError
from reed.store.base import Done, Failed
from reed.store.context import StoreLoop
from reed.store.postgres.log_statements import CORE_SEEN
from reed.store.postgres.operation import ALL, Pending
from reed.store.postgres.reader import Reader
from reed.store.postgres.values import Rows, array_of, ignore, number, params, text
from reed.store.schedules import ScheduleState

LEASE_SECONDS = 15.0
_RENEW_SECONDS = LEASE_SECONDS / 3
_COLUMNS = (
    "plugin, name, rule, due, generation, leader IS NOT NULL AND lease > clock_timestamp(), last_due, began, ended,"
    " error, runs, failures, skipped"
)
_LEASE = f"clock_timestamp() + make_interval(secs => {LEASE_SECONDS:g})"
SCHEDULES = {
    "schedules": f"SELECT {_COLUMNS} FROM schedules",
    "schedule": f"SELECT {_COLUMNS} FROM schedules WHERE plugin = $1 AND name = $2",
    "schedule_plan": (
        "INSERT INTO schedules (plugin, name, rule, due) VALUES ($1, $2, $3, $4::bigint)"
        " ON CONFLICT (plugin, name) DO UPDATE SET rule = excluded.rule, due = excluded.due"
        f" WHERE schedules.rule <> excluded.rule OR schedules.due = $5::bigint RETURNING {_COLUMNS}"
    ),
    "schedule_begin": (
        f"UPDATE schedules SET leader = $4::uuid, generation = generation + 1, lease = {_LEASE}"
        " WHERE plugin = $1 AND name = $2 AND ($3::bigint = 0 OR due = $3::bigint)"
        " AND (leader IS NULL OR leader = $4::uuid OR lease < clock_timestamp())"
        f" RETURNING {_COLUMNS}"
    ),
    "schedule_renew": (
        f"UPDATE schedules SET lease = {_LEASE} WHERE plugin = $1 AND name = $2 AND leader = $3::uuid"
        " AND generation = $4::bigint"
    ),
    "schedule_end": (
        "UPDATE schedules SET leader = NULL, due = $5::bigint, last_due = $6::bigint, began = $7::bigint,"
        " ended = $8::bigint, error = $9, runs = $10::bigint, failures = $11::bigint, skipped = $12::bigint"
        " WHERE plugin = $1 AND name = $2 AND leader = $3::uuid AND generation = $4::bigint"
    ),
    "schedule_forget": "DELETE FROM schedules WHERE plugin = $1 AND name <> ALL ($2::text[])",
    "schedules_forget": (
        "DELETE FROM schedules WHERE plugin = $1 AND NOT EXISTS (SELECT FROM cores WHERE core <> $2::uuid"
        f" AND seen > now() - interval '{CORE_SEEN}' AND registry ? $1)"
    ),
}


class Schedules:
    def __init__(self, loop: StoreLoop, core: str, asker: Reader, pending: Pending) -> None:
        self._loop = loop
        self._core = core
        self._ask = asker.ask
        self._pending = pending
        self._held: dict[tuple[str, str], tuple[int, float]] = {}  # generation, renewed at

    def load(self, done: Done[list[ScheduleState]], failed: Failed) -> None:
        self._ask("schedules", (), lambda rows: done(_states(rows)), failed)

    def plan(
        self, plugin: str, name: str, rule: str, due: int, instead_of: int, done: Done[ScheduleState], failed: Failed
    ) -> None:
        def planned(rows: Rows) -> None:
            if rows.ntuples:
                done(_states(rows)[0])
            else:  # it exists, and keeps its due time
                self._ask("schedule", params(plugin, name), found, failed)

        def found(rows: Rows) -> None:
            if rows.ntuples:
                done(_states(rows)[0])
            else:  # deleted in between
                self.plan(plugin, name, rule, due, instead_of, done, failed)

        self._ask("schedule_plan", params(plugin, name, rule, due, instead_of or -1), planned, failed)

    def begin(self, plugin: str, name: str, due: int, done: Done[ScheduleState | None], failed: Failed) -> None:
        asked_at = self._loop.now()

        def begun(rows: Rows) -> None:
            if rows.ntuples:
                state = _states(rows)[0]._replace(is_running=True)
                self._held[plugin, name] = state.generation, asked_at
                done(state)
            else:
                self._ask("schedule", params(plugin, name), refused, failed)

        def refused(rows: Rows) -> None:
            done(_states(rows)[0]._replace(is_running=False) if rows.ntuples else None)

        self._ask("schedule_begin", params(plugin, name, due, self._core), begun, failed)

    def end(self, state: ScheduleState, done: Done[None], failed: Failed) -> None:
        write = self._pending.begin(ALL)  # a core that stops waits for it

        def ended(_: Rows) -> None:
            if self._held.get((state.plugin, state.name), (0,))[0] == state.generation:
                del self._held[state.plugin, state.name]
            self._pending.end(ALL, write)
            done(None)

        def not_ended(error: CallError) -> None:
            self._pending.end(ALL, write)
            failed(error)

        lease = state.plugin, state.name, self._core, state.generation
        outcome = state.due, state.last_due, state.began, state.ended, state.error
        self._ask("schedule_end", params(*lease, *outcome, state.runs, state.failures, state.skipped), ended, not_ended)

    def forget(self, plugin: str, keep: Collection[str], done: Callable[[None], None], failed: Failed) -> None:
        if keep:
            self._ask("schedule_forget", params(plugin, array_of(sorted(keep))), lambda _: done(None), failed)
        else:
            self._ask("schedules_forget", params(plugin, self._core), lambda _: done(None), failed)

    def tick(self, now: float) -> None:
        """Renew the leases of the runs that are under way."""
        for (plugin, name), (generation, renewed_at) in self._held.items():
            if now - renewed_at > _RENEW_SECONDS:
                self._held[plugin, name] = generation, now
                self._ask("schedule_renew", params(plugin, name, self._core, generation), ignore, ignore)


def _states(rows: Rows) -> list[ScheduleState]:
    return [
        ScheduleState._make(
            (
                *(text(rows, row, at) for at in range(3)),
                *(number(rows, row, at) for at in (3, 4)),
                text(rows, row, 5) == "t",
                *(number(rows, row, at) for at in (6, 7, 8)),
                text(rows, row, 9),
                *(number(rows, row, at) for at in (10, 11, 12)),
            )
        )
        for row in range(rows.ntuples)
    ]
