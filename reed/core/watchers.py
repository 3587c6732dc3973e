"""Watchers: connections that get each change after its commit (SNIPPET_WATCH, protocol.md#watching).

    begin ── position known ──▶ behind ── the last page was sent ──▶ live ── commit ── one read for all ── sent
                                  ▲ ▲ reads pages of the log           │
                                  │ └──── its output queue is full ────┤
                                  └─ drained ── full ──────────────────┘
                                                 └─ for SLOW_SECONDS ──▶ ended: an error with the cursor, closed

The log of the store is the buffer: a watcher is its position there and at most MAX_QUEUED bytes of frames. A watcher
that falls behind the oldest change that is kept ends with CursorTooOld. Nothing is done while nobody watches.
"""

from __future__ import annotations

from collections.abc import Callable

from reed.core.calls import Call, CallOrigin
from reed.errors import CallError, CursorTooOld, Malformed, PermissionDenied, Restarting, SlowReader
from reed.loop.loop import Loop
from reed.loop.timers import Timer
from reed.peer_log import PeerLog
from reed.store.base import Store
from reed.store.changes import ChangePage
from reed.wire import frames
from reed.wire.codes import Command, Flag
from reed.wire.common import ErrorResponse
from reed.wire.watch import BONDED, DEFINED, UNBONDED, UNDEFINED, Change, SnippetChanges, SnippetWatch

MAX_QUEUED = 256 * 1024  # bytes of a watcher's frames; a page more may wait
SLOW_SECONDS = 30.0
RETRY_SECONDS = 1.0  # after the store could not be read
BOOKMARK = 1000  # changes that a watcher did not get, after which it gets a cursor alone

_RESPONSE = int(Flag.RESPONSE)
_LAST = int(Flag.RESPONSE | Flag.ERROR)
_COMMANDS = {  # without the command, changes of these kinds are not shown
    DEFINED: Command.REGISTRY_LIST,
    UNDEFINED: Command.REGISTRY_LIST,
    BONDED: Command.SCHEMA_TREE,
    UNBONDED: Command.SCHEMA_TREE,
}


class Filter:
    """What one watcher wants and may see."""

    __slots__ = ("hidden", "types")

    def __init__(self, types: tuple[str, ...], commands: frozenset[int]) -> None:
        self.types = frozenset(types)
        self.hidden = frozenset(kind for kind, command in _COMMANDS.items() if command not in commands)

    def shows(self, change: Change) -> bool:
        return (not self.types or change.snippet_type in self.types) and change.kind not in self.hidden


class Watchers:
    def __init__(
        self, store: Store, loop: Loop, log: PeerLog, commands_of: Callable[[str], frozenset[int] | None]
    ) -> None:
        """`commands_of`: those of a plugin by its row; None: there is no such row."""
        self.store = store
        self.loop = loop
        self.news = 0  # grows with each call of `_on_changes`
        self.tail = 0  # the position of all that are live, or later
        self._log = log
        self._commands_of = commands_of
        self._watchers: set[Watcher] = set()
        self._live: set[Watcher] = set()
        self._is_reading = False

    def __len__(self) -> int:
        return len(self._watchers)

    def begin(self, call: Call, request: SnippetWatch) -> None:
        """Handle SNIPPET_WATCH. Raises Malformed and Conflict."""
        if not call.expects_reply:
            raise Malformed("SNIPPET_WATCH with the flag ASYNC", hint="a watcher gets answers")
        watcher = Watcher(self, call.connection, request.types)

        def found(position: int) -> None:
            try:
                call.connection.begin_watch(watcher)
            except CallError as error:
                call.fail(error)
                return
            if not self._watchers:
                self.store.follow_changes(self._on_changes)
            self._watchers.add(watcher)
            call.reply(SnippetChanges(200, self.store.cursor_of(position), []).pack())
            watcher.start(position)

        self.store.watch_position(request.cursor, found, call.fail)

    def remove(self, watcher: Watcher) -> None:
        self._live.discard(watcher)
        if watcher in self._watchers:
            self._watchers.remove(watcher)
            if not self._watchers:
                self.store.follow_changes(None)

    def set_live(self, watcher: Watcher) -> bool:
        """False: the others are further on."""
        if not self._live:
            self.tail = watcher.position
        elif watcher.position < self.tail:
            return False
        self._live.add(watcher)
        return True

    def set_behind(self, watcher: Watcher) -> None:
        self._live.discard(watcher)

    def refresh(self) -> None:
        """Rows of the registry may have changed: plugins keep only what their rows permit now."""
        for watcher in list(self._watchers):
            if plugin := watcher.connection.caller.plugin:
                commands = self._commands_of(plugin)
                if commands is None or Command.SNIPPET_WATCH not in commands:
                    hint = "its row in the registry no longer grants snippet_read"
                    watcher.end(PermissionDenied(f"plugin {plugin} may not watch any more", hint=hint))
                else:
                    watcher.filter = Filter(tuple(watcher.filter.types), commands)

    def log_end(self, watcher: Watcher, why: CallError) -> None:
        name = watcher.connection.caller.name
        self._log.info("%s: its watch ended: %s", name, why, peer=name)

    # One read for all that are live.

    def _on_changes(self) -> None:
        self.news += 1
        if self._live and not self._is_reading:
            self._read()

    def _read(self) -> None:
        self._is_reading, news = True, self.news

        def found(page: ChangePage) -> None:
            self._is_reading = False
            self._send(page)
            if self._live and (news != self.news or not page.is_last):
                self.loop.call_soon(self._read_again)

        def failed(error: CallError) -> None:
            self._is_reading = False
            for watcher in list(self._live):  # each tries again, or ends, by itself
                self.set_behind(watcher)
                watcher.read_failed(error)

        try:
            self.store.changes_after(self.tail, found, failed)
        except CallError as error:
            failed(error)

    def _read_again(self) -> None:
        if self._live and not self._is_reading:
            self._read()

    def _send(self, page: ChangePage) -> None:
        before, self.tail = self.tail, page.position
        sent: dict[tuple[frozenset[str], frozenset[str]], bytes] = {}  # most watchers get the same frame
        for watcher in list(self._live):
            key = watcher.filter.types, watcher.filter.hidden
            if watcher.position == before and key in sent:
                watcher.send(sent[key], page.position)
            else:
                frame = watcher.take(page)
                if frame and watcher.position == before:
                    sent[key] = frame
                watcher.send(frame, page.position)


class Watcher:
    __slots__ = (
        "_has_ended",
        "_is_reading",
        "_position_sent",
        "_slow_timer",
        "connection",
        "filter",
        "position",
        "watchers",
    )

    def __init__(self, watchers: Watchers, connection: CallOrigin, types: tuple[str, ...]) -> None:
        self.watchers = watchers
        self.connection = connection
        self.filter = Filter(types, connection.caller.commands)
        self.position = 0  # everything up to here was sent, or is not to be
        self._position_sent = 0  # that the peer knows of
        self._is_reading = False
        self._has_ended = False
        self._slow_timer: Timer | None = None

    def start(self, position: int) -> None:
        self.position = self._position_sent = position
        self._read()

    @property
    def cursor(self) -> str:
        return self.watchers.store.cursor_of(self.position)

    # Behind: pages of the log.

    def _read(self) -> None:
        """Read the next page, unless what was sent is still to be written."""
        if self._has_ended or self._is_reading:
            return
        if self.connection.buffered_bytes > MAX_QUEUED:
            if self._slow_timer is None:
                self._slow_timer = self.watchers.loop.call_later(SLOW_SECONDS, self._end_slow)
            return  # `on_drained` goes on
        self._is_reading, news = True, self.watchers.news

        def found(page: ChangePage) -> None:
            self._is_reading = False
            if self._has_ended:
                return
            self.send(self.take(page), page.position)
            if not page.is_last or news != self.watchers.news or self._is_full() or not self.watchers.set_live(self):
                self.watchers.loop.call_soon(self._read)

        def failed(error: CallError) -> None:
            self._is_reading = False
            self.read_failed(error)

        try:
            self.watchers.store.changes_after(self.position, found, failed)
        except CallError as error:
            failed(error)

    def read_failed(self, error: CallError) -> None:
        if isinstance(error, CursorTooOld):
            self.end(error)
        elif not self._has_ended:
            self.watchers.loop.call_later(RETRY_SECONDS, self._read)

    def on_drained(self) -> None:
        if self._slow_timer is not None:
            self._slow_timer.cancel()
            self._slow_timer = None
            self._read()

    def _is_full(self) -> bool:
        return self.connection.buffered_bytes > MAX_QUEUED

    # Sending.

    def take(self, page: ChangePage) -> bytes:
        """The frame with what it wants of the page; b"": nothing."""
        shows = self.filter.shows
        changes = [change for position, change in page.changes if position > self.position and shows(change)]
        if not changes and page.position - self._position_sent < BOOKMARK:
            return b""
        payload = SnippetChanges(200, self.watchers.store.cursor_of(page.position), changes).pack()
        return frames.encode(Command.SNIPPET_WATCH, payload, _RESPONSE)

    def send(self, frame: bytes, position: int) -> None:
        self.position = max(self.position, position)
        if frame:
            self._position_sent = self.position
            self.connection.send(frame)
            if self._is_full():
                self.watchers.set_behind(self)
                self.watchers.loop.call_soon(self._read)  # after this turn's flush

    # The end.

    def end(self, error: CallError) -> None:
        """Send `error` as the last frame, and close."""
        if self._has_ended:
            return
        self.on_closed()
        self.watchers.log_end(self, error)
        self.connection.send(frames.encode(Command.SNIPPET_WATCH, ErrorResponse.of(error).pack(), _LAST))
        self.connection.close_when_sent()

    def _end_slow(self) -> None:
        self._slow_timer = None
        hint = f"watch again from the cursor {self.cursor}"
        self.end(
            SlowReader(
                f"this watcher left {self.connection.buffered_bytes} bytes unread for {SLOW_SECONDS:g} s", hint=hint
            )
        )

    def on_restart(self) -> None:
        self.end(Restarting("the core is restarting", hint=f"watch again from the cursor {self.cursor}"))

    def on_closed(self) -> None:
        self._has_ended = True
        self.watchers.remove(self)
        if self._slow_timer is not None:
            self._slow_timer.cancel()
            self._slow_timer = None
