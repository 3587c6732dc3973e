"""One write from its beginning to its answer, and the order among writes.

    begin ─▶ attempt: read, check ─▶ written ──┬─ committed ─▶ done
               ▲     │ refused by memory       │
               │     ▼                         │ no effect: another core was first
               └─ types and record are read again, once ◀──┘ (up to MAX_RETRIES times)

Memory may be a second old, so no write is refused by it: what refuses is what was just read. Writes of an origin begin
in their order, each when the one before is in a batch. Writes of one snippet take turns: each needs the version that
the one before has made.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from reed.errors import CallError, Conflict, Internal
from reed.store.base import Failed, T
from reed.store.postgres.reader import WAIT_SECONDS
from reed.store.postgres.writer import Line, Step, Write, Writer
from reed.store.workers import Origin

MAX_RETRIES = 20

Attempt = Callable[["Operation"], None]


class Turns:
    """What is done one after the other, by key."""

    def __init__(self) -> None:
        self._waiting: dict[object, deque[Callable[[], None]]] = {}  # by each key that is taken
        self._releasing: dict[object, bool] = {}  # whether the key is free again

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def is_taken(self, key: object) -> bool:
        return key in self._waiting

    def take(self, key: object, begin: Callable[[], None]) -> None:
        """Call `begin` when the key is free: now or later."""
        if key in self._waiting:
            self._waiting[key].append(begin)
        else:
            self._waiting[key] = deque()
            begin()

    def release(self, key: object) -> None:
        if key in self._releasing:  # the one that was begun last is done already
            self._releasing[key] = True
            return
        waiting, self._releasing[key] = self._waiting[key], True
        while waiting and self._releasing[key]:
            self._releasing[key] = False
            waiting.popleft()()
        if self._releasing.pop(key) and not waiting:
            del self._waiting[key]


ALL = Origin("all writes")


class Pending:
    """The writes of each origin that are under way; under ALL every write from its beginning to its answer."""

    def __init__(self) -> None:
        self._last = 0
        self._writes: dict[Origin, set[int]] = {}
        self._waiters: list[tuple[set[int], Callable[[], None]]] = []

    def begin(self, origin: Origin) -> int:
        self._last += 1
        self._writes.setdefault(origin, set()).add(self._last)
        return self._last

    def end(self, origin: Origin, number: int) -> None:
        writes = self._writes[origin]
        writes.discard(number)
        if not writes:
            del self._writes[origin]
        if self._waiters:
            for waiting, _ in self._waiters:
                waiting.discard(number)
            ready = [then for waiting, then in self._waiters if not waiting]
            self._waiters = [waiter for waiter in self._waiters if waiter[0]]
            for then in ready:
                then()

    def has_later(self, origin: Origin, number: int) -> bool:
        """Whether this origin has writes under way that were begun after that one."""
        return any(each > number for each in self._writes.get(origin, ()))

    def when_ended(self, origin: Origin, then: Callable[[], None]) -> None:
        """Call it when the writes of this origin that are under way now have ended."""
        writes = self._writes.get(origin)
        if writes:
            self._waiters.append((set(writes), then))
        else:
            then()


@dataclass(frozen=True, slots=True)
class WriteContext:
    """What the operations of a store share."""

    writer: Writer
    refresh: Callable[[Callable[[], None], Failed, float], None]  # reads the types again, until a deadline
    bug: Callable[[BaseException], None]  # logs one
    pending: Pending
    now: Callable[[], float]
    origins: Turns = field(default_factory=Turns)
    snippets: Turns = field(default_factory=Turns)


class Operation:
    """`attempt` checks and then calls `write` or `finish`; it raises or calls `refuse` if it may not be written."""

    def __init__(self, context: WriteContext, origin: Origin, failed: Failed, attempt: Attempt) -> None:
        self.is_fresh = False  # memory is not to be trusted in this attempt
        self.revision = b""  # of the type that this attempt is checked against, if a change of it explains a refusal
        self._overtaken: bytes | None = None  # `revision` in the last attempt that was overtaken
        self._context = context
        self._pending = context.pending
        self._origin = origin
        self._failed = failed
        self._attempt = attempt
        self._number = self._pending.begin(ALL)
        self._retries = MAX_RETRIES
        self._held = ""  # the snippet whose turn it is
        self._is_in_order = False  # the origin's later writes wait
        self.until = 0.0  # the deadline of its reads and its write

    def begin(self) -> None:
        self._begin(lambda: self.guard(lambda: self._attempt(self)))

    def begin_again(self, number: int, revision: bytes) -> None:
        """After this write was put into a batch without an operation, and had no effect: memory was wrong. `number` is
        what `Pending` gave it then."""
        self.revision = revision
        self._note_overtaken(number)
        self._pending.end(self._origin, number)
        self._begin(self._start_again)

    def _begin(self, start: Callable[[], None]) -> None:
        def started() -> None:
            self._is_in_order = True
            self._restart_clock()
            start()

        self._context.origins.take(self._origin, started)

    @property
    def is_overtaken(self) -> bool:
        """An attempt with the same revision had no effect, and later writes of its origin may have had theirs."""
        return self._overtaken == self.revision

    @property
    def job_origin(self) -> Origin:
        """Of jobs for contents. In a later attempt others of the same origin may be away too."""
        return self._origin if self._is_in_order else self._origin._replace(connection=-id(self))

    def guard(self, step: Callable[[], None]) -> None:
        """Run a step. An error refuses the write; so does a bug, which is logged too."""
        try:
            step()
        except CallError as error:
            self.refuse(error)
        except Exception as bug:  # noqa: BLE001
            self._context.bug(bug)
            internal = Internal(f"a bug in the store: {type(bug).__name__}", hint="its traceback is in the log")
            self.finish(partial(self._failed, internal))

    def guarded(self, step: Callable[[T], None]) -> Callable[[T], None]:
        """The step as a callback, which gets an answer."""
        return lambda answer: self.guard(lambda: step(answer))

    def write(
        self,
        steps: Sequence[Step],
        then: Callable[[Line], None],
        *,
        snippet_id: str = "",
        decides: int = 0,
        has_line: bool = True,
    ) -> None:
        """Put it into the next batch, when it is the turn of this snippet. `then` is called after the COMMIT, and calls
        `finish`."""

        def put() -> None:
            number = self._pending.begin(self._origin)

            def ended(outcome: Callable[[], None]) -> None:
                self.guard(outcome)
                self._pending.end(self._origin, number)

            self._context.writer.put(
                Write(
                    steps,
                    lambda line: ended(lambda: then(line)),
                    lambda: ended(partial(self._refused, number)),
                    lambda error: ended(lambda: self._give_up(error)),
                    decides,
                    has_line,
                    until=self.until,
                )
            )
            self._leave_order()

        def held() -> None:
            self._held = snippet_id
            self._restart_clock()
            self.guard(lambda: self._attempt(self))  # it has waited: the record has changed

        if not snippet_id or self._held == snippet_id:
            put()
            return
        self._let_go()
        if self._context.snippets.is_taken(snippet_id):
            self._context.snippets.take(snippet_id, held)
        else:
            self._context.snippets.take(snippet_id, lambda: None)
            self._held = snippet_id
            put()

    def refuse(self, error: CallError) -> None:
        """It may not be written, by what is in memory: look again. By what was just read: that is the answer."""
        if self.is_fresh or not 400 <= error.status < 500:
            self._give_up(error)
        else:
            self._start_again()

    def _refused(self, number: int) -> None:
        self._note_overtaken(number)
        self.again()

    def _note_overtaken(self, number: int) -> None:
        if self._context.origins.is_taken(self._origin) or self._pending.has_later(self._origin, number):
            self._overtaken = self.revision

    def again(self) -> None:
        """Another core was first."""
        self._retries -= 1
        if self._retries:
            self._start_again()
        else:
            self._give_up(Conflict("other cores changed it each time that this write was tried", hint="retry"))

    def finish(self, answer: Callable[[], None]) -> None:
        """End with this answer."""
        self._let_go()
        self._leave_order()
        try:
            answer()
        except Exception as bug:  # noqa: BLE001
            self._context.bug(bug)
        self._pending.end(ALL, self._number)

    def _give_up(self, error: CallError) -> None:
        self.finish(partial(self._failed, error))

    def _start_again(self) -> None:
        """Read again what was in memory, and what this origin's own writes have made."""
        self.is_fresh = True

        def refresh() -> None:
            self._context.refresh(lambda: self.guard(lambda: self._attempt(self)), self._give_up, self.until)

        self._pending.when_ended(self._origin, refresh)

    def _restart_clock(self) -> None:
        """It has waited for other writes; from now on it waits for the database."""
        self.until = self._context.now() + WAIT_SECONDS

    def _leave_order(self) -> None:
        if self._is_in_order:
            self._is_in_order = False
            self._context.origins.release(self._origin)

    def _let_go(self) -> None:
        if self._held:
            held, self._held = self._held, ""
            self._context.snippets.release(held)
