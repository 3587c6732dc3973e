"""Restoring a snippet as it once was: its id, version and times are taken over, not made (SNIPPET_RESTORE).

    nothing has the id       written                 "created"
    the same record          left alone              "unchanged"
    an older version         replaced                "replaced"
    a newer one, or other    Conflict, unless `overwrite`
    content, same version

The key of a snippet is the sequence number in its id (see `ids`). So an id must be of the kind that reed makes, a UUID
version 7, and not of the future: new ids would have to come after it. Two ids with the same sequence number cannot both
be here; that is a Conflict as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from reed.errors import Conflict, Invalid
from reed.store.base import Restored
from reed.store.sqlite.ids import is_own, sequence_in
from reed.store.sqlite.index import Index
from reed.store.sqlite.outbox import Outbox
from reed.store.sqlite.snippets import Snippets, check_length
from reed.store.sqlite.types import Types
from reed.wire import names, strict_json
from reed.wire.snippets import Record

MAX_AHEAD = 24 * 3600 * 1_000_000  # microseconds that the clock of another machine may be ahead of this one's
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
        warning = self._check_content(record, accept_unfit=accept_unfit)
        self._snippets.check_name_is_free(record.semantic_name, record.id)
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
        if not is_own(snippet_id):
            raise Invalid(
                f"the id {snippet_id!r} is no UUID version 7",
                hint="create the snippet instead: it gets an id of its own",
            )
        milliseconds = sequence_in(snippet_id) >> 12
        if not 0 < milliseconds * 1000 <= self._latest():
            raise Invalid(
                f"the id {snippet_id} was not made before now, by its time",
                hint="check this machine's clock, or create the snippet instead",
            )

    def _check_figures(self, record: Record) -> None:
        if not 1 <= record.version <= MAX_VERSION:
            raise Invalid(f"version {record.version} of {record.id}", hint=f"a version is 1 to {MAX_VERSION}")
        if not record.created_at <= record.updated_at <= self._latest():
            raise Invalid(
                f"{record.id}: created at {record.created_at}, updated at {record.updated_at}",
                hint="expected Unix microseconds, in this order and not of the future",
            )

    def _latest(self) -> int:
        return self._clock() // 1000 + MAX_AHEAD

    def _check_content(self, record: Record, *, accept_unfit: bool) -> str:
        """The warning when the content does not fit its type and is accepted."""
        if record.semantic_name:
            names.check("semantic name", record.semantic_name)
        kind = self._types.of_new(record.snippet_type)
        value = strict_json.load_object(record.content)
        check_length(bytes(record.content))
        try:
            kind.check(value)
        except Invalid as error:
            if not accept_unfit:
                raise
            return error.message
        return ""


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
    raise Conflict(what, hint="it was left as it is; ask for overwriting to replace it")
