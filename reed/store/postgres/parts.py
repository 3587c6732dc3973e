"""The parts of a PostgresStore: three connections in the loop, and what is kept in memory.

writer      the writes of a turn, one transaction after the other
reader      short reads
follower    the log of all cores, leases, figures
"""

from __future__ import annotations

import json
import math
import time
import uuid
from collections.abc import Callable
from typing import Any

from reed import __version__
from reed.store import contents
from reed.store.base import Failed
from reed.store.contents import Contents
from reed.store.context import StoreContext
from reed.store.ids import Ids, sequence_in
from reed.store.postgres.change_log import ChangeLog
from reed.store.postgres.connection import ANSWER_SECONDS, Connection
from reed.store.postgres.follower import POLL_SECONDS, Follower, LogLine
from reed.store.postgres.log_statements import FOLLOWER
from reed.store.postgres.long_reads import LongReads
from reed.store.postgres.memory import Records, RowCount, Types
from reed.store.postgres.operation import Attempt, Operation, Pending, WriteContext
from reed.store.postgres.outbox import Outbox
from reed.store.postgres.reader import Reader
from reed.store.postgres.schedules import SCHEDULES, Schedules
from reed.store.postgres.search_index import SearchIndex
from reed.store.postgres.server import Server
from reed.store.postgres.session import OTHER_PLANS, connect, place_of
from reed.store.postgres.statements import READS, WRITES
from reed.store.postgres.tables import EPOCH, migrate
from reed.store.postgres.trimmer import Trimmer
from reed.store.postgres.values import Rows, ignore, number, params, text
from reed.store.postgres.writer import Writer
from reed.store.setting import StoreSetting
from reed.store.workers import THE_STORE, Deadlines, Origin

CACHE_BYTES = 16 * 1024 * 1024
TICK_SECONDS = POLL_SECONDS
FIGURES_SECONDS = 2.0
STOP_SECONDS = 10.0  # that a core which stops waits for a database that is away

_JOBS = "reed.store.postgres"
HANDLERS = {
    "search": f"{_JOBS}.reading:run_search",
    "page": f"{_JOBS}.reading:read_page",
    "find": f"{_JOBS}.reading:find_page",
    "tree": f"{_JOBS}.reading:read_tree",
    "check": f"{_JOBS}.reading:check_type",
    "define": f"{_JOBS}.defining:define",
    "delete_type": f"{_JOBS}.defining:delete_type",
    "bond": f"{_JOBS}.defining:bond",
    **contents.HANDLERS,
}
INDEXER_HANDLERS = {
    "index": f"{_JOBS}.indexing:run_index",
    "resolve": f"{_JOBS}.server:resolve",
    "kept_after": f"{_JOBS}.trimming:kept_after",
    "trim": f"{_JOBS}.trimming:trim",
}

_SETTINGS = (
    "SET client_encoding = 'UTF8'",
    "SET default_transaction_isolation = 'read committed'",
    "SET statement_timeout = '10s'",
    "SET jit = off",
    "SET idle_in_transaction_session_timeout = '10s'",
    *(f"SET {plan} = off" for plan in OTHER_PLANS),
)
_COUNTS = (
    "SELECT (SELECT count(*) FROM snippets), (SELECT count(*) FROM bonds),"
    " (SELECT last FROM head WHERE what = 'batches'),"
    " (SELECT id::text FROM snippets ORDER BY snippets.id DESC LIMIT 1),"
    " (SELECT last FROM head WHERE what = 'epoch')"
)
# Of the log: see `reed.store.changes`. A transaction that does nothing if there is one.
_NEW_EPOCH = f"INSERT INTO head {EPOCH} ON CONFLICT DO NOTHING"


class Parts:
    def __init__(
        self,
        setting: StoreSetting,
        context: StoreContext,
        *,
        clock: Callable[[], int] = time.time_ns,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        """Connects, blocking; creates or migrates the tables. Raises StoreFailed. `clock`: nanoseconds since 1970."""
        loop = context.loop
        self._context = context
        self._loop = loop
        self._clock = clock
        self._conninfo = setting.conninfo
        self._deadlines = Deadlines(*(each._replace(patience=1) for each in context.deadlines))  # jobs await the server
        self._core = str(uuid.uuid4())
        self._server = Server(setting.conninfo)
        self._types = Types()
        snippets, bonds, last, newest = self._start(setting)
        self._snippets = RowCount(snippets, last)
        self._bonds = RowCount(bonds, last)
        self._ids = Ids(sequence_in(newest) if newest else 0)
        self._last_batch = last  # that this core knows of
        self._records = Records(cache_bytes, loop.now)
        self._workers = context.open_workers(HANDLERS, context.max_workers)
        self._indexer = context.open_workers(INDEXER_HANDLERS, 1, "indexer")
        self._contents = Contents(self._workers, context.deadlines.job)
        self._index = SearchIndex(loop, self._conninfo, self._indexer, self._deadlines.job)
        self._problem = ""  # why there is no connection
        self._pending = Pending()
        self._long_reads = LongReads(loop)
        self._stops_at = math.inf
        self._open(last)
        self._write_context = WriteContext(self._writer, self._refresh_types, self._bug, self._pending, loop.now)
        self._bonds_changed = False
        self._registry: dict[str, str] = {}
        self._figures: dict[str, int] = {}
        self._cores: list[dict[str, Any]] = []
        self._figures_at = 0.0
        self._trimmer = Trimmer(context, self._conninfo, self._indexer, self._deadlines.job, self._warn)
        self._has_news = False  # other cores have changed something
        self._timer = loop.call_later(TICK_SECONDS, self._tick)

    def _start(self, setting: StoreSetting) -> tuple[int, int, int, str | None]:
        with connect(setting) as connection:
            migrate(connection, place_of(connection))
            connection.execute(_NEW_EPOCH)
            with connection.transaction():
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                rows = connection.execute("SELECT name, revision, definition FROM types").fetchall()
                self._types.load((name, revision, text.encode()) for name, revision, text in rows)
                counts = connection.execute(_COUNTS).fetchone()
        assert counts is not None
        self._epoch = f"{counts[4]:08x}"
        return counts[0], counts[1], counts[2], counts[3]

    def _open(self, last: int) -> None:
        loop, due = self._loop, self._loop.request_commit
        self._write_connection = Connection(
            loop,
            self._server,
            WRITES,
            (*_SETTINGS, "SET lock_timeout = '200ms'", "SET plan_cache_mode = force_generic_plan"),
            on_ready=due,
            on_lost=self._lost,
        )
        self._read_connection = Connection(
            loop, self._server, READS, _SETTINGS, on_ready=self._reader_ready, on_lost=self._lost
        )
        self._follow_connection = Connection(
            loop,
            self._server,
            {**FOLLOWER, **SCHEDULES},
            (*_SETTINGS, "LISTEN reed"),
            on_ready=self._follower_ready,
            on_lost=self._lost,
            on_notify=self._poll,
        )
        self._writer = Writer(
            loop,
            self._core,
            self._write_connection,
            due,
            self._bug,
            self._warn,
            lambda: self._last_batch,
            self._log_grew,
        )
        self._reader = Reader(loop, self._read_connection, due)
        self._log = ChangeLog(self._epoch, self._reader, self._context.max_changes)
        self._asker = Reader(loop, self._follow_connection, due)  # leases, figures, the other cores
        self._follower = Follower(
            loop, self._core, last, self._follow_connection, self._on_line, self._on_gap, self._on_read
        )
        self._outbox = Outbox(
            loop,
            self._core,
            self._asker,
            self._reader,
            self._writer,
            self._pending,
            self._context.max_events,
            self._context.on_news,
            self._context.warn,
        )
        self.schedules = Schedules(loop, self._core, self._asker, self._pending)
        for connection in self._connections:
            connection.open()

    @property
    def _connections(self) -> tuple[Connection, ...]:
        return self._write_connection, self._read_connection, self._follow_connection

    def _operation(self, origin: Origin, failed: Failed, attempt: Attempt) -> None:
        Operation(self._write_context, origin, failed, attempt).begin()

    def _refresh_types(self, then: Callable[[], None], failed: Failed, until: float | None = None) -> None:
        raise NotImplementedError

    def _bug(self, error: BaseException) -> None:
        """Let the loop log it, and go on."""

        def again() -> None:
            raise error

        self._loop.call_soon(again)

    # The connections.

    def _warn(self, message: str) -> None:
        self._context.warn(f"store {self._server}: {message}")

    def _lost(self, reason: str) -> None:
        self._long_reads.lost()
        if reason != self._problem:
            self._warn(f"{reason}; connecting again")
        self._problem = reason
        hosts = [host for host, _ in self._server.hosts]
        if self._server.addresses:
            self._indexer.submit(
                "resolve", (hosts,), self._server.resolve, ignore, origin=THE_STORE, deadline=self._deadlines.job
            )

    def _reader_ready(self) -> None:
        self._long_reads.reached()
        self._loop.request_commit()

    def _follower_ready(self) -> None:
        self._outbox.connected()
        self._figures_at = 0.0
        self._poll()

    def _poll(self) -> None:
        self._follower.poll()

    def _tick(self) -> None:
        self._timer = self._loop.call_later(TICK_SECONDS, self._tick)
        now = self._loop.now()
        for connection in self._connections:
            if now - connection.waits_since > ANSWER_SECONDS:
                connection.lose(f"no answer within {ANSWER_SECONDS:g} s")
        if now > self._stops_at and (self._writer.is_in_doubt or not all(each.is_ready for each in self._connections)):
            self._give_up()
        self._writer.tick(now)
        self._reader.tick(now)
        self._asker.tick(now)
        self._long_reads.tick(now)
        self._poll()
        self._outbox.tick(now)
        self.schedules.tick(now)
        if now - self._figures_at > FIGURES_SECONDS and self._follow_connection.is_ready:
            self._figures_at = now
            self._ask_figures()
        self._loop.request_commit()

    def _give_up(self) -> None:
        """The core stops, and the database does not let its operations end."""
        self._writer.give_up()
        self._reader.give_up()
        self._long_reads.give_up()

    # The log.

    def _reached(self, seq: int) -> None:
        """This batch is known to be committed: searches wait until it is indexed."""
        self._last_batch = max(self._last_batch, seq)

    def _on_read(self, sent_at: float) -> None:
        self._problem = "" if all(connection.is_ready for connection in self._connections) else self._problem
        self._reached(self._follower.last)
        self._records.trust(sent_at)
        if self._outbox.has_ready:
            self._context.on_news()
        if self._has_news:
            self._has_news = False
            self._log.grew()

    def _log_grew(self) -> None:
        self._log.grew()

    def _on_line(self, line: LogLine) -> None:
        """Another core has committed a change."""
        self._has_news = True
        if line.kind.startswith("snippet."):
            self._records.changed(line.seq, line.id)
            self._snippets.add(line.seq, {"snippet.created": 1, "snippet.deleted": -1}.get(line.kind, 0))
            self._bonds_changed |= line.kind == "snippet.deleted"  # and bonds with it, perhaps
            self._outbox.seen(line)
        elif line.kind in {"type.defined", "type.deleted"}:
            self._records.forget()
            self._refresh_types(lambda: None, ignore)
        elif line.kind in {"bonded", "unbonded"}:
            self._bonds.add(line.seq, 1 if line.kind == "bonded" else -1)

    def _on_gap(self) -> None:
        """This core has slept for too long: the log no longer says what has changed."""
        self._records.forget()
        self._refresh_types(lambda: None, ignore)
        self._outbox.connected()
        self._figures_at = 0.0
        self._log.grew()

    # Figures.

    def _ask_figures(self) -> None:
        ask = self._asker.ask
        self._registry = dict(self._context.registry())
        here = params(self._core, self._context.core_name, __version__, json.dumps(self._registry))
        ask("appear", here, ignore, ignore)
        ask("cores", params(self._core), self._read_cores, ignore)
        if self._bonds_changed:
            self._bonds_changed = False
            self._reader.ask("count_bonds", (), self._read_bonds, ignore)
        ask("figures", (), self._read_figures, ignore)
        self._trimmer.tick(self._last_batch)

    def _read_cores(self, rows: Rows) -> None:
        self._cores = [
            {
                "core": text(rows, row, 0),
                "name": text(rows, row, 1),
                "version": text(rows, row, 2),
                "uptime_seconds": number(rows, row, 3),
                "plugins": json.loads(text(rows, row, 4)),
            }
            for row in range(rows.ntuples)
        ]
        self._writer.tells_others = bool(self._cores)

    def _read_bonds(self, rows: Rows) -> None:
        self._bonds.set(number(rows, 0, 0), number(rows, 0, 1))

    def _read_figures(self, rows: Rows) -> None:
        self._figures = {"connections": number(rows, 0, 1), "bytes": number(rows, 0, 2)}
        self._index.counted(number(rows, 0, 0))

    def _close(self) -> None:
        self._timer.cancel()
        self._index.close()
        for connection in self._connections:
            connection.close()
