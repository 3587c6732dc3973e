"""Two cores on one database: whatever they do at the same time has one outcome, and each soon sees what the other did.

REED_FAULTS=N repeats N times as often.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from functools import partial
from typing import Any

import pytest

from reed.client import Client, Request
from reed.errors import CallError, Conflict, Invalid, NotFound
from reed.wire.codes import Command
from reed.wire.snippets import SnippetUpdate
from tests.postgres.cluster import missing, wait_until

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())
FACTOR = max(1, int(os.environ.get("REED_FAULTS") or 1))
TIMES = 30 * FACTOR


def at_once(*calls: tuple[Any, ...]) -> list[Any]:
    """Calls are (function, *arguments); what each returns, or the CallError that it raises."""
    results: list[Any] = [None] * len(calls)
    gate = threading.Barrier(len(calls))

    def run(number: int) -> None:
        gate.wait(20)
        try:
            function, *arguments = calls[number]
            results[number] = function(*arguments)
        except CallError as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return results


def kinds(results: list[Any]) -> list[str]:
    return sorted(type(each).__name__ if isinstance(each, CallError) else "ok" for each in results)


def see(client: Client, ref: str) -> None:
    """Wait until this core has it too."""

    def is_there() -> bool:
        with contextlib.suppress(NotFound):
            return bool(client.snippet_get(ref).version)
        return False

    wait_until(is_there, f"{ref} is seen", 5)


def test_one_of_two_gets_a_name(two) -> None:
    two[0].registry_define("page", b"{}")
    for number in range(TIMES):
        results = at_once(*((core.snippet_create, "page", f"name/{number}", {"n": 1}) for core in two))
        assert kinds(results) == ["Conflict", "ok"]
        [winner] = [each for each in results if isinstance(each, str)]
        for core in two:
            see(core, f"name/{number}")
            assert core.snippet_get(f"name/{number}").id == winner


def test_one_of_two_gets_a_unique_value(two) -> None:
    two[0].registry_define("user", {"unique": ["mail"]})
    for number in range(TIMES):
        mail = f"{number}@example.com"
        results = at_once(*((core.snippet_create, "user", "", {"mail": mail}) for core in two))
        assert kinds(results) == ["Conflict", "ok"]
    assert len(two[0].snippet_list("user", limit=1000).records) == TIMES


def test_a_type_that_another_core_deleted_and_defined_again(two) -> None:
    """A core that still has the old definition in memory neither writes by it, nor refuses by it."""
    here, there = two
    for number in range(TIMES):
        here.registry_define("draft", {"schema": {"required": ["old"]}})
        old = there.snippet_create("draft", "", {"old": number})
        with pytest.raises(Conflict):
            here.registry_delete("draft")
        there.snippet_delete(old)
        here.registry_delete("draft")
        with pytest.raises(Invalid):
            there.snippet_create("draft", "", {"old": number})
        here.registry_define("draft", {"schema": {"required": ["new"]}})
        with pytest.raises(Invalid):
            there.snippet_create("draft", "", {"old": number})
        there.snippet_delete(there.snippet_create("draft", "", {"new": number}))
        there.registry_delete("draft")
        wait_until(lambda: "draft" not in dict(here.registry_list()), "the deletion is seen", 5)


def test_a_type_is_deleted_or_its_snippet_created(two) -> None:
    for number in range(TIMES):
        two[0].registry_define("draft", {})
        results = at_once((two[0].snippet_create, "draft", f"new/{number}", {}), (two[1].registry_delete, "draft"))
        assert kinds(results) in (["Conflict", "ok"], ["Invalid", "ok"])
        if isinstance(results[0], str):
            two[0].snippet_delete(results[0])


def test_a_name_that_was_taken_elsewhere_is_known_at_once(two) -> None:
    """A refusal is never due to memory that is old, nor an acceptance."""
    here, there = two
    here.registry_define("page", b"{}")
    for number in range(TIMES):
        here.snippet_create("page", f"taken/{number}", {"n": number})
        with pytest.raises(Conflict):
            there.snippet_create("page", f"taken/{number}", {"n": number})
        here.snippet_delete(f"taken/{number}")
        there.snippet_create("page", f"taken/{number}", {"n": number})


def test_an_update_of_the_version_that_another_core_made(two) -> None:
    """A version that is newer than this core's memory is no conflict; one that was overtaken elsewhere is."""
    here, there = two
    here.registry_define("page", b"{}")
    here.snippet_create("page", "versioned", {"n": 0})
    for version in range(1, TIMES, 2):
        here.snippet_update("versioned", {"n": version}, version)
        there.snippet_update("versioned", {"n": version + 1}, version + 1)
        with pytest.raises(Conflict):
            here.snippet_update("versioned", {"n": -1}, version)


def test_no_increment_is_lost(two) -> None:
    """A counter in a snippet, read and written with its version through both cores."""
    two[0].registry_define("page", b"{}")
    two[0].snippet_create("page", "counter", {"n": 0})
    see(two[1], "counter")

    def increment(core: Client) -> int:
        tries = 0
        for _ in range(TIMES):
            while True:
                tries += 1
                record = core.snippet_get("counter")
                with contextlib.suppress(Conflict):
                    core.snippet_update("counter", {"n": json.loads(record.content)["n"] + 1}, record.version)
                    break
        return tries

    results = at_once(*((increment, core) for core in two))
    assert kinds(results) == ["ok", "ok"]
    record = two[0].snippet_get("counter")
    assert (json.loads(record.content)["n"], record.version) == (2 * TIMES, 2 * TIMES + 1)


def test_patches_of_two_cores_are_both_there(two) -> None:
    two[0].registry_define("page", b"{}")
    for number in range(TIMES):
        ref = f"patched/{number}"
        two[0].snippet_create("page", ref, {})
        results = at_once((two[0].snippet_update, ref, {"a": 1}), (two[1].snippet_update, ref, {"b": 2}))
        assert kinds(results) == ["ok", "ok"]
        wait_until(lambda ref=ref: two[0].snippet_get(ref).version == 3, "the update of the other core", 5)
        assert json.loads(two[0].snippet_get(ref).content) == {"a": 1, "b": 2}


def test_two_bonds_make_no_cycle(two) -> None:
    two[0].registry_define("page", b"{}")
    for number in range(TIMES):
        first, second = (two[0].snippet_create("page", f"two/{name}/{number}", {}) for name in "ab")
        results = at_once((two[0].schema_bond, first, second), (two[1].schema_bond, second, first))
        assert kinds(results) == ["Conflict", "ok"]


def test_three_bonds_make_no_cycle(two) -> None:
    third = Client(two[1].path)
    two[0].registry_define("page", b"{}")
    for number in range(TIMES):
        ids = [two[0].snippet_create("page", f"three/{name}/{number}", {}) for name in "abc"]
        results = at_once(
            (two[0].schema_bond, ids[0], ids[1]),
            (two[1].schema_bond, ids[1], ids[2]),
            (third.schema_bond, ids[2], ids[0]),
        )
        assert kinds(results) == ["Conflict", "ok", "ok"]
    third.close()


def test_a_delete_beside_a_bond(two) -> None:
    """Either the snippet is gone or it is bonded."""
    two[0].registry_define("page", b"{}")
    seen = set()
    for number in range(TIMES):
        parent, child = (two[0].snippet_create("page", f"bond/{name}/{number}", {}) for name in "pc")
        deleted, bonded = at_once((two[0].snippet_delete, child), (two[1].schema_bond, parent, child))
        if isinstance(deleted, str):
            assert isinstance(bonded, NotFound), bonded
            assert two[0].schema_tree(parent)["children"] == []
        else:
            assert isinstance(deleted, Conflict), deleted
            assert isinstance(bonded, str), bonded
            assert two[0].schema_tree(parent)["children"][0]["id"] == child
        seen.add(isinstance(deleted, str))
    print(f"who was first: {seen}")


def test_a_cascade_beside_a_bond(two) -> None:
    two[0].registry_define("page", b"{}")
    for number in range(TIMES):
        parent, child = (two[0].snippet_create("page", f"cascade/{name}/{number}", {}) for name in "pc")
        deleted, bonded = at_once(
            (partial(two[0].snippet_delete, cascade=True), child), (two[1].schema_bond, parent, child)
        )
        assert isinstance(deleted, str), deleted
        assert isinstance(bonded, (str, NotFound)), bonded
        assert two[0].schema_tree(parent)["children"] == []


class Creating:
    """Creates snippets of a type without pause; after `defined`, until the first is refused."""

    def __init__(self, path: str, type_name: str) -> None:
        self.defined = threading.Event()
        self.started = threading.Event()
        self.outcomes: list[tuple[bool, str]] = []  # begun after the definition was acknowledged?
        self._thread = threading.Thread(target=self._run, args=(path, type_name))
        self._thread.start()

    def _run(self, path: str, type_name: str) -> None:
        with Client(path) as client:
            for _ in range(10_000):
                is_late, outcome = self.defined.is_set(), "ok"
                try:
                    client.snippet_create(type_name, "", {"n": 1})
                except Invalid:
                    outcome = "invalid"
                self.outcomes.append((is_late, outcome))
                self.started.set()
                if (is_late, outcome) == (True, "invalid"):
                    return

    def end(self) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive()


def test_a_definition_beside_creates(two) -> None:
    """What was acknowledged before the definition may not fit it; after it, nothing that does not fit is accepted."""
    for number in range(TIMES // 2):
        type_name = f"type{number}"
        two[0].registry_define(type_name, b"{}")
        creating = Creating(two[1].path, type_name)
        assert creating.started.wait(20)
        two[0].registry_define(type_name, {"schema": {"required": ["title"]}})
        creating.defined.set()
        creating.end()
        assert (True, "ok") not in creating.outcomes, "accepted after the definition was acknowledged"
        assert (True, "invalid") in creating.outcomes
        count = sum(outcome == "ok" for _, outcome in creating.outcomes)
        assert two[0].registry_check(type_name, limit=1000)["unfit"] == min(count, 1000)


def test_a_type_that_another_core_defined_is_there_at_once(two) -> None:
    """Before a refusal by memory the core looks again."""
    here, there = two
    for number in range(TIMES):
        here.registry_define(f"kind{number}", {"schema": {"required": ["title"]}})
        there.snippet_create(f"kind{number}", "", {"title": "Hello"})
        here.registry_define(f"kind{number}", b"{}")
        there.snippet_create(f"kind{number}", "", {})


def test_batches_that_cross_each_other(two) -> None:
    """Each core updates the same snippets in the other's order, many in one transaction: all of them succeed."""
    two[0].registry_define("page", b"{}")
    names = [f"cross/{number}" for number in range(20)]
    for name in names:
        two[0].snippet_create("page", name, {"n": 0})

    def update(core: Client, order: list[str], value: int) -> int:
        requests = [
            Request(Command.SNIPPET_UPDATE, SnippetUpdate(name, 0, json.dumps({f"n{value}": 1}).encode()).pack())
            for name in order
        ]
        answers = list(core.pipelined(requests))
        errors = [str(answer) for _, answer in answers if isinstance(answer, CallError)]
        assert not errors, errors
        return len(answers)

    for _ in range(TIMES):
        results = at_once((update, two[0], names, 1), (update, two[1], names[::-1], 2))
        assert results == [len(names), len(names)]
    for name in names:
        wait_until(lambda name=name: two[0].snippet_get(name).version == 2 * TIMES + 1, f"all updates of {name}", 5)


def test_the_other_core_sees_a_change_soon(two) -> None:
    """Also what it has in memory, and also without NOTIFY: within a second, which is not measured here."""
    here, there = two
    here.registry_define("page", b"{}")
    here.snippet_create("page", "a/page", {"n": 0})
    see(there, "a/page")
    for version in range(2, TIMES):
        here.snippet_update("a/page", {"n": version})
        wait_until(lambda version=version: there.snippet_get("a/page").version == version, "the change", 5)
    here.snippet_delete("a/page")
    wait_until(lambda: _is_gone(there, "a/page"), "the delete", 5)


def _is_gone(client: Client, ref: str) -> bool:
    try:
        client.snippet_get(ref)
    except NotFound:
        return True
    return False


def test_a_search_finds_what_the_other_core_wrote(two) -> None:
    here, there = two
    here.registry_define("page", {"searchable": {"title": 1}})
    for number in range(5):
        snippet_id = here.snippet_create("page", "", {"title": f"unusual{number}"})
        wait_until(lambda number=number: there.search(f"unusual{number}").total == 1, "the other core finds it")
        assert there.search(f"unusual{number}").hits[0].id == snippet_id
