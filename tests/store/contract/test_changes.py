"""The log of changes: what watchers read, page by page, from any position that is still kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from harness import Driver

from reed.errors import CursorTooOld, Malformed
from reed.store.changes import PAGE_CHANGES
from reed.store.workers import Origin
from reed.wire.watch import Change

EDITOR = Origin("plugin editor", 1, "editor")


def read(driver: Driver, cursor: str) -> list[Change]:
    """All changes after the cursor; checks that positions and cursors agree, and that the pages follow each other."""
    found: list[Change] = []
    position = driver.watch_position(cursor)
    while True:
        page = driver.changes_after(position)
        for at, change in page.changes:
            assert position < at <= page.position
            assert driver.watch_position(change.cursor) == at
            position = at
            found.append(change)
        position = page.position
        if page.is_last:
            return found


def now(driver: Driver) -> str:
    return driver.store.cursor_of(driver.watch_position(""))


def short(change: Change) -> tuple[Any, ...]:
    return change.kind, change.type, change.name, change.version


def test_every_kind_of_change_is_told_in_order(driver: Driver) -> None:
    start = now(driver)
    parent = driver.create("page", "p", {"title": "P"}, origin=EDITOR)
    child = driver.create("note", "", {})
    driver.update("p", 0, {"title": "Q"})
    driver.bond("p", child, 0, "")
    driver.unbond("p", child)
    driver.rename("p", "q")
    driver.define("post", {})
    driver.delete_type("post")
    driver.delete(child, False)
    changes = read(driver, start)
    assert [short(change) for change in changes] == [
        ("snippet.created", "page", "p", 1),
        ("snippet.created", "note", "", 1),
        ("snippet.updated", "page", "p", 2),
        ("bonded", "page", "p", 0),
        ("unbonded", "page", "p", 0),
        ("snippet.updated", "page", "q", 3),
        ("type.defined", "post", "", 0),
        ("type.deleted", "post", "", 0),
        ("snippet.deleted", "note", "", 1),
    ]
    assert [change.id for change in changes] == [parent, child, parent, parent, parent, parent, "", "", child]
    assert [change.child for change in changes] == ["", "", "", child, child, "", "", "", ""]
    assert [change.made_by for change in changes] == ["editor", *[""] * 8]
    assert len({change.cursor for change in changes}) == 9
    assert read(driver, changes[3].cursor) == changes[4:]


def test_a_bond_of_a_plugin_names_it(driver: Driver) -> None:
    driver.create("page", "p", {"title": "P"})
    driver.create("page", "q", {"title": "Q"})
    start = now(driver)
    driver.bond("p", "q", 0, "", origin=EDITOR)
    driver.unbond("p", "q", origin=EDITOR)
    assert [change.made_by for change in read(driver, start)] == ["editor", "editor"]


def test_a_bond_of_a_snippet_without_a_name(driver: Driver) -> None:
    parent, child = driver.create("note", "", {}), driver.create("note", "", {})
    start = now(driver)
    driver.bond(parent, child, 0, "")
    (change,) = read(driver, start)
    assert (change.id, change.name, change.child) == (parent, "", child)


def test_the_present_has_no_changes(driver: Driver) -> None:
    driver.create("note", "", {})
    assert read(driver, now(driver)) == []


def test_a_write_that_is_refused_is_no_change(driver: Driver) -> None:
    start = now(driver)
    driver.create("note", "taken", {})
    refused = [driver.start("create", "note", "taken", {}) for _ in range(3)]
    driver.create("note", "", {})
    driver.settle()
    assert all(answer.errors for answer in refused)
    assert [change.name for change in read(driver, start)] == ["taken", ""]


def test_the_log_outlives_the_process(open_store: Callable[..., Driver], driver: Driver) -> None:
    start = now(driver)
    ids = [driver.create("note", f"n{number}", {}) for number in range(5)]
    before = read(driver, start)
    driver.close()
    again = open_store()
    assert [change.id for change in before] == ids
    assert read(again, start) == before
    assert read(again, before[2].cursor) == before[3:]
    again.create("note", "n5", {})
    assert [change.name for change in read(again, before[-1].cursor)] == ["n5"]


def test_many_changes_come_in_pages(driver: Driver) -> None:
    start, count = now(driver), PAGE_CHANGES + 7
    for number in range(count):
        driver.start("create", "note", f"n{number}", {}, origin=EDITOR)
    driver.settle()
    assert [change.name for change in read(driver, start)] == [f"n{number}" for number in range(count)]


def test_what_is_no_cursor_is_malformed(driver: Driver) -> None:
    for text in ("7", "x", "5f3a9c01-", "-7", "5f3a9c01-x", "5f3a9c01--1"):
        with pytest.raises(Malformed, match="is no cursor"):
            driver.watch_position(text)


def test_a_cursor_of_another_store_is_too_old(driver: Driver) -> None:
    with pytest.raises(CursorTooOld, match=r"belongs to another store.*read what you need again"):
        driver.watch_position("00000000-0")


def test_a_cursor_beyond_the_last_change_is_refused(driver: Driver) -> None:
    with pytest.raises(CursorTooOld, match="beyond the last change"):
        driver.watch_position(driver.store.cursor_of(driver.watch_position("") + 5000))


def test_a_follower_is_called_after_the_commit_and_reads_what_is_new(driver: Driver) -> None:
    calls: list[int] = []
    position = driver.watch_position("")
    driver.store.follow_changes(lambda: calls.append(1))
    snippet_id = driver.create("note", "n", {})
    driver.run_until(lambda: bool(calls), "the call of the follower")
    page = driver.changes_after(position)
    assert [change.id for _, change in page.changes] == [snippet_id]
    assert page.is_last
    driver.store.follow_changes(None)
    driver.settle()
    calls.clear()
    driver.create("note", "", {})
    driver.settle()
    assert not calls


def test_the_oldest_changes_are_not_kept(open_store: Callable[..., Driver]) -> None:
    driver = open_store(max_changes=300)
    if driver.store.stats().get("kind") == "postgres":
        pytest.skip("PostgreSQL's log keeps ten minutes at least: tests/postgres/test_watching.py")
    driver.define("note", {})
    start = now(driver)
    for number in range(700):
        driver.start("create", "note", f"n{number}", {})
        if not number % 50:
            driver.settle()
    driver.settle()
    with pytest.raises(CursorTooOld, match="is too old: the store keeps the last 300 changes"):
        driver.watch_position(start)
    epoch, last = now(driver).split("-")
    kept = read(driver, f"{epoch}-{int(last) - 300}")
    assert [change.name for change in kept] == [f"n{number}" for number in range(400, 700)]
