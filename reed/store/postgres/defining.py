"""Writes that have to look at much before: definitions of types, and bonds that the loop's statement did not make.

They run in a worker, each in a transaction of its own, with the row locked that all cores lock for this: that of the
type, or of all bonds. So they see what other cores have committed, and can say what is wrong.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator

from reed.store.bonds import BondGraph, already_bonded
from reed.store.field_values import NULL_KEY, text_of_key, values_of
from reed.store.postgres.session import Session, row_of, session
from reed.store.postgres.statements import INDEX_AGAIN, end_batch
from reed.store.snippets import cannot_be_unique, not_found
from reed.store.types import MAX_COUNTED, Type, compile_type, no_type, type_in_use

_LOG = (
    "INSERT INTO changes (core, n, k, kind, id, type, name, version, at, made_by)"
    " VALUES (%s::uuid, 1, 0, %s, %s::uuid, %s, '', %s, %s, '')"
)
_END = end_batch("%s::uuid", "1")
_FETCHED = 100


def define(conninfo: str, seconds: float, name: str, definition: bytes, now: int) -> tuple[int, bool]:
    """Of a definition that was tried. Gives the revision, and whether the type is new.

    A new type begins with a revision above all that a deleted one of its name had: each of those was logged."""
    new = compile_type(name, definition, without_schema=True)
    with session(conninfo, seconds) as connection, connection.transaction():
        row = connection.execute("SELECT definition FROM types WHERE name = %s FOR UPDATE", (name,)).fetchone()
        old = None if row is None else compile_type(name, row[0].encode(), without_schema=True)
        _index_fields(connection, new, old)
        if old is not None and sorted(old.columns) != sorted(new.columns):
            connection.execute(
                f"INSERT INTO unindexed (id) SELECT id FROM snippets WHERE type = %s {INDEX_AGAIN}", (name,)
            )
        (revision,) = row_of(
            connection,
            "INSERT INTO types (name, revision, definition)"
            " SELECT %s, last + 1, %s FROM head WHERE what = 'batches' ON CONFLICT (name) DO UPDATE"
            " SET revision = types.revision + 1, definition = excluded.definition RETURNING revision",
            (name, definition.decode()),
        )
        _log(connection, "type.defined", None, name, revision, now)
    return int(revision), old is None


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


def _index_fields(connection: Session, new: Type, old: Type | None) -> None:
    """`fields` as the new definition wants it; Conflict if a value that must be unique occurs twice."""
    before = {} if old is None else {field: field in old.unique for field in old.indexed | old.unique}
    after = {field: field in new.unique for field in new.indexed | new.unique}
    # One that becomes unique is made again, which finds duplicates.
    missing = {
        field: unique for field, unique in after.items() if field not in before or (unique and not before[field])
    }
    dropped = [field for field in before if field not in after or field in missing]
    loosened = [field for field, unique in after.items() if field in before and before[field] and not unique]
    if dropped:
        connection.execute("DELETE FROM fields WHERE type = %s AND field = ANY (%s)", (new.name, dropped))
    if loosened:
        connection.execute(
            "UPDATE fields SET is_unique = false WHERE type = %s AND field = ANY (%s)", (new.name, loosened)
        )
    if not missing or old is None:
        return
    seen: dict[tuple[str, bytes], str] = {}
    with connection.cursor(name="contents") as cursor, connection.cursor() as writer:
        cursor.itersize = _FETCHED
        cursor.execute("SELECT id::text, name, content FROM snippets WHERE type = %s ORDER BY snippets.id", (new.name,))
        for snippet_id, name, content in cursor:
            for field, (key, shown) in values_of(content.encode(), missing).items():
                is_unique = missing[field] and key != NULL_KEY
                if is_unique and (other := seen.setdefault((field, key), name or snippet_id)) != (name or snippet_id):
                    raise cannot_be_unique(field, shown, other, name or snippet_id)
                writer.execute(
                    "INSERT INTO fields (type, field, value, id, is_unique) VALUES (%s, %s, %s, %s::uuid, %s)",
                    (new.name, field, text_of_key(key), snippet_id, is_unique),
                )


def bond(
    conninfo: str, seconds: float, bond_id: str, parent: str, child: str, weight: int, path: str, now: int
) -> None:
    """Make it, or raise what is wrong."""
    with session(conninfo, seconds) as connection, connection.transaction():
        connection.execute("SELECT FROM head WHERE what = 'bonds' FOR UPDATE")
        _Graph(connection).check_bond(parent, child)
        connection.execute(
            "INSERT INTO bonds (parent, weight, path, child, id) VALUES (%s::uuid, %s, %s, %s::uuid, %s::uuid)",
            (parent, weight, path, child, bond_id),
        )
        _log(connection, "bonded", bond_id, "", 0, now)


def _log(connection: Session, kind: str, changed: str | None, type_name: str, version: int, now: int) -> None:
    """A line in the log, as of a core that has done nothing else: every core sees it as another's."""
    core = str(uuid.uuid4())
    connection.execute(_LOG, (core, kind, changed, type_name, version, now))
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
