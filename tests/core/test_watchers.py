"""Watchers on a loop with a clock of the test's, a store in memory and connections that note what they are sent."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from reed.core.calls import Call, Caller, Watch
from reed.core.watchers import BOOKMARK, MAX_QUEUED, RETRY_SECONDS, SLOW_SECONDS, Watchers
from reed.errors import CallError, Conflict, CursorTooOld, Malformed, StoreUnavailable
from reed.loop.loop import Loop
from reed.peer_log import PeerLog
from reed.store.changes import ChangePage
from reed.wire import frames
from reed.wire.codes import Command, Flag
from reed.wire.common import ErrorResponse
from reed.wire.frames import ReceiveBuffer
from reed.wire.watch import Change, SnippetChanges, SnippetWatch

EVERYTHING = frozenset(range(256))
PAGE = 50


class MemoryStore:
    def __init__(self) -> None:
        self.log: list[Change] = []
        self.trimmed = 0
        self.reads = 0
        self.error: CallError | None = None
        self.follower: Callable[[], None] | None = None

    def add(self, count: int, type_name: str = "page", kind: str = "snippet.created") -> None:
        for _ in range(count):
            number = len(self.log) + 1
            self.log.append(Change(kind, f"id{number}", type_name, "", 1, 0, "", "", self.cursor_of(number)))
        if self.follower is not None:
            self.follower()

    def follow_changes(self, on_changes: Callable[[], None] | None) -> None:
        self.follower = on_changes

    def watch_position(self, cursor: str, done: Callable[[int], None], failed: Callable[[CallError], None]) -> None:
        done(int(cursor.partition("-")[2]) if cursor else len(self.log))

    def changes_after(self, position: int, done: Callable[[ChangePage], None], failed: object) -> None:
        self.reads += 1
        if self.error is not None:
            raise self.error
        if position < self.trimmed:
            raise CursorTooOld("too old")
        found = list(enumerate(self.log, 1))[position : position + PAGE]
        last = found[-1][0] if found else position
        done(ChangePage(found, last, is_last=last == len(self.log)))

    def cursor_of(self, position: int) -> str:
        return f"e-{position}"


class Connection:
    """What it was sent stays in the queue until `read`."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.watch: Watch | None = None
        self.sent = b""
        self.buffered_bytes = 0
        self.refusal: CallError | None = None
        self.is_closing = False
        self._buffer = ReceiveBuffer()

    def begin_watch(self, watch: Watch) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.watch = watch

    def call_ended(self, call: Call, *, immediate: bool) -> None:
        """The first response."""

    def send(self, *parts: bytes) -> None:
        data = b"".join(parts)
        self.sent += data
        self.buffered_bytes += len(data)

    def close_when_sent(self) -> None:
        self.is_closing = True

    def read(self) -> list[str]:
        """The ids of the changes that were sent, or "cursor …" and the text of an error."""
        self._buffer.feed(memoryview(self.sent))
        self.sent, self.buffered_bytes = b"", 0
        found: list[str] = []
        while (frame := self._buffer.next_frame()) is not None:
            if frame.flags & Flag.ERROR:
                found.append(ErrorResponse.unpack(frame.payload).message)
                continue
            _, cursor, changes = SnippetChanges.unpack(frame.payload)
            found += [change.id for change in changes] or [f"cursor {cursor}"]
        self._buffer.keep()
        if self.watch is not None:
            self.watch.on_drained()
        return found


class Core:
    def __init__(self) -> None:
        self.now = 0.0
        self.bugs: list[BaseException] = []
        self.loop = Loop(clock=lambda: self.now, on_exception=self.bugs.append)
        self.store = MemoryStore()
        self.rows: dict[str, frozenset[int]] = {}
        log = PeerLog(logging.getLogger("test"), self.loop)
        self.watchers = Watchers(self.store, self.loop, log, self.rows.get)  # type: ignore[arg-type]

    def watch(
        self, cursor: str = "", *types: str, plugin: str = "", commands: frozenset[int] = EVERYTHING
    ) -> Connection:
        connection = Connection(Caller("somebody", plugin, frozenset(), frozenset(), commands, is_admin=False))
        self.begin(connection, SnippetWatch(cursor, types))
        self.turns()
        return connection

    def begin(self, connection: Connection, request: SnippetWatch, flags: int = 0) -> Call:
        call = Call(connection, Command.SNIPPET_WATCH, flags)  # type: ignore[arg-type]
        self.watchers.begin(call, request)
        return call

    def turns(self, seconds: float = 0.0) -> None:
        self.now += seconds
        for _ in range(100):
            self.loop.turn(0)
        assert not self.bugs


@pytest.fixture
def core() -> Core:
    return Core()


def ids(first: int, last: int) -> list[str]:
    return [f"id{number}" for number in range(first, last + 1)]


def test_nothing_is_read_while_nobody_watches(core: Core) -> None:
    assert core.store.follower is None
    connection = core.watch()
    assert core.store.follower is not None
    assert connection.watch is not None
    connection.watch.on_closed()
    assert core.store.follower is None
    assert len(core.watchers) == 0


def test_one_read_serves_all_that_are_live(core: Core) -> None:
    connections = [core.watch() for _ in range(10)]
    before = core.store.reads
    core.store.add(3)
    core.turns()
    assert core.store.reads == before + 1
    assert [connection.read() for connection in connections] == [ids(1, 3)] * 10


def test_a_watcher_that_is_behind_and_one_that_is_live_get_each_change_once(core: Core) -> None:
    core.store.add(120)
    live, behind = core.watch(), core.watch("e-10")
    core.store.add(7)
    core.turns()
    assert live.read() == ids(121, 127)
    assert behind.read() == ids(11, 127)
    core.store.add(1)
    assert live.read() == behind.read() == ["id128"]


def test_a_slow_watcher_holds_little_and_goes_on_when_it_has_read(core: Core) -> None:
    slow, fast = core.watch(), core.watch()
    told: list[str] = []
    for _ in range(100):
        core.store.add(100)
        core.turns()
        told += fast.read()
        assert slow.buffered_bytes < MAX_QUEUED + 64 * 1024
    assert told == ids(1, 10_000)
    got: list[str] = []
    while found := slow.read():
        got += found
        core.turns()
    assert got == told
    core.store.add(1)
    assert slow.read() == fast.read() == ["id10001"]


def test_a_watcher_that_reads_nothing_for_long_ends_with_its_cursor(core: Core) -> None:
    slow = core.watch()
    core.store.add(20_000)
    core.turns()
    core.turns(SLOW_SECONDS - 1)
    assert not slow.is_closing
    core.turns(2)
    assert slow.is_closing
    *told, last = slow.read()
    assert told == ids(1, len(told))
    assert "bytes unread for 30 s" in last
    assert f"watch again from the cursor e-{len(told)}" in last
    assert core.store.follower is None


def test_a_watcher_that_falls_out_of_the_log_ends(core: Core) -> None:
    slow = core.watch()
    core.store.add(20_000)
    core.turns()
    core.store.trimmed = 15_000
    told: list[str] = []
    while not slow.is_closing:
        told += slow.read()
        core.turns()
    assert slow.read() == ["too old"]
    assert told == ids(1, len(told))
    assert len(told) < 15_000


def test_a_store_that_cannot_be_read_is_tried_again(core: Core) -> None:
    connection = core.watch()
    core.store.error = StoreUnavailable("away")
    core.store.add(2)
    core.turns()
    core.store.error = None
    core.turns()
    assert connection.read() == []
    core.turns(RETRY_SECONDS + 0.1)
    assert connection.read() == ids(1, 2)


def test_a_change_that_comes_during_a_read_is_told(core: Core) -> None:
    """As with PostgreSQL, where answers come later: the page was the last one when it was read."""
    waiting: list[Callable[[], None]] = []
    read = core.store.changes_after

    def later(position: int, done: Callable[[ChangePage], None], failed: object) -> None:
        pages: list[ChangePage] = []
        read(position, pages.append, failed)
        waiting.append(lambda: done(pages[0]))

    core.store.changes_after = later  # type: ignore[method-assign]
    connection = core.watch()
    core.store.add(2)  # nobody is live yet
    while waiting:
        waiting.pop()()
        core.turns()
    assert connection.read() == ids(1, 2)
    core.store.add(1)
    core.store.add(1)
    while waiting:
        waiting.pop()()
        core.turns()
    assert connection.read() == ids(3, 4)


def test_a_cursor_alone_comes_after_many_changes_that_are_not_wanted(core: Core) -> None:
    connection = core.watch("", "note")
    core.store.add(BOOKMARK - 1)
    core.turns()
    assert connection.read() == []
    core.store.add(1)
    core.turns()
    assert connection.read() == [f"cursor e-{BOOKMARK}"]


def test_kinds_that_the_caller_may_not_read_are_left_out(core: Core) -> None:
    connection = core.watch(commands=frozenset({Command.SNIPPET_WATCH, Command.REGISTRY_LIST}))
    for kind in ("bonded", "type.defined", "unbonded", "snippet.deleted"):
        core.store.add(1, kind=kind)
    core.turns()
    assert connection.read() == ["id2", "id4"]


def test_a_plugin_keeps_what_its_row_permits_after_a_reload(core: Core) -> None:
    core.rows |= {"a": EVERYTHING, "b": EVERYTHING, "c": EVERYTHING}
    a, b, c = (core.watch(plugin=name) for name in "abc")
    core.rows["a"] = frozenset({Command.SNIPPET_WATCH})
    core.rows["b"] = frozenset({Command.SNIPPET_GET})
    del core.rows["c"]
    core.watchers.refresh()
    for kind in ("bonded", "snippet.created"):
        core.store.add(1, kind=kind)
    core.turns()
    assert a.read() == ["id2"]
    for gone in (b, c):
        (last,) = gone.read()
        assert "no longer grants snippet_read" in last
        assert gone.is_closing
    assert len(core.watchers) == 1


def test_a_restart_is_told_with_the_cursor(core: Core) -> None:
    connection = core.watch()
    core.store.add(2)
    assert connection.watch is not None
    connection.watch.on_restart()
    assert connection.read() == [*ids(1, 2), "the core is restarting; watch again from the cursor e-2"]
    assert connection.is_closing


def test_a_connection_with_requests_in_flight_is_not_watched(core: Core) -> None:
    connection = Connection(Caller("somebody", "", frozenset(), frozenset(), EVERYTHING, is_admin=True))
    connection.refusal = Conflict("in flight")
    call = core.begin(connection, SnippetWatch())
    assert b"in flight" in b"".join(call.response)
    assert len(core.watchers) == 0
    with pytest.raises(Malformed, match="ASYNC"):
        core.begin(connection, SnippetWatch(), Flag.ASYNC)


def test_a_frame_of_a_watcher_is_a_response(core: Core) -> None:
    connection = core.watch()
    core.store.add(1)
    magic_to_flags = frames.header(Command.SNIPPET_WATCH, 0, Flag.RESPONSE)[:7]
    assert connection.sent.startswith(magic_to_flags)
