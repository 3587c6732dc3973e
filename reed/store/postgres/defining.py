"""Writes that have to look at much before: definitions of types, and bonds that the loop's statement did not make.

They run in a worker, in transactions of their own, with the row locked that all cores lock for this: that of the type,
or of all bonds. So they see what other cores have committed, and can say what is wrong. Rows for new indexed fields are
made before the type is locked (`field_rows`).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator

from reed.errors import CallError, StoreUnavailable
from reed.store.bonds import BondGraph, already_bonded
from reed.store.postgres.change_log import bond_name
from reed.store.postgres.field_rows import FieldRows, again
from reed.store.postgres.log_statements import MAX_BEHIND
from reed.store.postgres.session import Session, row_of, session
from reed.store.postgres.statements import FIRST_ID, REINDEX_AGAIN, end_batch
from reed.store.snippets import not_found
from reed.store.types import MAX_COUNTED, Type, compile_type, no_type, type_in_use

_LOG = (
    "INSERT INTO changes (core, n, k, kind, id, type, name, version, at, made_by)"
    " VALUES (%s::uuid, 1, 0, %s, %s::uuid, %s, %s, %s, %s, %s)"
)
_REINDEX = (
    f"INSERT INTO reindex SELECT %(type)s, '{FIRST_ID}', count(*)"
    f" FROM (SELECT FROM snippets WHERE type = %(type)s LIMIT {MAX_BEHIND}) AS counted {REINDEX_AGAIN}"
)
_END = end_batch("%s::uuid", "1")
_DEFINING = 0x64656669  # key of the advisory locks: one definition of a type at a time
_LOCK = "SELECT pg_advisory_lock(%s, hashtext(%s))"
_UNLOCK = "SELECT pg_advisory_unlock(%s, hashtext(%s))"


def define(conninfo: str, seconds: float, name: str, definition: bytes, now: int) -> tuple[int, bool]:
    """Of a definition that was tried. Gives the revision, and whether the type is new.

    A new type begins with a revision above all that a deleted one of its name had: each of those was logged."""
    new = compile_type(name, definition, without_schema=True)
    with session(conninfo, seconds) as connection:
        again(lambda: connection.execute(_LOCK, (_DEFINING, name)))
        row = connection.execute("SELECT revision, definition FROM types WHERE name = %s", (name,)).fetchone()
        old = None if row is None else compile_type(name, row[1].encode(), without_schema=True)
        rows = _field_rows(connection, new, old)
        try:
            if rows is not None:
                rows.build()
            revision = again(lambda: _take_effect(connection, new, old, 0 if row is None else row[0], rows, now))
        except CallError:
            if rows is not None:
                rows.undo()
            raise
        connection.execute(_UNLOCK, (_DEFINING, name))
    return revision, old is None


def _take_effect(
    connection: Session, new: Type, old: Type | None, revision: int, rows: FieldRows | None, now: int
) -> int:
    """Gives the new revision. Writers of this type wait until it is over, so only the rest of `rows` is made here, and
    what needs no content."""
    with connection.transaction():
        row = connection.execute("SELECT revision FROM types WHERE name = %s FOR UPDATE", (new.name,)).fetchone()
        if (0 if row is None else row[0]) != revision:
            raise StoreUnavailable(f"the type {new.name} was defined by somebody else meanwhile", hint="retry")
        if rows is not None:
            rows.catch_up(is_last=True)
        if old is not None:
            _forget_fields(connection, new, old)
            if sorted(old.columns) != sorted(new.columns):
                connection.execute(_REINDEX, {"type": new.name})
        (revision,) = row_of(
            connection,
            "INSERT INTO types (name, revision, definition)"
            " SELECT %s, last + 1, %s FROM head WHERE what = 'batches' ON CONFLICT (name) DO UPDATE"
            " SET revision = types.revision + 1, definition = excluded.definition RETURNING revision",
            (new.name, new.definition.decode()),
        )
        _log(connection, "type.defined", None, new.name, revision, now)
    return int(revision)


def delete_type(conninfo: str, seconds: float, name: str, now: int) -> None:
    """The lock keeps other cores from writing snippets of the type. Raises NotFound, Conflict."""
    with session(conninfo, seconds) as connection, connection.transaction():
        if connection.execute("SELECT FROM types WHERE name = %s FOR UPDATE", (name,)).fetchone() is None:
            raise no_type(name, [known for (known,) in connection.execute("SELECT name FROM types")])
        (count,) = row_of(
            connection,
            "SELECT count(*) FROM (SELECT FROM snippets WHERE type = %s LIMIT %s) AS counted",
            (name, MAX_COUNTED + 1),
        )
        if count:
            raise type_in_use(name, count)
        connection.execute("DELETE FROM types WHERE name = %s", (name,))
        _log(connection, "type.deleted", None, name, 0, now)


def _field_rows(connection: Session, new: Type, old: Type | None) -> FieldRows | None:
    """For fields that were not indexed, or need not be unique; None if there are none."""
    if old is None:
        return None
    before = old.fields
    missing = {field: unique for field, unique in new.fields.items() if unique > before.get(field, -1)}
    return FieldRows(connection, new.name, missing, missing.keys() & before.keys()) if missing else None


def _forget_fields(connection: Session, new: Type, old: Type) -> None:
    before, after = old.fields, new.fields
    dropped = [field for field in before if field not in after]
    loosened = [field for field in before if before[field] and after.get(field) is False]
    if dropped:
        connection.execute("DELETE FROM fields WHERE type = %s AND field = ANY (%s)", (new.name, dropped))
    if loosened:
        connection.execute(
            "UPDATE fields SET is_unique = false WHERE type = %s AND field = ANY (%s)", (new.name, loosened)
        )


def bond(
    conninfo: str, seconds: float, bond_id: str, parent: str, child: str, weight: int, path: str, now: int, made_by: str
) -> None:
    """Make it, or raise what is wrong."""
    with session(conninfo, seconds) as connection, connection.transaction():
        connection.execute("SELECT FROM head WHERE what = 'bonds' FOR UPDATE")
        graph = _Graph(connection)
        graph.check_bond(parent, child)
        connection.execute(
            "INSERT INTO bonds (parent, weight, path, child, id) VALUES (%s::uuid, %s, %s, %s::uuid, %s::uuid)",
            (parent, weight, path, child, bond_id),
        )
        (name,) = row_of(connection, "SELECT name FROM snippets WHERE id = %s::uuid", (parent,))
        _log(connection, "bonded", parent, graph.type_of(parent), 0, now, name=bond_name(child, name), made_by=made_by)


def _log(
    connection: Session,
    kind: str,
    changed: str | None,
    type_name: str,
    version: int,
    now: int,
    *,
    name: str = "",
    made_by: str = "",
) -> None:
    """A line in the log, as of a core that has done nothing else: every core sees it as another's."""
    core = str(uuid.uuid4())
    connection.execute(_LOG, (core, kind, changed, type_name, name, version, now, made_by))
    connection.execute(_END, (core,))


class _Graph(BondGraph[str]):
    """The bonds, asked one snippet at a time."""

    def __init__(self, connection: Session) -> None:
        super().__init__()
        self._connection = connection

    def check_bond(self, parent: str, child: str) -> None:
        """Raises Conflict, Invalid or NotFound."""
        ends = "SELECT id::text, type FROM snippets WHERE id = ANY (%s::uuid[]) FOR KEY SHARE"
        found: dict[str, str] = dict(self._connection.execute(ends, ([parent, child],)).fetchall())
        for wanted in (parent, child):
            if wanted not in found:
                raise not_found(wanted, ())
        bonded = "SELECT 1 FROM bonds WHERE parent = %s::uuid AND child = %s::uuid"
        if self._connection.execute(bonded, (parent, child)).fetchone():
            raise already_bonded(self.label_of(parent), self.label_of(child))
        types = {
            name: compile_type(name, text.encode(), without_schema=True)
            for name, text in self._connection.execute("SELECT name, definition FROM types")
        }
        types[found[parent]].check_child(found[child])
        limits = {type_.name: type_.max_depth for type_ in types.values() if type_.max_depth is not None}
        self.check(parent, child, limits)

    def children(self, at: str) -> Iterator[str]:
        return self._ids("SELECT child::text FROM bonds WHERE parent = %s::uuid", at)

    def parents(self, at: str) -> Iterator[str]:
        return self._ids("SELECT parent::text FROM bonds WHERE child = %s::uuid", at)

    def _ids(self, query: str, at: str) -> Iterator[str]:
        return (snippet_id for (snippet_id,) in self._connection.execute(query, (at,)).fetchall())

    def type_of(self, at: str) -> str:
        return str(row_of(self._connection, "SELECT type FROM snippets WHERE id = %s::uuid", (at,))[0])

    def label_of(self, at: str) -> str:
        return row_of(self._connection, "SELECT name FROM snippets WHERE id = %s::uuid", (at,))[0] or at
