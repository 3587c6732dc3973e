"""Creates of a turn share statements: each of them is answered for itself, and they take effect in their order."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest

from reed.client import Client, Request
from reed.errors import CallError, Conflict, Invalid
from reed.wire.codes import Command
from reed.wire.snippets import SnippetCreate, SnippetRename, SnippetUpdate
from tests.postgres.cluster import Cluster, missing
from tests.postgres.cores import Cores

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())


def create(client: Client, wanted: list[tuple[str, str, dict]]) -> list[object]:
    """All at once; the id of each, or its error."""
    requests = [
        Request(Command.SNIPPET_CREATE, SnippetCreate(kind, name, json.dumps(content).encode()).pack())
        for kind, name, content in wanted
    ]
    return [answer if isinstance(answer, CallError) else True for _, answer in client.pipelined(requests, 200)]


@pytest.mark.parametrize("count", [1, 3, 4, 5, 15, 16, 17, 39, 150])
def test_all_of_many_creates_are_there(database: str, cluster: Cluster, cores: Cores, count: int) -> None:
    client = cores.client(cores.add(database))
    client.registry_define("page", {"searchable": {"title": 1}})
    client.registry_define("note", b"{}")
    kinds = ["page" if number % 40 < 20 else "note" for number in range(count)]
    wanted = [(kind, f"name/{number}", {"title": f"word{number}"}) for number, kind in enumerate(kinds)]
    assert create(client, wanted) == [True] * count
    for kind, name, content in wanted:
        record = client.snippet_get(name)
        assert (record.snippet_type, json.loads(record.content), record.version) == (kind, content, 1)
    assert client.search("word0").total == 1
    database_name = re.search(r"dbname=(\w+)", database)[1]  # type: ignore[index]
    lines = cluster.sql(
        "SELECT name FROM batches JOIN changes USING (core, n) WHERE kind = 'snippet.created' ORDER BY seq, k",
        database=database_name,
    )
    assert [name for (name,) in lines] == [name for _, name, _ in wanted]


def test_each_of_many_creates_has_its_own_answer(database: str, cores: Cores) -> None:
    """Names that are in use, before and within the same statement; contents and types that are refused."""
    client = cores.client(cores.add(database))
    client.registry_define("page", {"schema": {"required": ["title"]}})
    client.registry_define("note", b"{}")
    client.snippet_create("note", "taken/7", {})
    wanted = []
    for number in range(60):
        wanted.append(("note", f"taken/{number % 20}" if number % 2 else f"free/{number}", {"n": number}))
        if number % 10 == 0:
            wanted += [("page", "", {"n": number}), ("nowhere", "", {}), ("note", "", {"nul": "\0"})]
    answers = create(client, wanted)
    for (kind, name, _), answer in zip(wanted, answers, strict=True):
        if kind in {"page", "nowhere"}:
            assert isinstance(answer, Invalid)
        elif name.startswith("taken"):
            assert answer is True or isinstance(answer, Conflict)
        else:
            assert answer is True
    made = Counter(name for (_, name, _), answer in zip(wanted, answers, strict=True) if answer is True and name)
    assert set(made.values()) == {1}
    assert {name for name in made if name.startswith("taken")} == {f"taken/{n}" for n in range(1, 20, 2)} - {"taken/7"}
    assert client.stats()["store"]["snippets"] == answers.count(True) + 1


def test_a_type_that_another_core_defines_again_between_many_creates(database: str, cores: Cores) -> None:
    here, there = (cores.client(cores.add(database)) for _ in range(2))
    here.registry_define("page", b"{}")
    assert create(there, [("page", "", {})] * 20) == [True] * 20
    for number in range(5):
        here.registry_define("page", {"schema": {"required": [f"field{number}"]}})
        answers = create(there, [("page", "", {f"field{number}": 1}), ("page", "", {})] * 10)
        assert answers[::2] == [True] * 10
        assert all(isinstance(answer, Invalid) for answer in answers[1::2])


def test_writes_of_one_long_snippet_on_a_connection_take_effect_in_their_order(database: str, cores: Cores) -> None:
    """It is too long for memory, so each write reads it, while the write before is still on its way."""
    client = cores.client(cores.add(database))
    client.registry_define("page", b"{}")
    client.snippet_create("page", "home", {"text": "x" * 300_000})
    for number in range(30):
        new = f"moved/{number}"
        requests = [
            Request(Command.SNIPPET_UPDATE, SnippetUpdate("home", 0, json.dumps({"n": number}).encode()).pack()),
            Request(Command.SNIPPET_RENAME, SnippetRename("home", new).pack()),
            Request(Command.SNIPPET_CREATE, SnippetCreate("page", "home", b"{}").pack()),
        ]
        answers = [answer for _, answer in client.pipelined(requests, 10)]
        assert not [answer for answer in answers if isinstance(answer, CallError)], number
        assert json.loads(client.snippet_get(new).content)["n"] == number
        client.snippet_delete("home")
        client.snippet_rename(new, "home")
