"""A definition that begins to index fields of a type with snippets, while cores write to it."""

from __future__ import annotations

import re
import threading
from typing import Any

import pytest

from reed.client import Client
from reed.errors import CallError, Conflict
from tests.conftest import Site
from tests.postgres.cluster import Cluster, missing, wait_until
from tests.postgres.cores import Cores

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())
COUNT = 250  # snippets: more than the builder takes at a time


class Build:
    """A definition of the first core, whose builder has to wait at one snippet until `end`."""

    def __init__(self, cluster: Cluster, database: str, site: Site, type_name: str, definition: dict[str, Any]) -> None:
        self._cluster, self._database = cluster, database
        self._site, self._type_name, self._definition = site, type_name, definition
        self.outcome: Any = None
        self._thread = threading.Thread(target=self._run)
        self._obstacle: Any = None

    def begin(self, ids: list[str], field: str, values: list[str]) -> None:
        """It waits at the snippets with these ids, which have these values as JSON."""
        self._obstacle = self._cluster.connect(self._database)
        self._obstacle.execute("BEGIN")
        for snippet_id, value in zip(ids, values, strict=True):
            self._obstacle.execute(
                "INSERT INTO fields VALUES (%s, %s, %s, %s, false)", (self._type_name, field, value, snippet_id)
            )
        self._thread.start()
        waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%INSERT INTO fields%'"
        wait_until(lambda: self._cluster.sql(waits), "the builder waits")

    def end(self) -> Any:
        self._obstacle.execute("ROLLBACK")
        self._obstacle.close()
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self.outcome

    def _run(self) -> None:
        with Client(self._site.socket_path) as client:
            try:
                self.outcome = client.registry_define(self._type_name, self._definition)
            except CallError as error:
                self.outcome = error


def name_of(database: str) -> str:
    return re.search(r"dbname=(\w+)", database)[1]  # type: ignore[index]


@pytest.fixture
def build(cluster: Cluster, module_database: str, sites: list[Site]):
    return lambda *given: Build(cluster, name_of(module_database), sites[0], *given)


def fill(client: Client, type_name: str) -> list[str]:
    client.registry_define(type_name, b"{}")
    return [client.snippet_create(type_name, "", {"n": number}) for number in range(COUNT)]


def canonical(number: int) -> str:
    """A value in the table `fields`."""
    digits = str(number)
    return f"{digits.rstrip('0')}e{len(digits) - len(digits.rstrip('0'))}" if number else "0"


def found(client: Client, type_name: str, value: object) -> list[str]:
    return [record.id for record in client.snippet_find(type_name, {"n": value}).records]


def test_writes_go_on_while_an_index_is_built(two, build) -> None:
    here, there = two
    ids = fill(here, "goes-on")
    building = build("goes-on", {"indexed": ["n"]})
    at = COUNT - 10
    building.begin([ids[at]], "n", [canonical(at)])
    created = [core.snippet_create("goes-on", "", {"n": 1000}) for core in two]
    here.snippet_update(ids[0], {"n": 1001})
    there.snippet_update(ids[1], {"n": 1001})
    there.snippet_delete(ids[2])
    here.snippet_update(ids[3], {"n": None})
    assert building.outcome is None, "it waits still"
    assert building.end() is False  # the type was there
    for core in two:
        assert found(core, "goes-on", 1000) == created
        assert found(core, "goes-on", 1001) == ids[:2]
        assert found(core, "goes-on", 0) == found(core, "goes-on", 2) == found(core, "goes-on", 3) == []
        assert [found(core, "goes-on", number) for number in range(4, COUNT)] == [[each] for each in ids[4:]]


def test_a_unique_value_that_occurs_twice_meanwhile(cluster: Cluster, module_database: str, two, build) -> None:
    here, there = two
    ids = fill(here, "twice")
    building = build("twice", {"unique": ["n"]})
    building.begin([ids[-1]], "n", [canonical(COUNT - 1)])
    second = there.snippet_create("twice", "", {"n": 7})
    refused = building.end()
    assert isinstance(refused, Conflict)
    assert ids[7] in str(refused)
    assert second in str(refused)
    rows = cluster.sql("SELECT count(*) FROM fields WHERE type = 'twice'", database=name_of(module_database))
    assert rows == [(0,)]
    for core in two:
        core.snippet_create("twice", "", {"n": 8})  # it may occur twice, as before
    there.snippet_delete(second)


def test_a_unique_value_that_moves_meanwhile_is_no_conflict(two, build) -> None:
    here, there = two
    ids = fill(here, "moves")
    building = build("moves", {"unique": ["n"]})
    building.begin([ids[-1]], "n", [canonical(COUNT - 1)])
    there.snippet_update(ids[0], {"n": 5000})
    moved = there.snippet_create("moves", "", {"n": 0})
    assert building.end() is False
    for core in two:
        assert found(core, "moves", 0) == [moved]
        assert found(core, "moves", 5000) == [ids[0]]
        for taken in (0, 5000, 17):
            with pytest.raises(Conflict):
                core.snippet_create("moves", "", {"n": taken})


def test_a_field_that_becomes_unique_and_is_so_no_more(two) -> None:
    here, there = two
    ids = fill(here, "tighter")
    here.registry_define("tighter", {"indexed": ["n"]})
    here.snippet_update(ids[0], {"n": 9000})
    assert found(there, "tighter", 9000) == [ids[0]]
    here.registry_define("tighter", {"unique": ["n"]})
    for core in two:
        assert found(core, "tighter", 9000) == [ids[0]]
        with pytest.raises(Conflict):
            core.snippet_create("tighter", "", {"n": 17})
    there.registry_define("tighter", {"indexed": ["n"]})
    for core in two:
        core.snippet_create("tighter", "", {"n": 17})
    with pytest.raises(Conflict):
        here.registry_define("tighter", {"unique": ["n"]})
    assert len(found(there, "tighter", 17)) == 3


def test_what_a_killed_worker_has_left_behind_is_not_used(cluster: Cluster, module_database: str, two) -> None:
    here, there = two
    ids = fill(here, "left")
    left = ("INSERT INTO fields VALUES ('left', 'n', %s, %s, true)", (canonical(1), ids[0]))
    cluster.sql(*left, database=name_of(module_database))
    here.registry_define("left", {"unique": ["n"]})
    assert found(there, "left", 1) == [ids[1]]
    assert found(here, "left", 0) == [ids[0]]


def test_definitions_beside_writes_of_two_cores(two) -> None:
    """Whatever is acknowledged is found by the index, whichever definition was in force."""
    over = threading.Event()
    made: list[list[tuple[str, int]]] = [[], []]
    two[0].registry_define("busy", b"{}")

    def write(number: int, path: Any) -> None:
        with Client(path) as client:
            while not over.is_set():
                value = len(made[number]) * 2 + number
                made[number].append((client.snippet_create("busy", "", {"n": value}), value))
                if value % 3 == 0:
                    snippet_id, _ = made[number][-1]
                    client.snippet_update(snippet_id, {"n": -value - 1})
                    made[number][-1] = snippet_id, -value - 1

    threads = [threading.Thread(target=write, args=(number, core.path)) for number, core in enumerate(two)]
    for thread in threads:
        thread.start()
    try:
        for definition in ({"indexed": ["n"]}, {}, {"unique": ["n"]}, {"indexed": ["n"]}, {"unique": ["n"]}) * 2:
            before = [len(each) for each in made]
            two[0].registry_define("busy", definition)
            wait_until(
                lambda before=before: all(len(each) > count for each, count in zip(made, before, strict=True)),
                "both cores go on",
            )
    finally:
        over.set()
        for thread in threads:
            thread.join(60)
    for snippet_id, value in made[0] + made[1]:
        assert found(two[1], "busy", value) == [snippet_id]


def test_a_copy_leaves_out_what_a_killed_worker_has_left_behind(cluster: Cluster, database: str, cores: Cores) -> None:
    core = cores.add(database)
    client = cores.client(core)
    client.registry_define("left", {"indexed": ["m"]})
    snippet_id = client.snippet_create("left", "", {"n": 1, "m": 2})
    core.stop()
    left = ("INSERT INTO fields VALUES ('left', 'n', %s, %s, true)", (canonical(1), snippet_id))
    cluster.sql(*left, database=name_of(database))
    copy = f"sqlite:{core.root / 'copy'}"
    for command in ("copy", "check"):
        done = core.reed("store", command, f"postgres:{database}", copy)
        assert done.returncode == 0, done.stdout + done.stderr
    core.start()
