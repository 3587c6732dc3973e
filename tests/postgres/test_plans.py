"""Statements that run often find rows by an index, with the plan for given parameters and with the general one, whether
or not the server has statistics: a table that was just filled has none until autovacuum comes."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from tests.postgres.cluster import Cluster, missing

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

SNIPPETS = 20_000
LARGE = {"snippets", "fields", "bonds", "search", "unindexed", "changes", "batches"}
CORE, OTHER = "00000000-0000-0000-0000-00000000c000", "00000000-0000-0000-0000-00000000c001"
ID = "lpad(to_hex({}), 32, '0')::uuid"
FILL = (
    "INSERT INTO types VALUES ('page', 1, '{}')",
    "INSERT INTO snippets (id, type, name, version, created_at, updated_at, content) SELECT "
    + ID.format("n")
    + ", CASE WHEN n % 2 = 0 THEN 'page' ELSE 'note' END, CASE WHEN n % 4 = 0 THEN 'n/' || n ELSE '' END,"
    f" 1, 1, 1, '{{}}' FROM generate_series(1, {SNIPPETS}) AS n",
    "INSERT INTO fields SELECT type, 'title', id::text, id, false FROM snippets",
    "INSERT INTO bonds SELECT " + ID.format("n / 10 + 1") + ", n, '', " + ID.format("n + 1000") + ","
    " gen_random_uuid() FROM generate_series(1, 5000) AS n",
    "INSERT INTO search SELECT id, type, 1, to_tsvector('simple', id::text) FROM snippets",
    f"INSERT INTO batches (seq, core, n) SELECT n, '{CORE}', n FROM generate_series(1, {SNIPPETS}) AS n",
    f"INSERT INTO changes SELECT '{CORE}', n, 0, CASE WHEN n % 1000 = 0 THEN 'snippet.deleted' ELSE 'snippet.created'"
    f" END, {ID.format('n')}, 'page', '', 1, 1, '' FROM generate_series(1, {SNIPPETS}) AS n",
    f"UPDATE head SET last = {SNIPPETS} WHERE what = 'batches'",
    "INSERT INTO subscribers (name, told, kinds, leader) VALUES ('late', 0, '{snippet.deleted}', '" + CORE + "')",
    "INSERT INTO unindexed (id) SELECT id FROM snippets",
)
TABLES = ("types", "snippets", "fields", "bonds", "search", "unindexed", "changes", "batches", "head", "subscribers")
STATISTICS = ("none", "of empty tables", "of all rows")


def snippet(number: int) -> str:
    return f"00000000-0000-0000-0000-{number:012x}"


MARK = (CORE, "90000", "0")
PARAMETERS: dict[str, tuple[str, ...]] = {
    "by_id": (snippet(9),),
    "by_name": ("n/400",),
    "by_prefix": (snippet(0), snippet(20), "10"),
    "names": ("n/4", "n/5", "100"),
    "near_names": ("n/x",),
    "page": (snippet(900), "100"),
    "page_of_type": (snippet(900), "100", "page"),
    "holder_of_value": ("page", snippet(1), "{title}", "{x}"),
    "bonds_of": (snippet(9),),
    "bond_of": (snippet(9), snippet(10)),
    "log_after": ("9000", "0"),
    "next_event": ("1", "0", "{snippet.deleted}", "late"),
    "news": ("9000", OTHER),
    "waiting": ("{late}", "{0}", "{0}", "{90000}"),
    "skip": ("10", "late", CORE, "0", "0", "0"),
    "create": (*MARK, snippet(90000), "page", "1", "new", "1", "{}", ""),
    "create_unique": (*MARK, snippet(90000), "page", "1", "new", "1", "{}", "", "{title}", "{x}"),
    "replace": (*MARK, snippet(9), "page", "1", "new", "2", "1", "1", "{}", "1", "", "{title}", "{x}", "1"),
    "rename": (*MARK, snippet(9), "new", "1", "1", ""),
    "delete": (*MARK, snippet(9), "1", "1", ""),
    "keep_deleted": (*MARK, snippet(9), "1", ""),
    "put_fields": (CORE, "9000", "0", "{title}", "{x}", "{f}"),
    "drop_fields": (CORE, "9000", "0"),
    "bond": (*MARK, snippet(9), snippet(9), snippet(10), "1", "", "page", "page", "1", "1", "{}", "{}", "", ""),
    "unbond": (*MARK, snippet(1), snippet(1005), "1", "page", "", ""),
    "outcome": (CORE, "9000"),
    "mark": (snippet(9),),
}


@pytest.fixture(scope="module", params=STATISTICS)
def connection(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Any]:
    from reed.store.postgres.session import OTHER_PLANS
    from reed.store.postgres.tables import migrate

    name = cluster.create_database()
    with contextlib.closing(cluster.connect(name)) as connection:
        migrate(connection, name)
        for table in TABLES:
            connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
        if request.param == "of empty tables":
            connection.execute("VACUUM ANALYZE")
        for statement in FILL:
            connection.execute(statement)
        if request.param == "of all rows":
            connection.execute("VACUUM ANALYZE")
        connection.execute("SET jit = off")
        with other_plans(connection, OTHER_PLANS):
            yield connection
    cluster.drop_database(name)


@contextlib.contextmanager
def other_plans(connection: Any, names: Iterable[str]) -> Iterator[None]:
    """The planner may not use these, but all others."""
    from reed.store.postgres.session import OTHER_PLANS

    def switch(off: Iterable[str]) -> None:
        for name in OTHER_PLANS:
            connection.execute(f"SET {name} = {'off' if name in off else 'on'}")

    switch(names)
    yield
    switch(OTHER_PLANS)


def scanned(plan: dict[str, Any]) -> set[str]:
    """The large tables of which all rows are read, or all those that a condition on a part of an index leaves."""
    found = {plan["Relation Name"]} if plan["Node Type"] in {"Seq Scan", "Bitmap Heap Scan"} else set()
    for below in plan.get("Plans", ()):
        found |= scanned(below)
    return found & LARGE


def plan_of(connection: Any, statement: str, values: Any = None) -> dict[str, Any]:
    row = connection.execute(f"EXPLAIN (FORMAT JSON) {statement}", values).fetchone()[0]
    return (json.loads(row) if isinstance(row, str) else row)[0]["Plan"]


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("name", PARAMETERS)
def test_statements_of_the_loop(connection: Any, name: str, mode: str) -> None:
    from reed.store.postgres.log_statements import FOLLOWER
    from reed.store.postgres.statements import READS, WRITES

    connection.execute(f"SET plan_cache_mode = {mode}")
    connection.execute(f"PREPARE looked_at AS {({**READS, **WRITES, **FOLLOWER})[name]}")
    try:
        values = ", ".join(f"'{value}'" for value in PARAMETERS[name])
        plan = plan_of(connection, f"EXECUTE looked_at ({values})")
    finally:
        connection.execute("DEALLOCATE looked_at")
    assert not scanned(plan), json.dumps(plan, indent=1)


def test_statements_of_workers(connection: Any) -> None:
    from reed.store.postgres import field_rows, indexing, reading, trimming

    of_type = f"{reading._LISTED} WHERE id > %s::uuid AND type = %s ORDER BY snippets.id"
    ids = [snippet(number) for number in range(200)]
    statements: list[tuple[str, Any]] = [
        (of_type, (snippet(900), "page")),
        (reading._BELOW, (ids[:5],)),
        (reading._BELOW, (ids,)),
        (reading._ROOT, (snippet(9),)),
        (indexing._CLAIM, (200,)),
        (indexing._LEFT, ("-infinity",)),
        (indexing._MARK_ALL, {"after": snippet(900), "limit": 200}),
        (indexing._MARK_TYPE, {"after": snippet(900), "limit": 200, "type": "page"}),
        (indexing._CONTENTS, (ids,)),
        (indexing._PUT, (ids, ["now"] * len(ids), ["'x'"] * len(ids))),
        (indexing._DROP, (ids, ["now"] * len(ids))),
        (indexing._RELEASE, (ids,)),
        (field_rows._CHANGED, (SNIPPETS - 10, SNIPPETS)),
        (trimming._KEPT, (100,)),
    ]
    for statement, given in statements:
        plan = plan_of(connection, statement, given)
        assert not scanned(plan), json.dumps(plan, indent=1)


def test_search(connection: Any) -> None:
    from reed.store.postgres import reading

    search, values = reading._search_sql({"page": [5, 1, 0, 0]})
    values |= {"query": "'x'", "any": "'x'", "type": "page", "limit": 20, "offset": 0}
    with other_plans(connection, ()):
        plan = plan_of(connection, search, values)
    assert "search_by_vector" in json.dumps(plan)


def test_trimming(connection: Any) -> None:
    from reed.store.postgres import trimming

    with other_plans(connection, trimming._OTHER_PLANS):
        plan = plan_of(connection, trimming._ADVANCE, {"last": SNIPPETS})
    assert not scanned(plan), json.dumps(plan, indent=1)
