"""Long reads, in a worker: one function for each kind of job (workers.md#jobs). Arguments and results are what marshal
can carry, so records and hits are tuples."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from reed.errors import NotFound
from reed.store.contents import MAX_CHECKED, check_stored
from reed.store.excerpt import Excerpts
from reed.store.field_values import key_of, satisfies, text_of_key
from reed.store.postgres.session import Session, row_of, session
from reed.store.postgres.statements import COLUMNS, FIRST_ID
from reed.store.postgres.vectors import LABELS, query, weights_of
from reed.store.query import Term
from reed.store.search_text import texts_by_column
from reed.store.snippets import PAGE_BYTES, UNREAD, collect_page, marshalled
from reed.store.tree_text import Node, TreeText
from reed.store.types import columns_of, compile_type

_LISTED = f"SELECT {COLUMNS.replace('content', f'CASE WHEN size <= {PAGE_BYTES} THEN content END')} FROM snippets"
_CONTENT = "SELECT content FROM snippets WHERE id = %s::uuid"
_FETCHED = 100

Rows = list[tuple[Any, ...]]


def read_page(conninfo: str, seconds: float, type_name: str, after: str, limit: int) -> tuple[Rows, str]:
    with session(conninfo, seconds) as connection, connection.transaction():
        where, params = "WHERE id > %s::uuid", [after]
        if type_name:
            where, params = f"{where} AND type = %s", [after, type_name]
        rows = _listed(connection, f"{_LISTED} {where} ORDER BY snippets.id", params, min(limit + 1, _FETCHED))
        return marshalled(collect_page(rows, limit))


def find_page(
    conninfo: str,
    seconds: float,
    type_name: str,
    indexed: list[str],
    conditions: dict[str, str],
    after: str,
    limit: int,
) -> tuple[Rows, str]:
    """`indexed`: fields of the type with an index."""
    where, params = "WHERE type = %s AND id > %s::uuid", [type_name, after]
    for field in indexed:
        if field in conditions:
            where += (
                " AND id IN (SELECT id FROM fields WHERE type = %s AND field = %s AND value = %s AND id > %s::uuid)"
            )
            params += [type_name, field, text_of_key(key_of(conditions[field])), after]
    with session(conninfo, seconds) as connection, connection.transaction():
        rows = _listed(connection, f"{_LISTED} {where} ORDER BY snippets.id", params, _FETCHED)
        return marshalled(collect_page(rows, limit, partial(satisfies, conditions)))


def _listed(connection: Session, sql: str, params: list[Any], fetched: int) -> Iterator[tuple[Any, ...]]:
    """Columns of a Record. A content larger than a page is read only if it is the first: else the page ends there."""
    with connection.cursor(name="listed") as cursor:
        cursor.itersize = fetched
        cursor.execute(sql, params)
        for number, (*row, content) in enumerate(cursor):
            if content is None and number:
                yield (*row, UNREAD)
            else:
                text = content if content is not None else row_of(connection, _CONTENT, (row[0],))[0]
                yield (*row, text.encode())


# Trees.

_BELOW = (
    "SELECT parent::text, child::text, type, name, weight, path,"
    # EXISTS alone is a join with all bonds.
    " (SELECT true FROM bonds AS below WHERE below.parent = bonds.child LIMIT 1) IS NOT NULL"
    " FROM bonds JOIN snippets ON snippets.id = child WHERE parent = ANY (%s::uuid[])"
    " ORDER BY parent, weight, path, bonds.child"
)
_ROOTS = (
    "SELECT id::text, id::text, type, name, 0, '', true FROM (SELECT DISTINCT parent FROM bonds WHERE parent > %s::uuid"
    " AND NOT EXISTS (SELECT FROM bonds AS above WHERE above.child = bonds.parent) ORDER BY parent LIMIT 100) AS roots"
    " JOIN snippets ON id = parent ORDER BY snippets.id"
)
_ROOT = "SELECT id::text, id::text, type, name, 0, '', true FROM snippets WHERE id = %s::uuid"
_SIBLINGS = 200  # whose children are read together


def read_tree(conninfo: str, seconds: float, root: str, depth: int) -> bytes:
    """All trees if `root` is ""."""
    with session(conninfo, seconds) as connection, connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        text = TreeText(_Children(connection).of, depth, is_whole=not root)
        if root:
            row = connection.execute(_ROOT, (root,)).fetchone()
            if row is None:
                raise NotFound("the snippet at the root of this tree was deleted meanwhile")
            text.add(Node._make(row))
        else:
            text.add_all(_roots(connection))
        return text.text()


def _roots(connection: Session) -> Iterator[Node]:
    after = FIRST_ID
    while rows := connection.execute(_ROOTS, (after,)).fetchall():
        yield from map(Node._make, rows)
        after = rows[-1][0]


class _Children:
    """Reads the children of a node together with those of its next siblings: a query for each node is too many."""

    def __init__(self, connection: Session) -> None:
        self._connection = connection
        self._read: dict[str, list[Node]] = {}
        self._siblings: dict[str, tuple[list[str], int]] = {}  # by node: all with children, and its place among them

    def of(self, parent: Node) -> Iterator[Node]:
        if parent.key not in self._read:
            siblings, at = self._siblings.get(parent.key, ([parent.key], 0))
            wanted = siblings[at : at + _SIBLINGS]
            self._read |= {key: [] for key in wanted}
            for above, *row in self._connection.execute(_BELOW, (wanted,)).fetchall():
                self._read[above].append(Node(row[0], *row))
        nodes = self._read.pop(parent.key)
        with_children = [node.key for node in nodes if node.has_children]
        for number, key in enumerate(with_children):
            self._siblings[key] = with_children, number
        for node in nodes:
            yield node
            self._siblings.pop(node.key, None)
            self._read.pop(node.key, None)


# Types.


def check_type(conninfo: str, seconds: float, type_name: str, definition: bytes, after: str, limit: int) -> bytes:
    type_ = compile_type(type_name, definition)
    with session(conninfo, seconds) as connection, connection.transaction():
        sql = "SELECT id::text, name, content FROM snippets WHERE type = %s AND id > %s::uuid"
        sql += " ORDER BY snippets.id LIMIT %s"
        with connection.cursor(name="checked") as cursor:
            cursor.itersize = _FETCHED
            cursor.execute(sql, (type_name, after, MAX_CHECKED + 1))
            return check_stored(((row[0], row[1], row[2].encode()) for row in cursor), type_, limit)


# Search.


def run_search(
    conninfo: str, seconds: float, terms: list[tuple[Any, ...]], type_name: str, limit: int, offset: int
) -> tuple[int, Rows]:
    parsed = [Term(*term) for term in terms]
    with session(conninfo, seconds, "timing.search_timeout", by_index=False) as connection:
        columns = {
            name: columns_of(text.encode()) for name, text in connection.execute("SELECT name, definition FROM types")
        }
        weights = {name: weights_of(found) for name, found in columns.items() if found}
        wanted = query(parsed)
        if not weights or not wanted:
            return 0, []
        sql, params = _search_sql(weights)
        params |= {"query": wanted, "any": query(parsed, " | "), "type": type_name, "limit": limit, "offset": offset}
        rows = connection.execute(sql, params).fetchall()
        total = int(rows[0][0])
        ids = [row[1] for row in rows if row[1] is not None]
        found = {
            row[0]: row
            for row in connection.execute(
                "SELECT id::text, type, name, content FROM snippets WHERE id = ANY (%s::uuid[])", (ids,)
            )
        }
    excerpts = Excerpts(parsed)
    hits: Rows = []
    for _, snippet_id, score in rows:
        if snippet_id in found:
            _, kind, name, content = found[snippet_id]
            texts = [text for text in texts_by_column(columns.get(kind, ()), content.encode()) if text]
            hits.append((snippet_id, kind, name, float(score), excerpts.of(texts)))
    return total, hits


def _search_sql(weights: dict[str, list[float]]) -> tuple[str, dict[str, Any]]:
    """The score is SQLite's: weight² × (1 + x / (1 + x)) for each label that matches, where x is the rank in it."""
    params: dict[str, Any] = {
        "types": list(weights),
        **{label: [found[number] ** 2 for found in weights.values()] for number, label in enumerate(LABELS)},
    }
    used = [label for number, label in enumerate(LABELS) if any(found[number] for found in weights.values())]
    scores, ranks = [], []
    for label in used:
        only = ",".join("1" if each == label else "0" for each in reversed(LABELS))
        ranks.append(f"ts_rank('{{{only}}}', vector, %(any)s::tsquery, 1) AS x{label}")
        scores.append(f"CASE WHEN x{label} > 0 THEN {label} * (2 - 1 / (1 + x{label})) ELSE 0 END")
    lists = ", ".join(f"%({label})s::float8[]" for label in used)
    sql = (
        f"WITH ranked AS (SELECT id, type, {', '.join(ranks)} FROM search WHERE vector @@ %(query)s::tsquery"
        " AND (%(type)s = '' OR type = %(type)s)),"
        f" scored AS (SELECT id, {' + '.join(scores)} AS score FROM ranked"
        f" JOIN unnest(%(types)s::text[], {lists}) AS weights (type, {', '.join(used)}) USING (type))"
        " SELECT total, id::text, score FROM (SELECT count(*) AS total FROM scored) AS counted"
        " LEFT JOIN LATERAL (SELECT * FROM scored ORDER BY score DESC, id LIMIT %(limit)s OFFSET %(offset)s) AS best"
        " ON true"
    )
    return sql, params
