"""Writes that have to look at much before: definitions of types, and bonds that the loop's statement did not make.

They run in a worker, each in a transaction of its own, with the row locked that all cores lock for this: that of the
type, or of all bonds. So they see what other cores have committed, and can say what is wrong.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Iterator
from typing import Any

from reed.errors import Conflict, Invalid, NotFound
from reed.store.field_values import text_of_key, values_of
from reed.store.postgres.job_session import Session, session
from reed.store.types import Type, compile_type

_LOG = (
    "INSERT INTO changes (core, n, k, kind, id, type, name, version, at, made_by)"
    " VALUES (%s::uuid, 1, 0, %s, %s::uuid, %s, '', %s, %s, '')"
)
_END = (
    "WITH next AS (UPDATE head SET last = last + 1 WHERE what = 'batches' RETURNING last)"
    " INSERT INTO batches (seq, core, n) SELECT last, %s::uuid, 1 FROM next"
)
_FETCHED = 100
_NULL = b"null"


def define(conninfo: str, seconds: float, name: str, definition: bytes, now: int) -> int:
    """Of a definition that was tried. Gives the revision, 1 for a new type."""
    new = compile_type(name, definition, without_schema=True)
    with session(conninfo, seconds) as connection, connection.transaction():
        row = connection.execute("SELECT definition FROM types WHERE name = %s FOR UPDATE", (name,)).fetchone()
        old = None if row is None else compile_type(name, row[0].encode(), without_schema=True)
        _index_fields(connection, new, old)
        if old is not None and sorted(old.columns) != sorted(new.columns):
            connection.execute(
                "INSERT INTO unindexed (id) SELECT id FROM snippets WHERE type = %s ON CONFLICT (id) DO UPDATE"
                " SET at = excluded.at, claimed = '-infinity', attempts = 0",
                (name,),
            )
        found = connection.execute(
            "INSERT INTO types (name, revision, definition) VALUES (%s, 1, %s) ON CONFLICT (name) DO UPDATE"
            " SET revision = types.revision + 1, definition = excluded.definition RETURNING revision",
            (name, definition.decode()),
        ).fetchone()
        assert found is not None
        _log(connection, "type.defined", None, name, found[0], now)
    return int(found[0])


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
                is_unique = missing[field] and key != _NULL
                if is_unique and (other := seen.setdefault((field, key), name or snippet_id)) != (name or snippet_id):
                    raise Conflict(
                        f"{field} cannot be unique: {shown} is the value of {other} and {name or snippet_id}",
                        hint="change or delete one of them first",
                    )
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
        _Graph(connection).check(parent, child)
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


class _Graph:
    """The bonds, asked one snippet at a time."""

    def __init__(self, connection: Session) -> None:
        self._connection = connection
        self._types = {
            name: compile_type(name, text.encode(), without_schema=True)
            for name, text in connection.execute("SELECT name, definition FROM types")
        }

    def check(self, parent: str, child: str) -> None:
        """Raises Conflict, Invalid or NotFound."""
        found = {
            row[0]: (row[1], row[2])
            for row in self._connection.execute(
                "SELECT id::text, type, name FROM snippets WHERE id = ANY (%s::uuid[]) FOR KEY SHARE",
                ([parent, child],),
            )
        }
        for wanted in (parent, child):
            if wanted not in found:
                raise NotFound(f"no snippet {wanted!r}", hint="`reed snippet list` shows what there is")
        bonded = "SELECT 1 FROM bonds WHERE parent = %s::uuid AND child = %s::uuid"
        if self._connection.execute(bonded, (parent, child)).fetchone():
            raise Conflict(
                f"{self._label(parent)} and {self._label(child)} are already bonded",
                hint="unbond them first to change weight or path",
            )
        self._types[found[parent][0]].check_child(found[child][0])
        self._check_cycle(parent, child)
        self._check_depth(parent, child)

    def _label(self, snippet_id: str) -> str:
        row = self._connection.execute("SELECT name FROM snippets WHERE id = %s::uuid", (snippet_id,)).fetchone()
        return (row[0] if row else "") or snippet_id

    def _children(self, snippet_id: str) -> list[str]:
        rows = self._connection.execute("SELECT child::text FROM bonds WHERE parent = %s::uuid", (snippet_id,))
        return [row[0] for row in rows]

    def _parents(self, snippet_id: str) -> list[str]:
        rows = self._connection.execute("SELECT parent::text FROM bonds WHERE child = %s::uuid", (snippet_id,))
        return [row[0] for row in rows]

    def _check_cycle(self, parent: str, child: str) -> None:
        came_from: dict[str, str] = {child: child}
        queue = deque((child,))
        while queue:
            at = queue.popleft()
            for below in self._children(at):
                if below in came_from:
                    continue
                came_from[below] = at
                if below == parent:
                    steps = [below]
                    while came_from[steps[-1]] != steps[-1]:
                        steps.append(came_from[steps[-1]])
                    raise Conflict(f"this bond would close a cycle: {self._shown([*reversed(steps)], parent)}")
                queue.append(below)

    def _shown(self, steps: list[str], parent: str) -> str:
        """parent > child > … > parent"""
        steps = [parent, *steps]
        if len(steps) <= 2 * _CYCLE_ENDS:
            return " > ".join(map(self._label, steps))
        return " > ".join([*map(self._label, steps[:_CYCLE_ENDS]), "…", *map(self._label, steps[-_CYCLE_ENDS:])])

    def _check_depth(self, parent: str, child: str) -> None:
        limits = {type_.name: type_.max_depth for type_ in self._types.values() if type_.max_depth is not None}
        if not limits:
            return
        room: int | None = None  # levels that the child and its descendants may take
        ancestor = ""
        for distance, level in enumerate(self._levels(self._parents, parent, max(limits.values()) + 1)):
            for at in level:
                limit = limits.get(self._type_of(at))
                if limit is not None and (room is None or limit - distance < room):
                    room, ancestor = limit - distance, at
        if room is not None and sum(1 for _ in self._levels(self._children, child, max(room, 0) + 1)) > room:
            type_name = self._type_of(ancestor)
            raise Invalid(
                f"{self._label(ancestor)} would get more than {limits[type_name]} levels below it",
                hint=f"max_depth of its type {type_name!r}",
            )

    def _levels(self, step: Any, start: str, max_levels: int) -> Iterator[set[str]]:
        """{start}, the snippets one step away, two steps away, …"""
        level = {start}
        while level and max_levels > 0:
            yield level
            max_levels -= 1
            level = {other for at in level for other in step(at)}

    def _type_of(self, snippet_id: str) -> str:
        row = self._connection.execute("SELECT type FROM snippets WHERE id = %s::uuid", (snippet_id,)).fetchone()
        return row[0] if row else ""


_CYCLE_ENDS = 4  # snippets shown at each end of a long cycle
