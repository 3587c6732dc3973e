"""Random operations, turns and restarts, compared with a model of plain dicts."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import Answer, Driver, Options
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

UNKNOWN = "019a3c5e-7d21-74f3-9c1e-55d0a8b7e6f4"
NAMES = st.sampled_from(["", "a", "b", "c", "d/e", "F"])
REFS = st.integers(0, 30)
TEXTS = st.sampled_from(["zebra", "horse", "donkey", "Żebra"])
OPTIONS = Options(cache_bytes=8000)


class Model(RuleBasedStateMachine):
    """`self.kept` is the state before the writes that are not answered yet, `self.now` the one after them.

    A snippet is a number in the order of creation; its id is known once its write is answered. Until then it can only
    be found by its name.
    """

    open_driver: Callable[[Path], Driver]

    @initialize()
    def open(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.driver = type(self).open_driver(self.folder)
        self.driver.define("page", {"searchable": {"title": 1}, "indexed": ["title"]})
        self.now: dict[str, Any] = {"snippets": {}, "bonds": {}}
        self.kept = self.copy()
        self.ids: dict[int, str] = {}  # all ids ever created
        self.created = 0
        self.waiting: list[tuple[Answer, type[CallError] | None, int | None]] = []

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.driver.close()
            shutil.rmtree(self.folder)

    def copy(self) -> dict[str, Any]:
        return {
            "snippets": {key: dict(value) for key, value in self.now["snippets"].items()},
            "bonds": dict(self.now["bonds"]),
        }

    def named(self, name: str) -> int | None:
        return next((key for key, value in self.now["snippets"].items() if value["name"] == name), None)

    def pick(self, number: int) -> tuple[int, str]:
        """Any snippet ever created, and a ref of it; or one that never was."""
        number %= self.created + 1
        snippet = self.now["snippets"].get(number)
        return number, self.ids.get(number) or (snippet["name"] if snippet else "") or UNKNOWN

    def write(self, expected: type[CallError] | None, operation: str, *args: object, makes: int | None = None) -> bool:
        self.waiting.append((self.driver.start(operation, *args), expected, makes))
        return expected is None

    @rule(name=NAMES, text=TEXTS)
    def create(self, name: str, text: str) -> None:
        taken = bool(name) and self.named(name) is not None
        if self.write(Conflict if taken else None, "create", "page", name, {"title": text}, makes=self.created):
            self.now["snippets"][self.created] = {"name": name, "version": 1, "content": {"title": text}}
            self.created += 1

    @rule(number=REFS, text=TEXTS, version=st.integers(0, 3))
    def update(self, number: int, text: str, version: int) -> None:
        number, ref = self.pick(number)
        found = self.now["snippets"].get(number) if ref != UNKNOWN else None
        expected = NotFound if found is None else Conflict if version not in (0, found["version"]) else None
        if self.write(expected, "update", ref, version, {"title": text, "n": version}) and found:
            found.update(version=found["version"] + 1, content=found["content"] | {"title": text, "n": version})

    @rule(number=REFS, name=NAMES)
    def rename(self, number: int, name: str) -> None:
        number, ref = self.pick(number)
        found = self.now["snippets"].get(number) if ref != UNKNOWN else None
        taken = bool(name) and self.named(name) not in (None, number)
        expected = NotFound if found is None else Conflict if taken else None
        if self.write(expected, "rename", ref, name) and found:
            found.update(version=found["version"] + 1, name=name)

    @rule(number=REFS, cascade=st.booleans())
    def delete(self, number: int, cascade: bool) -> None:
        number, ref = self.pick(number)
        is_there = number in self.now["snippets"] and ref != UNKNOWN
        bonds = [pair for pair in self.now["bonds"] if number in pair]
        expected = NotFound if not is_there else Conflict if bonds and not cascade else None
        if self.write(expected, "delete", ref, cascade):
            del self.now["snippets"][number]
            for pair in bonds:
                del self.now["bonds"][pair]

    @rule(parent=REFS, child=REFS, weight=st.integers(-2, 2))
    def bond(self, parent: int, child: int, weight: int) -> None:
        (parent, above), (child, below) = self.pick(parent), self.pick(child)
        if UNKNOWN in (above, below) or not {parent, child} <= self.now["snippets"].keys():
            expected: type[CallError] | None = NotFound
        else:
            expected = Conflict if (parent, child) in self.now["bonds"] or self.reaches(child, parent) else None
        if self.write(expected, "bond", above, below, weight, ""):
            self.now["bonds"][parent, child] = weight

    @rule(parent=REFS, child=REFS)
    def unbond(self, parent: int, child: int) -> None:
        (parent, above), (child, below) = self.pick(parent), self.pick(child)
        is_there = (parent, child) in self.now["bonds"] and UNKNOWN not in (above, below)
        if self.write(None if is_there else NotFound, "unbond", above, below):
            del self.now["bonds"][parent, child]

    def reaches(self, start: int, end: int) -> bool:
        return start == end or any(self.reaches(below, end) for above, below in self.now["bonds"] if above == start)

    @rule()
    def settle(self) -> None:
        self.driver.settle()
        for answer, expected, makes in self.waiting:
            if expected is not None:
                assert isinstance(answer.error, expected), (answer.error, expected)
            elif makes is not None:
                self.ids[makes] = answer.value
            else:
                assert answer.is_there
                assert not answer.errors
        self.waiting.clear()
        self.kept = self.copy()

    @precondition(lambda self: not self.waiting)
    @rule()
    def restart(self) -> None:
        self.driver.close()
        self.driver = type(self).open_driver(self.folder)

    @precondition(lambda self: not self.waiting)
    @rule(text=TEXTS)
    def search(self, text: str) -> None:
        same = {"zebra", "Żebra"} if text in ("zebra", "Żebra") else {text}
        expected = {self.ids[key] for key, value in self.now["snippets"].items() if value["content"]["title"] in same}
        page = self.driver.search(text, "", 1000, 0)
        assert {hit.id for hit in page.hits} == expected
        assert page.total == len(expected)

    @precondition(lambda self: not self.waiting)
    @rule(text=TEXTS, number=st.none() | st.integers(0, 3))
    def find(self, text: str, number: int | None) -> None:
        wanted = {"title": text} if number is None else {"title": text, "n": number}
        found = [key for key, value in self.now["snippets"].items() if wanted.items() <= value["content"].items()]
        page = self.driver.find("page", json.dumps(wanted).encode(), "", 1000)
        assert [record.id for record in page.records] == [self.ids[key] for key in sorted(found)]

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
        assert found == [self.ids[key] for key in sorted(self.now["snippets"])]

    @precondition(lambda self: not self.waiting)
    @rule()
    def look_at_the_trees(self) -> None:
        bonds = {(self.ids[above], self.ids[below]): weight for (above, below), weight in self.now["bonds"].items()}
        parents, children = {above for above, _ in bonds}, {below for _, below in bonds}
        roots = json.loads(self.driver.tree("", 0))
        assert [node["id"] for node in roots] == sorted(parents - children)
        stack = list(roots)
        while stack:
            node = stack.pop()
            expected = sorted((weight, below) for (above, below), weight in bonds.items() if above == node["id"])
            assert [(child["weight"], child["id"]) for child in node["children"]] == expected
            stack += node["children"]

    @invariant()
    def every_snippet_is_what_the_model_says(self) -> None:
        if not hasattr(self, "driver") or self.waiting:
            return
        for key, snippet_id in self.ids.items():
            expected = self.now["snippets"].get(key)
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


def check(model: type[Model], open_driver: Callable[[Path], Driver]) -> None:
    model.open_driver = staticmethod(open_driver)
    run_state_machine_as_test(model, settings=settings(max_examples=25, stateful_step_count=40, deadline=None))
