"""The connection that writes: all writes of a turn are one transaction, and while one is out the next ones wait.

    put ── queued ── commit ── batch (core, n) ──┬─ committed ──▶ each write: `done`, or `refused` if it had no effect
                        ▲                        ├─ an error ───▶ rolled back: each write in a batch of its own
                        │                        └─ lost ───────▶ in doubt: asked until the answer is certain
                        └── it never happened: the same writes again ──┘

A batch ends with its number in `batches`, which is unique: inserting it again shows whether the batch was committed,
and if it was not, keeps it from being committed later. Which of its writes took effect their lines in `changes` say.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from reed.errors import CallError, OutcomeUnknown
from reed.store.base import Failed
from reed.store.context import StoreLoop
from reed.store.postgres.connection import Connection, Failure, Lost, Results, ServerError, Statement
from reed.store.postgres.reader import WAIT_SECONDS, unavailable
from reed.store.postgres.values import Params, binary_texts, column, ignore, number, params

MAX_LINES = 1000  # of a batch: an event's id has room for them
MAX_BYTES = 8 * 1024 * 1024
DOUBT_SECONDS = 60.0  # until the callers of a batch in doubt are told so

_LOOK_AGAIN = frozenset({"23505", "23503"})  # another core was first, between the check and the write
_TRY_AGAIN = frozenset({"40001", "40P01", "55P03", "57014"})  # a deadlock, or a lock that another core holds
# Of the statements of several creates: $3 and following.
_COLUMNS = ("k", "id", "type", "revision", "name", "at", "content", "made_by")
_TEXTS = frozenset({"type", "name", "content", "made_by"})  # arrays in binary format
_FORMATS = (0, 0, *(int(name in _TEXTS) for name in _COLUMNS))
_READ_ONLY = "25006"  # a standby, or a primary that is being replaced


class Step(NamedTuple):
    """A statement of a write."""

    name: str
    params: Params
    is_marked: bool = True  # it takes (core, n, k) first


class Line(NamedTuple):
    """The place of a committed change in the log of all cores."""

    seq: int
    k: int


@dataclass(slots=True, eq=False)
class Write:
    steps: Sequence[Step]
    done: Callable[[Line], None]  # committed
    refused: Callable[[], None]  # it had no effect: look again why
    failed: Failed
    decides: int = 0  # the step that returns a row if the write takes effect
    has_line: bool = True  # else it always takes effect
    until: float = 0.0  # it does not wait longer for the database
    size: int = 0  # of its parameters, about; 0: `put` adds them up


@dataclass(slots=True)
class _Batch:
    n: int
    writes: list[Write]
    since: float
    known: int  # the last batch that was known to be committed
    results: list[tuple[int, int]]  # of each write: where its result is, and how many writes share it, 0: none


class Writer:
    def __init__(
        self,
        loop: StoreLoop,
        core: str,
        connection: Connection,
        on_due: Callable[[], None],
        bug: Callable[[BaseException], None],
        warn: Callable[[str], None],
        known: Callable[[], int],
        on_committed: Callable[[], None],
    ) -> None:
        """`bug` logs what a callback has raised; `known` gives the last batch that is known to be committed."""
        self.commits = 0
        self.tells_others = False  # there are other cores: NOTIFY them after each commit
        self._loop = loop
        self._core = core.encode()
        self._connection = connection
        self._on_due = on_due
        self._queue: deque[Write] = deque()
        self._alone: deque[Write] = deque()  # each in a batch of its own
        self._is_alone_next = False
        self._out: _Batch | None = None
        self._doubt: _Batch | None = None
        self._is_asking = False
        self._n = 0
        self._bug = bug
        self._warn = warn
        self._known = known
        self._on_committed = on_committed

    @property
    def is_idle(self) -> bool:
        return not (self._queue or self._alone or self._out or self._doubt)

    def put(self, write: Write) -> None:
        """Write it with the next batch."""
        write.until = write.until or self._loop.now() + WAIT_SECONDS
        write.size = write.size or sum([sum(map(len, step.params)) for step in write.steps])
        self._queue.append(write)
        self._on_due()

    def commit(self) -> None:
        """Send the next batch, if none is out."""
        if self._connection.is_ready:
            if self._doubt is not None:
                self._ask(self._doubt)
            elif self._out is None and (self._alone or self._queue):
                self._send()
            self._connection.flush()

    def tick(self, now: float) -> None:
        """Give up what waits too long."""
        self._give_up_queued(now)
        if self._doubt is not None and now - self._doubt.since > DOUBT_SECONDS:
            self._give_up_doubt(self._doubt)
        self.commit()

    def give_up(self) -> None:
        """All that is not out: the core stops, and the database is away."""
        self._give_up_queued(math.inf)
        if self._doubt is not None:
            self._give_up_doubt(self._doubt)

    @property
    def is_in_doubt(self) -> bool:
        return self._doubt is not None

    def _give_up_queued(self, now: float) -> None:
        for queue in (self._alone, self._queue):
            late = [write for write in queue if write.until < now]
            if late:
                left = [write for write in queue if write.until >= now]
                queue.clear()
                queue.extend(left)
            for write in late:
                _call(self._bug, write.failed, unavailable("; nothing was written"))

    def _give_up_doubt(self, batch: _Batch, why: str = "the database does not answer") -> None:
        """Its outcome is still asked for, since the batch must not be committed later, but nobody waits for that."""
        writes, batch.writes = batch.writes, []
        if writes:
            self._warn(
                f"the connection was lost during a COMMIT of {len(writes)} writes, and whether it took effect is not"
                f" known: {why}. The callers were told so. For ten minutes this query finds a row if it did:"
                f" SELECT seq FROM batches WHERE core = '{self._core.decode()}' AND n = {batch.n}"
            )
        for write in writes:
            _call(self._bug, write.failed, _unknown())

    def _send(self) -> None:
        if self._alone and (self._is_alone_next or not self._queue):
            writes = [self._alone.popleft()]
            self._is_alone_next = False
        else:
            writes = self._next_writes()
            self._is_alone_next = True
        self._n += 1
        batch = self._out = _Batch(self._n, writes, self._loop.now(), self._known(), [])
        statements = self._statements(batch)
        statements.append(Statement("end_batch", params(self._core, batch.n)))
        self._connection.send(statements, self._committed, self._failed)

    def _statements(self, batch: _Batch) -> list[Statement]:
        """Those of all its writes; notes in `batch.results` where the result of each will be."""
        statements: list[Statement] = []
        core_n, k = params(self._core, batch.n), 0
        for name, group in groupby(batch.writes, _name_together):
            writes = list(group)
            if name and len(writes) > 1:
                batch.results += [(len(statements), len(writes))] * len(writes)
                statements.append(_together(name, core_n, k, writes))
            else:
                for at, write in enumerate(writes, k):
                    batch.results.append((len(statements) + write.decides, 0))
                    mark = (*core_n, *params(at))
                    statements += [
                        Statement(step.name, (*mark, *step.params) if step.is_marked else step.params)
                        for step in write.steps
                    ]
            k += len(writes)
        return statements

    def _next_writes(self) -> list[Write]:
        writes: list[Write] = []
        room = MAX_BYTES
        while self._queue and len(writes) < MAX_LINES and (not writes or self._queue[0].size <= room):
            write = self._queue.popleft()
            writes.append(write)
            room -= write.size
        return writes

    def _committed(self, results: Results) -> None:
        batch, self._out = self._out, None
        assert batch is not None
        self.commits += 1
        seq = number(results[-1], 0, 0)
        made: dict[int, set[str]] = {}  # by result of several writes, if some had no effect: those that had one
        took_effect = []
        for k, (write, (at, shared_by)) in enumerate(zip(batch.writes, batch.results, strict=True)):
            rows = results[at].ntuples
            if not shared_by:
                took_effect.append(not write.has_line or rows > 0)
            elif rows == shared_by:
                took_effect.append(True)
            else:
                if at not in made:
                    made[at] = set(column(results[at], 0))
                took_effect.append(str(k) in made[at])
        self._tell(batch, seq, took_effect)

    def _tell(self, batch: _Batch, seq: int, took_effect: Sequence[bool]) -> None:
        for k, write in enumerate(batch.writes):
            if took_effect[k]:
                _call(self._bug, write.done, Line(seq, k))
            else:
                _call(self._bug, write.refused)
        self._on_committed()
        if self.tells_others:
            self._connection.send((Statement("notify", (self._core,)),), ignore, ignore)
        self._on_due()

    def _failed(self, failure: Failure) -> None:
        batch, self._out = self._out, None
        assert batch is not None
        if isinstance(failure, Lost):
            self._doubt = batch
        elif failure.sqlstate == _READ_ONLY:
            self._queue.extendleft(reversed(batch.writes))
            self._connection.lose("the server takes no writes")
        elif len(batch.writes) > 1:
            self._alone.extend(batch.writes)
        else:
            self._refused_by_server(batch.writes[0], failure)
        self._on_due()

    def _refused_by_server(self, write: Write, error: ServerError) -> None:
        if error.sqlstate in _LOOK_AGAIN:
            _call(self._bug, write.refused)
        elif error.sqlstate in _TRY_AGAIN:
            self._alone.append(write)  # `tick` ends that
        else:
            _call(self._bug, write.failed, error.as_call_error())

    # A batch in doubt.

    def _ask(self, batch: _Batch) -> None:
        if self._is_asking:
            return
        self._is_asking = True
        name = params(self._core, batch.n)
        self._connection.send((Statement("resolve", name),), lambda _: self._read_outcome(batch), self._asked_in_vain)

    def _read_outcome(self, batch: _Batch) -> None:
        name = params(self._core, batch.n)
        self._connection.send(
            (Statement("outcome", name),), lambda results: self._resolved(batch, results), self._asked_in_vain
        )
        self._connection.flush()

    def _asked_in_vain(self, failure: Failure) -> None:
        """The old transaction still holds its locks, or the connection was lost again: `tick` asks again."""
        self._is_asking = False
        if isinstance(failure, ServerError) and failure.sqlstate == _READ_ONLY:
            self._connection.lose("the server takes no writes")

    def _resolved(self, batch: _Batch, results: Results) -> None:
        self._is_asking, self._doubt = False, None
        rows = results[0]
        lines = {int(k) for row in range(rows.ntuples) if (k := rows.get_value(row, 1)) is not None}
        never = -1 in lines
        if never and number(rows, 0, 2) > batch.known:
            self._give_up_doubt(batch, "this core slept until the log of that time was trimmed")
        elif never:
            self._queue.extendleft(reversed(batch.writes))
        else:
            self._tell(
                batch, number(rows, 0, 0), [not write.has_line or k in lines for k, write in enumerate(batch.writes)]
            )
        self._on_due()


def _name_together(write: Write) -> str:
    """Creates that follow each other share a statement, which takes less than half of the server's time; "" if it has
    its own."""
    name = write.steps[0].name
    return name if len(write.steps) == 1 and name in {"create", "create_indexed"} else ""


def _together(name: str, core_n: Params, k: int, writes: Sequence[Write]) -> Statement:
    """The statement of all these creates, the first of which is number `k` of its batch."""
    columns = list(zip(*(write.steps[0].params for write in writes), strict=True))
    columns.insert(0, params(*range(k, k + len(writes))))
    names = columns[_COLUMNS.index("name")]
    arrays = [
        binary_texts(column) if column_name in _TEXTS else b"{%b}" % b",".join(column)
        for column_name, column in zip(_COLUMNS, columns, strict=True)
    ]
    shared = name.replace("create", "creates_named" if any(names) else "creates")
    return Statement(shared, (*core_n, *arrays), _FORMATS)


def _call(bug: Callable[[BaseException], None], callback: Callable[..., None], *arguments: object) -> None:
    """One caller's bug is not the others'."""
    try:
        callback(*arguments)
    except Exception as error:  # noqa: BLE001
        bug(error)


def _unknown() -> CallError:
    return OutcomeUnknown(
        "the connection to the database was lost during a COMMIT, and the outcome is not known",
        hint="read the snippet before you write it again",
    )
