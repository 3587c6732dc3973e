"""`reed store`: what a copy keeps, in both directions, and what it refuses; stores are used as a core does."""

from __future__ import annotations

import contextlib
import importlib
import json
import random
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from reed.errors import CallError
from reed.store import copying
from reed.store.base import Event
from reed.store.schedules import ScheduleState
from reed.store.sqlite.side import SqliteSide
from reed.store.sqlite.store import SqliteStore
from reed.store.workers import THE_STORE, Origin
from reed.testing import core
from reed.wire.snippets import Record
from tests.cli.conftest import Ran
from tests.inline_store import inline_store
from tests.postgres.cluster import Cluster
from tests.postgres.conftest import cluster, database  # noqa: F401

KINDS = ("snippet.created", "snippet.updated", "snippet.deleted")
RunReed = Callable[..., Ran]


class Content:
    """A data folder, opened as a core does, one operation after the other."""

    def __init__(self, folder: Path, **options: Any) -> None:
        folder.mkdir(exist_ok=True)
        self.store = inline_store(folder / "content.db", **options)

    def __enter__(self) -> Content:
        return self

    def __exit__(self, *_: object) -> None:
        self.store.close()

    def call(self, operation: str, *args: Any, **options: Any) -> Any:
        (value,) = self.call_all(operation, [args], **options)
        return value

    def call_all(self, operation: str, calls: Sequence[tuple[Any, ...]], **options: Any) -> list[Any]:
        """In one transaction."""
        values: list[Any] = []
        errors: list[CallError] = []
        for args in calls:
            given = [json.dumps(each).encode() if isinstance(each, dict) else each for each in args]
            getattr(self.store, operation)(*given, values.append, errors.append, **options)
        self.store.commit()
        while len(values) + len(errors) < len(calls):
            self.store.work(time.monotonic() + 1)
            self.store.commit()
        if errors:
            raise errors[0]
        return values

    def records(self) -> list[Record]:
        found: list[Record] = []
        cursor = ""
        while True:
            page = self.call("page", "", cursor, 100)
            found += [record._replace(content=bytes(record.content)) for record in page.records]
            cursor = page.cursor
            if not cursor:
                return found

    def events(self, subscriber: str) -> list[Event]:
        """They are acknowledged in memory only, so the file keeps them if the store is not used further."""
        found = []
        while (event := self.call("next_event", subscriber)) is not None:
            found.append(event)
            self.store.ack(subscriber, event.id)
        return found

    def schedules(self) -> list[ScheduleState]:
        found: list[ScheduleState] = []
        self.store.schedules.load(found.extend, pytest.fail)
        return found

    def everything(self, *subscribers: str) -> dict[str, Any]:
        return {
            "records": self.records(),
            "types": [(name, bytes(text)) for name, text in self.call("definitions")],
            "tree": json.loads(self.call("tree", "", 0)),
            "events": {name: [event[1:] for event in self.events(name)] for name in subscribers},
            "schedules": self.schedules(),
        }


def plan_and_run(store: SqliteStore) -> None:
    """A schedule that was run once."""
    states: list[Any] = []
    store.schedules.plan("backup", "nightly", "cron 0 3 * * *", 500, 0, states.append, pytest.fail)
    store.schedules.begin("backup", "nightly", 500, states.append, pytest.fail)
    after = states.pop()._replace(due=900, last_due=500, began=501, ended=502, error="no disk", runs=7, failures=1)
    store.schedules.end(after, states.append, pytest.fail)
    store.commit()


def fill(folder: Path, pages: list[bytes]) -> None:
    """Real pages, bonds, types with indexes and three plugins with waiting events."""
    numbers = random.Random(7)
    with Content(folder, max_events=200) as content:
        content.call(
            "define", "page", {"searchable": {"title": 3, "body": 1}, "indexed": ["keywords"], "unique": ["path"]}
        )
        content.call("define", "note", {"unique": ["slug", "body"], "description": "with every \u0000 digit: 1.50"})
        ids = content.call_all("create", [("page", f"page-{n}", text) for n, text in enumerate(pages)])
        plan_and_run(content.store)
        content.store.subscribe({KINDS[0]: ["seo", "backup"], KINDS[1]: ["seo", "stats"], KINDS[2]: ["stats", "seo"]})
        for number in range(300):
            by = numbers.choice(["", "seo", "stats", "backup"])
            origin = Origin(by, plugin=by) if by else THE_STORE
            kind = numbers.randrange(3)
            if kind == 0:
                text = b'{"slug": null, "n": %d.50, "name": "\xf0\x9f\x8c\xb1 \\u0000"}' % number
                ids.append(content.call("create", "note", "", text, origin=origin))
            elif kind == 1:
                content.call("update", numbers.choice(ids), 0, {"seen": number}, origin=origin)
            else:
                content.call("delete", ids.pop(numbers.randrange(len(ids))), True, origin=origin)
        content.call("create", "note", "long", {"slug": "long", "body": "words " * 1000})
        for _ in range(60):
            with contextlib.suppress(CallError):
                parent, child = numbers.sample(ids[:40], 2)
                content.call("bond", parent, child, numbers.randrange(-5, 5), f"path/{numbers.random()}")
        for name in ("seo", "stats"):
            for _ in range(20):
                event = content.call("next_event", name)
                content.store.ack(name, event.id)
        content.store.commit()
        while content.store.has_work:
            content.store.work(time.monotonic() + 1)
            content.store.commit()


SUBSCRIBERS = ("seo", "stats", "backup")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, pages: Path) -> Path:
    """A data folder that tests only read."""
    folder = tmp_path_factory.mktemp("filled")
    fill(folder, pages.read_bytes().splitlines())
    return folder


@pytest.fixture
def postgres(database: str) -> str:  # noqa: F811
    return f"postgres:{database}"


@pytest.fixture
def sql(cluster: Cluster, database: str) -> Callable[..., list[Any]]:  # noqa: F811
    name = re.search(r"dbname=(\S+)", database)
    assert name
    return lambda statement, values=None: cluster.sql(statement, values, database=name[1])


def equal(ran: Ran) -> bool:
    return (ran.code, ran.out, ran.err) == (0, "", "")


def test_a_store_goes_to_postgresql_and_back_unchanged(reed: RunReed, filled: Path, postgres: str) -> None:
    ran = reed("store", "copy", f"sqlite:{filled}", postgres, "--json")
    assert ran.code == 0, ran.err
    written = json.loads(ran.out)["written"]
    assert written["types"] == 2
    assert written["snippets"] > 900
    assert written["bonds"] > 20
    assert written["events"] > 200
    assert equal(reed("store", "check", f"sqlite:{filled}", postgres))
    assert reed("store", "copy", postgres, "sqlite:back").code == 0
    assert equal(reed("store", "check", f"sqlite:{filled}", "sqlite:back"))
    assert equal(reed("store", "check", postgres, "sqlite:back"))
    with Content(filled) as before, Content(Path("back")) as after:
        highest = max(event.id for name in SUBSCRIBERS for event in before.events(name))
        assert min(event.id for name in SUBSCRIBERS for event in after.events(name)) > highest
    with Content(filled) as before, Content(Path("back")) as after:
        assert before.everything(*SUBSCRIBERS) == after.everything(*SUBSCRIBERS)


def test_a_copy_in_sqlite_is_searched_found_and_guarded_as_before(reed: RunReed, filled: Path, postgres: str) -> None:
    reed("store", "copy", f"sqlite:{filled}", postgres)
    reed("store", "copy", postgres, "sqlite:back")
    with Content(filled) as before, Content(Path("back")) as after:
        for query in ("template", "shortcode", "hugo"):
            found = [content.call("search", query, "", 100, 0) for content in (before, after)]
            assert found[0].total == found[1].total > 5
        known = json.loads(next(record.content for record in after.records() if record.snippet_type == "page"))["path"]
        (page,) = after.call("find", "page", {"path": known}, "", 10).records
        assert json.loads(bytes(page.content))["path"] == known
        with pytest.raises(CallError, match="path is unique"):
            after.call("create", "page", "", {"path": known, "title": "again"})
        with pytest.raises(CallError, match="body is unique"):
            after.call("create", "note", "", {"body": "words " * 1000})
        after.call("create", "note", "", {"slug": None})


def test_postgresql_holds_what_its_store_expects(reed: RunReed, filled: Path, postgres: str, sql: Any) -> None:
    reed("store", "copy", f"sqlite:{filled}", postgres)
    with Content(filled) as content:
        records = content.records()
        events = {name: content.events(name) for name in SUBSCRIBERS}
    rows = sql("SELECT id::text, type, name, version, created_at, updated_at, content FROM snippets ORDER BY id")
    assert [(*row[:-1], row[-1].encode()) for row in rows] == [tuple(record) for record in records]
    assert sql("SELECT count(*) FROM unindexed") == [(len(records),)]
    assert sql("SELECT count(*) FROM fields WHERE field = 'slug' AND value = 'null' AND is_unique") == [(0,)]
    ((digest,),) = sql("SELECT value FROM fields WHERE field = 'body' AND type = 'note'")
    assert re.fullmatch("#[0-9a-f]{64}", digest)
    last = max(event.id for found in events.values() for event in found)
    assert sql(
        "SELECT min(seq) > %s, max(seq) < (SELECT last FROM head WHERE what = 'batches') FROM batches", [last]
    ) == [(True, True)]
    for name, waiting in events.items():
        assert sql("SELECT lost FROM subscribers WHERE name = %s", [name]) == [(sum(event.lost for event in waiting),)]


def test_a_core_on_a_copy_finds_everything_at_once(
    reed: RunReed, filled: Path, postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search waits for the index, which is not copied."""
    assert reed("store", "copy", f"sqlite:{filled}", postgres).code == 0
    with Content(filled) as content:
        found = content.call("search", "hugo", "", 1000, 0)
        first = content.records()[0]
    assert reed("init", str(tmp_path)).code == 0
    monkeypatch.setenv("REED_RUNTIME_DIR", str(tmp_path / "run"))
    with (tmp_path / "reed.yaml").open("a") as settings:
        settings.write(f"\nstore: {postgres}\n")
    with core(tmp_path):
        while "error" in (hits := json.loads(reed("search", "hugo", "--json").out)):
            assert hits["error"]["status"] in (503, 504), hits  # a search gives up before a slow machine has indexed
        assert hits["total"] == found.total
        assert reed("snippet", "get", first.id).out.encode().rstrip() == first.content.rstrip()
        assert "is used by running cores: " in reed("store", "check", f"sqlite:{filled}", postgres).err
    assert equal(reed("store", "check", f"sqlite:{filled}", postgres))


class Stopped(Exception):
    """The copy is interrupted here."""


@pytest.mark.parametrize("to", ["postgres", "sqlite"])
@pytest.mark.parametrize("transactions", [1, 2, 7, 12])
def test_an_interrupted_copy_continues(
    reed: RunReed,
    filled: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    to: str,
    transactions: int,
) -> None:
    if to == "postgres":
        target = request.getfixturevalue("postgres")  # skips the test if there is no server
        side = importlib.import_module("reed.store.postgres.side").PostgresSide
    else:
        target, side = "sqlite:other", SqliteSide
    begin, left = side._transaction, [transactions]

    @contextlib.contextmanager
    def stop_later(self: Any) -> Iterator[Any]:
        with begin(self) as opened:
            yield opened
            left[0] -= 1
            if left[0] < 0:
                raise Stopped

    monkeypatch.setattr(copying, "PAGE_ROWS", 100)
    with monkeypatch.context() as patched:
        patched.setattr(side, "_transaction", stop_later)
        with contextlib.suppress(Stopped):
            reed("store", "copy", f"sqlite:{filled}", target)
    assert left[0] < 0, "it was interrupted"
    assert reed("store", "check", f"sqlite:{filled}", target).code == 1
    again = json.loads(reed("store", "copy", f"sqlite:{filled}", target, "--json").out)
    assert again["unchanged"]["types"] == 2
    assert (again["unchanged"]["snippets"] > 0) == (transactions > 1)
    assert equal(reed("store", "check", f"sqlite:{filled}", target))


# What differs.


@pytest.fixture
def first(reed: RunReed) -> str:  # it enters an empty folder
    """A small store."""
    with Content(Path("first")) as content:
        content.call("define", "page", {"unique": ["slug"]})
        content.call("define", "note", {})
        ids = [content.call("create", "page", name, {"slug": name}) for name in "abcde"]
        content.call("bond", ids[0], ids[1], 1, "x")
        content.call("bond", ids[1], ids[2], 2, "y")
    return "sqlite:first"


@pytest.fixture(params=["postgres", "sqlite"])
def target(request: pytest.FixtureRequest) -> str:
    """An empty store of either kind."""
    return str(request.getfixturevalue("postgres")) if request.param == "postgres" else "sqlite:second"


def test_a_target_with_other_content_is_refused_and_left_as_it_is(reed: RunReed, first: str, target: str) -> None:
    assert reed("store", "copy", first, target).code == 0
    with Content(Path("first")) as content:
        content.call("update", "a", 0, {"n": 1})
        content.call("create", "note", "f", {})
        first_id = content.call("get", "a").id
    ran = reed("store", "copy", first, target)
    assert ran.code == 1
    assert f"has content that {first.replace('first', str(Path('first').absolute()))} does not have" in ran.err
    assert f"snippet {first_id}" in ran.err
    assert "--overwrite" in ran.err
    ran = reed("store", "check", first, target)
    assert (ran.code, len(ran.out.splitlines())) == (1, 2)
    assert f"snippet {first_id}: version 2 in FROM, 1 in TO" in ran.out


def test_overwrite_makes_the_target_equal(reed: RunReed, first: str, target: str) -> None:
    with Content(Path("first")) as content:
        content.store.subscribe({kind: ["seo"] for kind in KINDS})
        content.call("create", "note", "for-seo", {})
    assert reed("store", "copy", first, target).code == 0
    with Content(Path("first")) as content:
        content.store.subscribe({kind: ["stats"] for kind in KINDS})
        for old, new in (("a", "b"), ("c", "d")):  # names and unique values change hands
            content.call("rename", old, "x")
            content.call("rename", new, old)
            content.call("rename", "x", new)
            values = [json.loads(bytes(content.call("get", name).content))["slug"] for name in (old, new)]
            content.call("update", new, 0, {"slug": None})
            content.call("update", old, 0, {"slug": values[1]})
            content.call("update", new, 0, {"slug": values[0]})
        content.call("unbond", "b", "a")
        content.call("bond", "c", "b", 5, "moved")
        content.call("delete", "d", True)
        content.call("define", "page", {"unique": ["slug"], "indexed": ["n"]})
        content.call("update", "e", 0, {"n": 1})
        content.call("define", "extra", {})
        ids = {record.semantic_name: record.id for record in content.records()}
    differences = reed("store", "check", first, target).out
    for what in ("type page: the definitions differ", "type extra: only in FROM", f"snippet {ids['a']}: version"):
        assert what in differences
    assert f"bond {ids['c']} > {ids['b']}: only in FROM" in differences
    assert "events of seo" not in differences
    assert "events of stats: waiting, " in differences
    ran = reed("store", "copy", first, target, "--overwrite", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["deleted"] == {"types": 0, "snippets": 1, "bonds": 2}
    assert equal(reed("store", "check", first, target))
    assert reed("store", "copy", target, "sqlite:third").code == 0
    with Content(Path("first")) as before, Content(Path("third")) as after:
        assert before.everything("seo", "stats") == after.everything("seo", "stats")


def test_the_other_way_round_everything_in_the_target_would_be_deleted_so_it_is_refused(
    reed: RunReed, first: str, target: str
) -> None:
    assert reed("store", "copy", first, target).code == 0
    with Content(Path("empty")):
        pass
    ran = reed("store", "copy", "sqlite:empty", target)
    assert ran.code == 1
    assert "type note, type page, snippet " in ran.err
    assert equal(reed("store", "check", first, target))


def test_a_copy_without_events_counts_as_a_batch_that_searches_wait_for(
    reed: RunReed, first: str, postgres: str, sql: Any
) -> None:
    assert reed("store", "copy", first, postgres).code == 0
    assert sql("SELECT last > 0 FROM head WHERE what = 'batches'") == [(True,)]


def test_a_plugin_does_not_hear_of_its_own_changes_after_a_copy(reed: RunReed, postgres: str, sql: Any) -> None:
    with Content(Path("first")) as content:
        content.store.subscribe({KINDS[0]: ["seo", "stats"]})
        content.call("define", "note", {})
        for name, by in (("a", ""), ("b", "seo"), ("c", ""), ("d", "stats"), ("e", "")):
            content.call("create", "note", name, {}, origin=Origin(by, plugin=by) if by else THE_STORE)
    assert reed("store", "copy", "sqlite:first", postgres).code == 0
    made_by = [("a", ""), ("b", "seo"), ("c", ""), ("d", "stats"), ("e", "")]
    assert sql("SELECT name, made_by FROM changes ORDER BY n, k") == made_by


# What is refused.


def test_a_folder_without_a_store_and_a_store_to_itself_are_refused(reed: RunReed) -> None:
    assert "there is no content.db" in reed("store", "copy", "sqlite:nowhere", "sqlite:other").err
    assert not Path("nowhere").exists()
    assert not Path("other").exists()
    assert reed("store", "copy", "sqlite:here", "sqlite:./here").code == 2
    assert "expected sqlite:FOLDER" in reed("store", "status", "sqlite:").err


def test_a_core_that_runs_on_sqlite_is_in_the_way(on_site: RunReed, site_folder: Path, tmp_path: Path) -> None:
    data = f"sqlite:{site_folder / 'data'}"
    with Content(tmp_path / "other"):
        pass
    for words in (("copy", data, "sqlite:to"), ("copy", "sqlite:other", data), ("check", data, "sqlite:other")):
        ran = on_site("store", *words)
        assert ran.code == 1
        assert "another core holds the store" in ran.err
        assert "reed stop" in ran.err
    assert on_site("store", "status", data).code == 0


def test_a_core_that_was_seen_lately_on_postgresql_is_in_the_way(
    reed: RunReed, first: str, postgres: str, sql: Any
) -> None:
    assert reed("store", "migrate", postgres).code == 0
    row = "(gen_random_uuid(), 'web1:/run/reed', '0.2.0', now(), now(), '{}')"
    sql(f"INSERT INTO cores VALUES {row}")
    for words in (("copy", first, postgres), ("copy", postgres, first), ("check", first, postgres)):
        ran = reed("store", *words)
        assert ran.code == 1
        assert "is used by running cores: web1:/run/reed" in ran.err
    sql("UPDATE cores SET seen = now() - interval '11 s'")
    assert reed("store", "copy", first, postgres).code == 0


def test_a_core_that_starts_during_a_copy_ends_it(
    reed: RunReed, first: str, postgres: str, sql: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reed.store.postgres.side import PostgresSide

    put = PostgresSide.put_snippets

    def start_core(self: Any, *args: Any) -> None:
        sql("INSERT INTO cores VALUES (gen_random_uuid(), 'web1', '0.2.0', now(), now(), '{}')")
        put(self, *args)

    monkeypatch.setattr(PostgresSide, "put_snippets", start_core)
    assert "is used by running cores: web1" in reed("store", "copy", first, postgres).err
    assert sql("SELECT count(*) FROM snippets") == [(0,)]


def test_two_copies_at_once_are_one_too_many(reed: RunReed, first: str, postgres: str, database: str) -> None:  # noqa: F811
    from reed.store.postgres.side import PostgresSide
    from reed.store.setting import StoreSetting

    side = PostgresSide(StoreSetting("postgres", database), create=True)
    assert "another `reed store` copies it" in reed("store", "copy", first, postgres).err
    side.close()
    assert reed("store", "copy", first, postgres).code == 0


def test_what_only_postgresql_can_keep_is_named(reed: RunReed, first: str, postgres: str, sql: Any) -> None:
    """Of two ids with the same first 60 bits SQLite keeps one."""
    assert reed("store", "copy", first, postgres).code == 0
    ((twin,),) = sql("SELECT id::text FROM snippets WHERE name = 'a'")
    twin = twin[:-1] + ("1" if twin[-1] == "0" else "0")
    sql("INSERT INTO snippets VALUES (%s, 'note', '', 1, 0, 0, '{}')", [twin])
    ran = reed("store", "copy", postgres, "sqlite:back")
    assert ran.code == 1
    assert "cannot keep the snippet" in ran.err


def test_a_bond_with_a_long_path_is_copied(reed: RunReed, first: str, postgres: str) -> None:
    path = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz/", k=60_000))
    with Content(Path("first")) as content:
        content.call("bond", "a", "e", 0, path)
    assert reed("store", "copy", first, postgres).code == 0
    assert reed("store", "check", first, postgres).code == 0


# The other commands.


def tables_version() -> int:
    return int(importlib.import_module("reed.store.postgres.tables").VERSION)


def test_migrate_makes_tables_and_lets_a_role_use_them(reed: RunReed, postgres: str, cluster: Cluster) -> None:  # noqa: F811
    ran = reed("store", "migrate", postgres, "--json")
    version = tables_version()
    assert {**json.loads(ran.out), "store": ""} == {"store": "", "before": 0, "after": version, "granted": None}
    assert json.loads(reed("store", "migrate", postgres, "--json").out)["before"] == version
    assert "there is no role 'nobody'" in reed("store", "migrate", postgres, "--grant", "nobody").err
    cluster.sql("CREATE ROLE reed_other LOGIN")
    as_other = re.sub(r"user=\S+", "user=reed_other", postgres)
    assert "may not use" in reed("store", "migrate", as_other).err
    assert reed("store", "status", as_other).code == 1
    assert reed("store", "migrate", postgres, "--grant", "reed_other").code == 0
    assert reed("store", "status", as_other).code == 0
    assert "--grant needs a PostgreSQL store" in reed("store", "migrate", "sqlite:x", "--grant", "nobody").err
    cluster.sql("DROP OWNED BY reed_other", database=re.findall(r"dbname=(\S+)", postgres)[0])
    cluster.sql("DROP ROLE reed_other")


def test_status_shows_what_waits_and_who_delivers_it(reed: RunReed, postgres: str, sql: Any) -> None:
    assert "there are no tables of reed" in reed("store", "status", postgres).err
    with Content(Path("first")) as content:
        content.store.subscribe({KINDS[0]: ["seo"]})
        content.call("define", "note", {})
        content.call_all("create", [("note", name, {}) for name in "abc"])
    assert reed("store", "copy", "sqlite:first", postgres).code == 0
    sql("INSERT INTO cores VALUES ('019a3c5e-7d21-74f3-9c1e-55d0a8b7e6f4', 'web1', '0.2.0', now(), now(), '{}')")
    sql("UPDATE subscribers SET leader = (SELECT core FROM cores), lease = now() + interval '1 min'")
    found = json.loads(reed("store", "status", postgres, "--json").out)
    kept = {name: found[name] for name in ("kind", "schema", "snippets", "types", "bonds", "log", "unindexed")}
    counts = {"snippets": 3, "types": 1, "bonds": 0, "log": 3, "unindexed": 3}
    assert kept == {"kind": "postgres", "schema": tables_version(), **counts}
    assert found["subscribers"] == [{"name": "seo", "waiting": 3, "leader": "web1", "lost": 0}]
    assert [(core["name"], core["running"]) for core in found["cores"]] == [("web1", True)]
    lines = reed("store", "status", "sqlite:first").out.splitlines()
    assert "subscribers.seo.waiting\t3" in lines
    assert "snippets\t3" in lines


def test_the_store_of_the_settings_is_the_default(
    reed: RunReed, monkeypatch: pytest.MonkeyPatch, postgres: str
) -> None:
    Path("reed.yaml").write_text("data_dir: first\n")
    with Content(Path("first")):
        pass
    assert f"path\t{Path('first/content.db').absolute()}" in reed("store", "status").out
    assert f"path\t{Path('first/content.db').absolute()}" in reed("store", "status", "sqlite").out
    monkeypatch.setenv("REED_STORE", postgres)
    assert reed("store", "migrate").code == 0
    assert "kind\tpostgres" in reed("store", "status").out
    monkeypatch.setenv("REED_STORE", "postgresql://reed:s3cr3t@db/reed")
    for words in (("status",), ("copy", "sqlite:first", "postgresql://reed:s3cr3t@db/reed")):
        ran = reed("store", *words)
        assert ran.code == 1
        assert "password is not allowed" in ran.err
        assert "s3cr3t" not in ran.err + ran.out


def test_without_the_driver_the_command_says_what_to_install(reed: RunReed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    assert "pip install 'reed-cms[postgres]'" in reed("store", "status", "postgres:service=reed").err


def test_a_core_starts_while_the_first_host_is_down(postgres: str, tmp_path: Path) -> None:
    hosts = postgres.replace("host=", f"host={tmp_path / 'nowhere'},")
    with core(tmp_path, settings={"store": hosts}) as running:
        running.client().registry_define("note", {})
        assert [each.type_name for each in running.client().registry_list()] == ["note"]
