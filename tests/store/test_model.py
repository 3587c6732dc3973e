"""Random operations, turns, failed commits and restarts, compared with a model of plain dicts."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from reed.errors import CallError, Conflict, NotFound
from reed.store.sqlite import SqliteStore

NAMES = st.sampled_from(["", "a", "b", "c", "d/e", "F"])
REFS = st.integers(0, 30)
TEXTS = st.sampled_from(["zebra", "horse", "donkey", "Żebra"])


class Model(RuleBasedStateMachine):
    """`self.kept` is the committed state, `self.now` that after the commit of this turn."""

    driver_class: type

    @initialize()
    def open(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.driver = self.driver_class(SqliteStore(self.folder / "reed.db", cache_bytes=8000))
        self.driver.define("page", {"searchable": {"title": 1}, "indexed": ["title"]})
        self.now: dict = {"snippets": {}, "bonds": {}}
        self.kept = self.copy()
        self.ids: list[str] = []  # all ids ever created
        self.waiting: list = []

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.driver.store.close()
            shutil.rmtree(self.folder)

    def copy(self) -> dict:
        return {
            "snippets": {key: dict(value) for key, value in self.now["snippets"].items()},
            "bonds": dict(self.now["bonds"]),
        }

    def named(self, name: str) -> str | None:
        return next((key for key, value in self.now["snippets"].items() if value["name"] == name), None)

    def pick(self, number: int) -> str:
        """Any id ever created, or an unknown one."""
        return self.ids[number % len(self.ids)] if self.ids else "019a3c5e-7d21-74f3-9c1e-55d0a8b7e6f4"

    def write(self, expected: type[CallError] | None, operation: str, *args: object) -> bool:
        answer = self.driver.start(operation, *args)
        if expected is not None:
            (error,) = answer.errors
            assert isinstance(error, expected), (error, expected)
            return False
        assert not answer.is_there, answer.errors
        self.waiting.append(answer)
        return True

    @rule(name=NAMES, text=TEXTS)
    def create(self, name: str, text: str) -> None:
        taken = bool(name) and self.named(name) is not None
        if self.write(Conflict if taken else None, "create", "page", name, {"title": text}):
            # The reply with the id comes after the commit.
            snippet_id = list(self.driver.store._snippets._written)[-1]
            self.ids.append(snippet_id)
            self.now["snippets"][snippet_id] = {"name": name, "version": 1, "content": {"title": text}}

    @rule(number=REFS, text=TEXTS, version=st.integers(0, 3))
    def update(self, number: int, text: str, version: int) -> None:
        snippet_id = self.pick(number)
        found = self.now["snippets"].get(snippet_id)
        expected = NotFound if found is None else Conflict if version not in (0, found["version"]) else None
        if self.write(expected, "update", snippet_id, version, {"title": text, "n": version}) and found:
            found.update(version=found["version"] + 1, content=found["content"] | {"title": text, "n": version})

    @rule(number=REFS, name=NAMES)
    def rename(self, number: int, name: str) -> None:
        snippet_id = self.pick(number)
        found = self.now["snippets"].get(snippet_id)
        taken = bool(name) and self.named(name) not in (None, snippet_id)
        expected = NotFound if found is None else Conflict if taken else None
        if self.write(expected, "rename", snippet_id, name) and found:
            found.update(version=found["version"] + 1, name=name)

    @rule(number=REFS, cascade=st.booleans())
    def delete(self, number: int, cascade: bool) -> None:
        snippet_id = self.pick(number)
        bonds = [pair for pair in self.now["bonds"] if snippet_id in pair]
        expected = NotFound if snippet_id not in self.now["snippets"] else Conflict if bonds and not cascade else None
        if self.write(expected, "delete", snippet_id, cascade):
            del self.now["snippets"][snippet_id]
            for pair in bonds:
                del self.now["bonds"][pair]

    @rule(parent=REFS, child=REFS, weight=st.integers(-2, 2))
    def bond(self, parent: int, child: int, weight: int) -> None:
        pair = above, below = self.pick(parent), self.pick(child)
        if not {above, below} <= self.now["snippets"].keys():
            expected: type[CallError] | None = NotFound
        else:
            expected = Conflict if pair in self.now["bonds"] or self.reaches(below, above) else None
        if self.write(expected, "bond", above, below, weight, ""):
            self.now["bonds"][pair] = weight

    @rule(parent=REFS, child=REFS)
    def unbond(self, parent: int, child: int) -> None:
        pair = self.pick(parent), self.pick(child)
        if self.write(None if pair in self.now["bonds"] else NotFound, "unbond", *pair):
            del self.now["bonds"][pair]

    def reaches(self, start: str, end: str) -> bool:
        return start == end or any(self.reaches(below, end) for above, below in self.now["bonds"] if above == start)

    @rule()
    def turn(self) -> None:
        self.driver.turn()
        for answer in self.waiting:
            assert answer.values
        self.waiting.clear()
        self.kept = self.copy()

    @precondition(lambda self: self.waiting)
    @rule()
    def lose_the_turn(self) -> None:
        """As on a full disk: everything since the last commit is rolled back."""
        with contextlib.suppress(sqlite3.OperationalError):
            self.driver.store._transaction.fail(sqlite3.OperationalError("disk I/O error"))
        for answer in self.waiting:
            assert answer.errors
        self.waiting.clear()
        self.now, kept = self.kept, self.kept
        self.now = self.copy()
        self.kept = kept

    @precondition(lambda self: not self.waiting)
    @rule()
    def restart(self) -> None:
        self.driver.store.close()
        self.driver = self.driver_class(SqliteStore(self.folder / "reed.db", cache_bytes=8000))

    @precondition(lambda self: not self.waiting)
    @rule(text=TEXTS)
    def search(self, text: str) -> None:
        same = {"zebra", "Żebra"} if text in ("zebra", "Żebra") else {text}
        expected = {key for key, value in self.now["snippets"].items() if value["content"]["title"] in same}
        page = self.driver.search(text, "", 1000, 0)
        assert {hit.id for hit in page.hits} == expected
        assert page.total == len(expected)

    @precondition(lambda self: not self.waiting)
    @rule(text=TEXTS, number=st.none() | st.integers(0, 3))
    def find(self, text: str, number: int | None) -> None:
        wanted = {"title": text} if number is None else {"title": text, "n": number}
        expected = [key for key, value in self.now["snippets"].items() if wanted.items() <= value["content"].items()]
        page = self.driver.find("page", json.dumps(wanted).encode(), "", 1000)
        assert [record.id for record in page.records] == sorted(expected)

    @precondition(lambda self: not self.waiting)
    @rule(limit=st.integers(1, 4))
    def page_through(self, limit: int) -> None:
        after, found = "", []
        while True:
            page = self.driver.page("", after, limit)
            found += [record.id for record in page.records]
            after = page.cursor
            if not after:
                break
        assert found == sorted(self.now["snippets"])

    @precondition(lambda self: not self.waiting)
    @rule()
    def look_at_the_trees(self) -> None:
        parents, children = {above for above, _ in self.now["bonds"]}, {below for _, below in self.now["bonds"]}
        roots = json.loads(self.driver.tree("", 0))
        assert [node["id"] for node in roots] == sorted(parents - children)
        stack = list(roots)
        while stack:
            node = stack.pop()
            expected = sorted(
                (weight, below) for (above, below), weight in self.now["bonds"].items() if above == node["id"]
            )
            assert [(child["weight"], child["id"]) for child in node["children"]] == expected
            stack += node["children"]

    @invariant()
    def every_snippet_is_what_the_model_says(self) -> None:
        if not hasattr(self, "driver") or self.waiting:
            return
        for snippet_id in self.ids:
            expected = self.now["snippets"].get(snippet_id)
            if expected is None:
                with pytest.raises(NotFound):
                    self.driver.get(snippet_id)
                continue
            for ref in filter(None, (snippet_id, expected["name"])):
                record = self.driver.get(ref)
                assert record.id == snippet_id
                assert (record.semantic_name, record.version) == (expected["name"], expected["version"])
                assert json.loads(record.content) == expected["content"]
        stats = self.driver.store.stats()
        assert (stats["snippets"], stats["bonds"]) == (len(self.now["snippets"]), len(self.now["bonds"]))


def test_the_store_does_what_the_model_does(driver):
    Model.driver_class = type(driver)
    run_state_machine_as_test(Model, settings=settings(max_examples=25, stateful_step_count=40, deadline=None))
