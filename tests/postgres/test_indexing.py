"""The indexer while others write, define, delete, index or die: each snippet is found by its words."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.postgres.cluster import missing

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

COUNT = 500  # snippets: more than an indexer claims at a time
ID = "lpad(to_hex({}), 32, '0')::uuid"
TITLE, BOTH = ({"searchable": dict.fromkeys(fields, 1)} for fields in (("title",), ("title", "body")))
CORE = "00000000-0000-0000-0000-00000000c000"


class Killed(BaseException):
    """As by kill -9: nothing that the indexer would do next is done."""


class Database:
    def __init__(self, conninfo: str, connection: Any) -> None:
        self.conninfo = conninfo
        self.execute = connection.execute

    def index(self, name: str = "one") -> None:
        """Until nothing is left that another indexer has not claimed."""
        from reed.store.postgres.indexing import run_index

        while run_index(f"{self.conninfo} application_name={name}", 10, 5)[1]:
            pass

    def time_passes(self) -> None:
        """Claims end."""
        self.execute("UPDATE unindexed SET claimed = '-infinity'")

    def reindex(self) -> None:
        from reed.store.postgres.statements import WRITES

        self.execute(WRITES["mark_all"].replace("$1", "0"))

    def found(self, word: str) -> int:
        return int(self.execute("SELECT count(*) FROM search WHERE vector @@ %s::tsquery", (word,)).fetchone()[0])

    @property
    def left(self) -> int:
        (left,) = self.execute("SELECT (SELECT count(*) FROM unindexed) + (SELECT count(*) FROM reindex)").fetchone()
        return int(left)


@pytest.fixture
def filled(database: str) -> Iterator[Database]:
    """COUNT snippets with the title `apple` and the body `pear`, of a type whose title is searchable; none indexed."""
    import psycopg

    from reed.store.postgres.session import close_sessions
    from reed.store.postgres.tables import migrate

    with contextlib.closing(psycopg.connect(database, autocommit=True)) as connection:
        migrate(connection, database)
        connection.execute("INSERT INTO types VALUES ('page', 1, %s)", (json.dumps(TITLE),))
        connection.execute(
            "INSERT INTO snippets SELECT " + ID.format("n") + ", 'page', '', 1, 1, 1, %s"
            f" FROM generate_series(1, {COUNT}) AS n",
            (json.dumps({"title": "apple", "body": "pear"}),),
        )
        connection.execute("INSERT INTO unindexed (id) SELECT id FROM snippets")
        yield Database(database, connection)
        close_sessions()


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None], int], None]:
    """Do something once, when the indexer makes its vector number `at`."""
    from reed.store.postgres import indexing

    def set_(action: Callable[[], None], at: int = 1) -> None:
        made = iter(range(1, 1_000_000))

        def vector(*arguments: Any) -> str:
            if next(made) == at:
                action()
            return original(*arguments)

        original = indexing.vector
        monkeypatch.setattr(indexing, "vector", vector)

    return set_


def test_a_snippet_that_is_renamed_meanwhile(filled: Database, meanwhile: Any) -> None:
    meanwhile(lambda: filled.execute("UPDATE snippets SET name = 'n', version = 2 WHERE id = " + ID.format(1)))
    filled.index()
    assert (filled.found("apple"), filled.left) == (COUNT, 0)


def test_a_snippet_that_is_written_meanwhile(filled: Database, meanwhile: Any) -> None:
    def write() -> None:
        filled.execute('UPDATE snippets SET version = 2, content = \'{"title": "plum"}\' WHERE id = ' + ID.format(1))
        filled.execute("UPDATE unindexed SET at = clock_timestamp(), claimed = '-infinity' WHERE id = " + ID.format(1))

    meanwhile(write)
    filled.index()
    assert (filled.found("apple"), filled.found("plum"), filled.left) == (COUNT - 1, 1, 0)


def test_a_snippet_that_is_being_deleted_holds_up_no_other(filled: Database, meanwhile: Any) -> None:
    import psycopg

    with contextlib.closing(psycopg.connect(filled.conninfo)) as other:
        meanwhile(lambda: other.execute("DELETE FROM snippets WHERE id = " + ID.format(1)))
        filled.index()
        assert filled.found("apple") == COUNT - 1
        other.execute("DELETE FROM unindexed WHERE id = " + ID.format(1))
        other.commit()
    assert filled.left == 0


@pytest.mark.parametrize("at", [1, COUNT - 1])
def test_a_field_that_becomes_searchable_meanwhile(filled: Database, meanwhile: Any, at: int) -> None:
    from reed.store.postgres.defining import define

    meanwhile(
        lambda: define(f"{filled.conninfo} application_name=define", 10, "page", json.dumps(BOTH).encode(), 1), at
    )
    filled.index()
    filled.time_passes()
    filled.index()
    assert (filled.found("apple"), filled.found("pear"), filled.left) == (COUNT, COUNT, 0)


def test_a_reindex_repairs_the_index(filled: Database) -> None:
    filled.index()
    filled.execute("UPDATE search SET vector = ''")
    filled.execute("DELETE FROM search WHERE id > " + ID.format(COUNT // 2))
    filled.reindex()
    filled.index()
    assert (filled.found("apple"), filled.left) == (COUNT, 0)


def test_a_reindex_begins_again_while_one_runs(filled: Database, meanwhile: Any) -> None:
    def again() -> None:
        filled.execute("UPDATE search SET vector = ''")
        filled.reindex()

    filled.index()
    filled.reindex()
    meanwhile(again, COUNT - 1)
    filled.index()
    filled.time_passes()
    filled.index()
    assert (filled.found("apple"), filled.left) == (COUNT, 0)


@pytest.mark.parametrize("at", [1, 201, COUNT])
def test_an_indexer_that_is_killed_during_a_reindex(filled: Database, meanwhile: Any, at: int) -> None:
    def kill() -> None:
        raise Killed

    filled.index()
    filled.execute("DELETE FROM search")
    filled.reindex()
    meanwhile(kill, at)
    with pytest.raises(Killed):
        filled.index("killed")
    filled.index("other")
    filled.time_passes()
    filled.index("other")
    assert (filled.found("apple"), filled.left) == (COUNT, 0)


def test_several_indexers_share_a_reindex(filled: Database) -> None:
    filled.index()
    filled.execute("DELETE FROM search")
    filled.reindex()
    threads = [threading.Thread(target=filled.index, args=(f"core{number}",)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (filled.found("apple"), filled.left) == (COUNT, 0)


def test_a_reindex_of_nothing(filled: Database) -> None:
    filled.execute("DELETE FROM unindexed")
    filled.execute("DELETE FROM snippets")
    filled.reindex()
    filled.index()
    assert filled.left == 0
