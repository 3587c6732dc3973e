"""Rules of SNIPPET_RESTORE, which keeps a record's own id, version and times (protocol.md#snippet_restore).

    the store has                     outcome
    no snippet with this id           "created"
    the same record                   "unchanged"
    an older version                  "replaced"
    a newer version, or another       Conflict, or "replaced" with OVERWRITE
    record with the same version

The sequence number in the id, which must be unused, becomes the key. With ACCEPT_UNFIT a content that does not fit
its type, or times in the future, give a warning instead of Invalid.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from reed.errors import Conflict, Invalid
from reed.store.base import Restored
from reed.store.ids import is_uuid_7, time_in
from reed.wire import identifiers
from reed.wire.snippets import Record, RestoreFlag

MAX_AHEAD = 24 * 3600 * 1_000_000  # microseconds that a record may be ahead of this machine's clock
MAX_TIME = 7_258_118_400_000_000  # Unix microseconds: the year 2200
MAX_VERSION = (1 << 31) - 1  # half of the 32-bit field, so that later updates fit


class Plan(NamedTuple):
    record: Record
    old: Record | None  # that it replaces
    result: Restored


def checked(record: Record) -> Record:
    """The record with its id in lower case. Raises Invalid for an id, version or time that no store can hold."""
    record = record._replace(id=record.id.lower(), content=bytes(record.content))
    hint = "create the snippet instead: it gets a new id"
    if not is_uuid_7(record.id):
        raise Invalid(f"the id {record.id!r} is not a UUID version 7", hint=hint)
    if not 0 < time_in(record.id) < MAX_TIME:
        raise Invalid(f"the time in the id {record.id} is not between 1970 and 2200", hint=hint)
    if not 1 <= record.version <= MAX_VERSION:
        raise Invalid(f"version {record.version} of {record.id}", hint=f"a version is 1 to {MAX_VERSION}")
    if max(record.created_at, record.updated_at) >= MAX_TIME:
        raise Invalid(
            f"{record.id}: created at {record.created_at}, updated at {record.updated_at}",
            hint="expected Unix microseconds, before the year 2200",
        )
    return record


def plan(record: Record, old: Record | None, unfit: Invalid | None, now: int, flags: int) -> Plan:
    """`record` is `checked`, `old` the stored record with its sequence number, `unfit` why the content does not fit its
    type; `now` in Unix microseconds; `flags` of RestoreFlag. Raises Invalid, Malformed or Conflict. The store still has
    to check that name and unique fields are free."""
    if old == record:
        return Plan(record, old, Restored(record.id, "unchanged"))
    if old is not None:
        _check_older(record, old, overwrite=bool(flags & RestoreFlag.OVERWRITE))
    if record.semantic_name:
        identifiers.check("semantic name", record.semantic_name)
    problems = [*([unfit] if unfit else []), *_ahead(record, now + MAX_AHEAD)]
    if problems and not flags & RestoreFlag.ACCEPT_UNFIT:
        raise problems[0]
    warning = "; ".join(problem.message for problem in problems)
    return Plan(record, old, Restored(record.id, "created" if old is None else "replaced", warning))


def _check_older(record: Record, old: Record, *, overwrite: bool) -> None:
    if old.id != record.id:
        raise Conflict(
            f"{record.id} has the same time as {old.id} in the store",
            hint="create the snippet instead: it gets a new id",
        )
    if overwrite or old.version < record.version:
        return
    if old.version > record.version:
        what = f"the store has version {old.version} of {record.id}, newer than {record.version}"
    else:
        what = f"the store has version {old.version} of {record.id} with other content, name, type or times"
    raise Conflict(what, hint="nothing was changed; `reed import --update` replaces it")


def _ahead(record: Record, latest: int) -> Iterator[Invalid]:
    if time_in(record.id) > latest:
        yield Invalid(
            f"the time in the id {record.id} is in the future, and new ids will be later still",
            hint="check this machine's clock",
        )
    if max(record.created_at, record.updated_at) > latest:
        yield Invalid(f"the times of {record.id} are in the future", hint="check this machine's clock")
