"""Restoring a snippet as it once was: its id, version and times are taken over, not made (SNIPPET_RESTORE).

    nothing has the id       written                 "created"
    the same record          left alone              "unchanged"
    an older version         replaced                "replaced"
    a newer one, or other    Conflict, unless `overwrite`
    content, same version

The key of a snippet is the sequence number in its id (see `ids`). So an id must be of the kind that reed makes, a UUID
version 7, and of a time that leaves room for all new ones, which come after it. Two ids with the same sequence number
cannot both be here; that is a Conflict as well. Times ahead of this machine's clock, as of a machine whose clock was
wrong, and content that does not fit its type take `accept_unfit`, and give a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from reed.errors import Conflict, Invalid
from reed.store.base import Restored
from reed.store.sqlite.ids import is_own, sequence_in
from reed.store.sqlite.index import Index
from reed.store.sqlite.outbox import Outbox
from reed.store.sqlite.snippets import Snippets, check_length
from reed.store.sqlite.types import Types
from reed.wire import identifiers, strict_json
from reed.wire.snippets import Record

MAX_AHEAD = 24 * 3600 * 1_000_000  # microseconds that another machine's clock may be ahead without a warning
MAX_TIME = 7_258_118_400_000_000  # Unix microseconds: the year 2200
MAX_VERSION = (1 << 31) - 1  # leaves room for as many updates in the field of 32 bits


class Plan(NamedTuple):
    """What a restore would do; `old` is what it replaces."""

    record: Record
    old: Record | None
    result: Restored


class Restoring:
    def __init__(
        self, snippets: Snippets, types: Types, index: Index, outbox: Outbox, clock: Callable[[], int]
    ) -> None:
        self._snippets = snippets
        self._types = types
        self._index = index
        self._outbox = outbox
        self._clock = clock

    def plan(self, record: Record, *, accept_unfit: bool = False, overwrite: bool = False) -> Plan:
        """Everything is checked, nothing written."""
        record = record._replace(id=record.id.lower(), content=bytes(record.content))
        self._check_id(record.id)
        self._check_figures(record)
        old = self._snippets.at(sequence_in(record.id))
        if old == record:
            return Plan(record, old, Restored(record.id, "unchanged"))
        if old is not None:
            _check_older(record, old, overwrite=overwrite)
        self._check_content(record)
        problems = [*self._misfit(record), *self._ahead(record)]
        if problems and not accept_unfit:
            raise problems[0]
        warning = "; ".join(problem.message for problem in problems)
        self._snippets.check_name_is_free(record.semantic_name, record.id)
        self._snippets.check_unique(record)
        return Plan(record, old, Restored(record.id, "created" if old is None else "replaced", warning))

    def carry_out(self, plan: Plan, by: str) -> Restored:
        """Write it, into the turn's transaction; `by` is not told of it."""
        record, sequence = plan.record, sequence_in(plan.record.id)
        if plan.result.outcome != "unchanged":
            self._snippets.restore(record, plan.old)
            if plan.old is None:
                self._index.restored(sequence)
            else:
                self._index.changed(sequence)
            kind = "snippet.created" if plan.old is None else "snippet.updated"
            self._outbox.add(kind, record, self._clock() // 1000, by)
        return plan.result

    def _check_id(self, snippet_id: str) -> None:
        hint = "create the snippet instead: it gets an id of its own"
        if not is_own(snippet_id):
            raise Invalid(f"the id {snippet_id!r} is no UUID version 7", hint=hint)
        if not 0 < _made_at(snippet_id) < MAX_TIME:
            raise Invalid(f"the time in the id {snippet_id} is none between 1970 and 2200", hint=hint)

    def _check_figures(self, record: Record) -> None:
        if not 1 <= record.version <= MAX_VERSION:
            raise Invalid(f"version {record.version} of {record.id}", hint=f"a version is 1 to {MAX_VERSION}")
        if max(record.created_at, record.updated_at) >= MAX_TIME:
            raise Invalid(
                f"{record.id}: created at {record.created_at}, updated at {record.updated_at}",
                hint="expected Unix microseconds, before the year 2200",
            )

    def _check_content(self, record: Record) -> None:
        if record.semantic_name:
            identifiers.check("semantic name", record.semantic_name)
        self._types.of_new(record.snippet_type)
        check_length(bytes(record.content))

    def _misfit(self, record: Record) -> Iterator[Invalid]:
        """Why the content does not fit its type."""
        value = strict_json.load_object(record.content)
        try:
            self._types.of_new(record.snippet_type).check(value)
        except Invalid as error:
            yield error

    def _ahead(self, record: Record) -> Iterator[Invalid]:
        """What is of the future, as this machine has it."""
        latest = self._clock() // 1000 + MAX_AHEAD
        if _made_at(record.id) > latest:
            yield Invalid(
                f"the id {record.id} is of the future, and new ids will come after it",
                hint="check this machine's clock",
            )
        if max(record.created_at, record.updated_at) > latest:
            yield Invalid(f"{record.id} was written in the future", hint="check this machine's clock")


def _made_at(snippet_id: str) -> int:
    """The time in an id, in Unix microseconds."""
    return (sequence_in(snippet_id) >> 12) * 1000


def _check_older(record: Record, old: Record, *, overwrite: bool) -> None:
    """What is here must be older than the record, unless it is to be overwritten; and it must be the same snippet."""
    if old.id != record.id:
        raise Conflict(
            f"the ids {record.id} and {old.id}, which is here, have the same time",
            hint="create the snippet instead: it gets an id of its own",
        )
    if overwrite or old.version < record.version:
        return
    if old.version > record.version:
        what = f"{record.id} is here in version {old.version}, newer than {record.version}"
    else:
        what = f"{record.id} is here in version {old.version} too, with another content, name, type or time"
    raise Conflict(what, hint="it was left as it is; `reed import --update` replaces it")
