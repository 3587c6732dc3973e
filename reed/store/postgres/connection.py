"""One connection to PostgreSQL in the event loop: libpq's pipeline mode, which never blocks.

    closed ── open ──▶ connecting ── prepared ──▶ ready ──┐ lost: every unit that is out fails with Lost
       ▲                    │ refused, or too slow        │
       │                    ▼                             │
       └── close ──── waiting (0.05 to 2 s) ◀─────────────┘

A unit is one or more prepared statements, which are one transaction: all of them, then a Sync. Several units may be
out; their answers come in order. Each host is tried in turn, with a time limit of its own, so a failover ends at the
server that takes writes. libpq looks up names with a call that blocks, so it only gets addresses (`Server`).
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import psycopg
from psycopg import pq

from reed.errors import CallError, StoreFailed, StoreFull
from reed.store.context import StoreLoop, Timer
from reed.store.postgres.server import Server, message_of
from reed.store.postgres.values import Params, Rows

CONNECT_SECONDS = 3.0  # for each host
ANSWER_SECONDS = 5.0  # without an answer the connection counts as lost
_FIRST_WAIT, _LAST_WAIT = 0.05, 2.0
_MAX_OUT = 256  # units; more wait here, so that a slow server does not fill our memory


class Statement(NamedTuple):
    name: str  # of the prepared statement
    params: Params
    formats: Sequence[int] | None = None  # 1 for each parameter in binary format; None: all are texts


class ServerError(Exception):
    """The server has refused a statement; its unit was rolled back."""

    def __init__(self, sqlstate: str, message: str) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        self.message = message

    def as_call_error(self) -> CallError:
        return call_error(self.sqlstate, self.message)


def call_error(sqlstate: str, message: str) -> CallError:
    if sqlstate in {"53100", "53200"}:
        return StoreFull(f"PostgreSQL: {message}", hint="free space on the database's disk; nothing was written")
    return StoreFailed(f"PostgreSQL: {message} ({sqlstate})", hint="see the core's log and the server's")


class Lost(Exception):
    """The connection was lost before the answer came."""


Results = list[Rows]
Failure = ServerError | Lost


class _Unit(NamedTuple):
    statements: Sequence[Statement]
    done: Callable[[Results], None]
    failed: Callable[[Failure], None]
    results: Results
    errors: list[ServerError]
    sent_at: float


class Connection:
    def __init__(
        self,
        loop: StoreLoop,
        server: Server,
        prepared: Mapping[str, str],
        settings: Sequence[str],
        *,
        on_ready: Callable[[], None],
        on_lost: Callable[[str], None],
        on_notify: Callable[[], None] | None = None,
    ) -> None:
        """`prepared`: SQL by name of a statement; `settings`: SQL to run first, on every new connection. `on_lost` gets
        the reason, also each time that connecting fails."""
        self._loop = loop
        self._server = server
        self._prepared = prepared
        self._settings = settings
        self._on_ready = on_ready
        self._on_lost = on_lost
        self._on_notify = on_notify
        self._libpq: pq.abc.PGconn | None = None
        self._fd = -1
        self._attempt = 0
        self._waited = 0.0  # seconds, before the last attempt
        self._timer: Timer | None = None
        self._setup_left = 0  # results to come before the connection is ready
        self._out: deque[_Unit] = deque()
        self._queued: deque[_Unit] = deque()
        self._is_drain_due = False
        self._is_writing = False  # libpq has bytes that the socket did not take
        self.is_ready = False
        self.is_open = False

    # Units.

    def send(
        self, statements: Sequence[Statement], done: Callable[[Results], None], failed: Callable[[Failure], None]
    ) -> None:
        """Run a unit. The connection must be ready. What is queued is written by `flush`."""
        unit = _Unit(statements, done, failed, [], [], self._loop.now())
        if len(self._out) < _MAX_OUT and not self._queued:
            self._send(unit)
        else:
            self._queued.append(unit)

    def _send(self, unit: _Unit) -> None:
        libpq = self._libpq
        assert libpq is not None
        self._out.append(unit)
        try:
            for name, params, formats in unit.statements:
                libpq.send_query_prepared(name.encode(), params, formats)
            libpq.pipeline_sync()
        except psycopg.Error as error:
            self._loop.call_soon(partial(self.lose, str(error)))

    def flush(self) -> None:
        if self._libpq is None or not (self.is_ready or self._setup_left):
            return
        try:
            left = self._libpq.flush()
        except psycopg.Error as error:
            self.lose(str(error))
            return
        if left and not self._is_writing:
            self._is_writing = True
            self._loop.watch_write(self._fd, self.flush)
        elif not left and self._is_writing:
            self._is_writing = False
            self._loop.unwatch_write(self._fd)

    @property
    def waits_since(self) -> float:
        """Since when the oldest unit is out; infinity if none is."""
        return self._out[0].sent_at if self._out else float("inf")

    # The connection.

    def open(self) -> None:
        """Connect, and again after each loss until `close`."""
        self.is_open = True
        self._connect()

    def close(self) -> None:
        """Units that are out get no answer."""
        self.is_open = False
        self._out.clear()
        self._queued.clear()
        self._drop()

    def _connect(self) -> None:
        try:
            self._libpq = pq.PGconn.connect_start(self._server.target(self._attempt))
            self._libpq.nonblocking = 1
        except psycopg.Error as error:
            self.lose(str(error))
            return
        self._libpq.notice_handler = lambda _: None
        self._set_timer(CONNECT_SECONDS, lambda: self.lose(f"no connection within {CONNECT_SECONDS:g} s"))
        self._poll()

    def _poll(self) -> None:
        libpq = self._libpq
        assert libpq is not None
        self._unwatch()
        try:
            wants = libpq.connect_poll()
        except psycopg.Error as error:
            self.lose(str(error))
            return
        if wants == pq.PollingStatus.OK:
            self._set_up()
        elif wants == pq.PollingStatus.FAILED:
            self.lose(message_of(libpq))
        else:
            self._fd = libpq.socket
            watch = self._loop.watch if wants == pq.PollingStatus.READING else self._loop.watch_write
            watch(self._fd, self._poll)

    def _set_up(self) -> None:
        libpq = self._libpq
        assert libpq is not None
        self._fd = libpq.socket
        try:
            libpq.enter_pipeline_mode()
            for sql in self._settings:
                libpq.send_query_params(sql.encode(), None)
            for name, sql in self._prepared.items():
                libpq.send_prepare(name.encode(), sql.encode())
            libpq.pipeline_sync()
        except psycopg.Error as error:
            self.lose(str(error))
            return
        self._setup_left = len(self._settings) + len(self._prepared) + 1
        self._loop.watch(self._fd, self._readable)
        self.flush()

    def _readable(self) -> None:
        libpq = self._libpq
        assert libpq is not None
        try:
            libpq.consume_input()
        except psycopg.Error as error:
            self.lose(str(error))
            return
        self._drain()

    def _drain(self) -> None:
        """Handle the answers that are there, unless that takes too long for one turn."""
        self._is_drain_due = False
        while (libpq := self._libpq) is not None and (self._out or self._setup_left) and not libpq.is_busy():
            result = libpq.get_result()
            if result is None:
                if libpq.status == pq.ConnStatus.BAD:
                    break  # it gives nothing for ever
                continue
            if self._setup_left:
                self._setup_answer(result)
            elif result.status == pq.ExecStatus.PIPELINE_SYNC:
                try:
                    self._end_unit()
                except Exception:
                    self._drain_later()  # a caller's bug is not the others'
                    raise
                if self._out and self._loop.over_budget():
                    self._drain_later()
                    return
            elif result.status == pq.ExecStatus.FATAL_ERROR:
                self._out[0].errors.append(_server_error(result))
            else:
                self._out[0].results.append(result)
        libpq = self._libpq
        if libpq is not None:
            self._notified(libpq)
            if libpq.status == pq.ConnStatus.BAD:
                self.lose(message_of(libpq))

    def _notified(self, libpq: pq.abc.PGconn) -> None:
        has_news = False
        while libpq.notifies() is not None:
            has_news = True
        if has_news and self._on_notify is not None:
            self._on_notify()

    def _drain_later(self) -> None:
        if not self._is_drain_due:
            self._is_drain_due = True
            self._loop.call_soon(self._drain)

    def _setup_answer(self, result: pq.abc.PGresult) -> None:
        if result.status == pq.ExecStatus.FATAL_ERROR:
            self.lose(_server_error(result).message)
            return
        self._setup_left -= 1
        if self._setup_left == 0:
            self._cancel_timer()
            self._waited = 0.0
            self.is_ready = True
            self._on_ready()

    def _end_unit(self) -> None:
        unit = self._out.popleft()
        while self._queued and len(self._out) < _MAX_OUT:
            self._send(self._queued.popleft())
        if unit.errors:
            unit.failed(unit.errors[0])
        else:
            unit.done(unit.results)

    def lose(self, reason: str) -> None:
        """Give the connection up, and connect again."""
        if self._libpq is None and self._timer is not None:
            return  # it waits to connect again
        reason = reason.strip().replace("\n", " ") or "the server closed the connection"
        self._drop()
        units = [*self._out, *self._queued]
        self._out.clear()
        self._queued.clear()
        if not self.is_open:
            return
        self._attempt += 1
        self._waited = min(max(self._waited * 2, _FIRST_WAIT), _LAST_WAIT)
        self._set_timer(self._waited * random.uniform(0.5, 1.0), self._connect_again)
        self._on_lost(reason)
        for unit in units:
            unit.failed(Lost(reason))

    def _connect_again(self) -> None:
        self._timer = None
        self._connect()

    def _drop(self) -> None:
        self.is_ready = False
        self._setup_left = 0
        self._cancel_timer()
        self._unwatch()
        if self._libpq is not None:
            self._libpq.finish()
            self._libpq = None

    def _unwatch(self) -> None:
        self._is_writing = False
        if self._fd >= 0:
            self._loop.unwatch(self._fd)
            self._fd = -1

    def _set_timer(self, seconds: float, callback: Callable[[], None]) -> None:
        self._cancel_timer()
        self._timer = self._loop.call_later(seconds, callback)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _server_error(result: pq.abc.PGresult) -> ServerError:
    state = result.error_field(pq.DiagnosticField.SQLSTATE) or b""
    message = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or result.error_message
    return ServerError(state.decode(), message.decode("utf-8", "replace").strip())
