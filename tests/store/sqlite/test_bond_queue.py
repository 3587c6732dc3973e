"""Bonds in a graph that is too large to be checked in the loop."""

from __future__ import annotations

import json

import pytest

from reed.errors import Conflict, Invalid, NotFound
from reed.store.ids import Ids, sequence_in
from reed.store.sqlite import bonds
from reed.store.workers import Origin

HALF = 50_000  # bonds above `parent`, and below `child`
ALICE, BOB = Origin("alice", 1), Origin("bob", 2)


@pytest.fixture
def graph(open_store):
    """100,000 bonds: many parents of `parent`, and many children of `child`. The workers do not answer yet."""
    driver = open_store(late=1)
    driver.define("note", {})
    driver.define("book", {"max_depth": 3})
    for name in ("parent", "child", "a", "b"):
        driver.create("note", name, {})
    parent, child, _, last = (sequence_in(driver.get(name).id) for name in ("parent", "child", "a", "b"))
    driver.close()
    driver = open_store(late=1)
    ids = Ids(last)
    made = [ids.next(0) for _ in range(2 * HALF)]
    writer = driver.store._database.writer
    writer.execute("BEGIN")
    writer.executemany("INSERT INTO snippets VALUES (?, ?, 'note', '', 1, 1, 1, '{}')", made)
    writer.executemany(
        "INSERT INTO bonds VALUES (?, 0, '', ?, ?)",
        [(sequence, parent, snippet_id) for sequence, snippet_id in made[:HALF]]
        + [(child, sequence, snippet_id) for sequence, snippet_id in made[HALF:]],
    )
    writer.execute("COMMIT")
    driver.above, driver.below = made[0][1], made[-1][1]
    driver.stop_workers()
    return driver


def test_a_bond_is_checked_elsewhere_and_costs_the_loop_a_bounded_number_of_steps(graph):
    steps = []
    graph.store._database.writer.set_progress_handler(lambda: steps.append(1), 100)  # after 100 instructions each
    bonded = graph.start("bond", "parent", "child", 0, "")
    graph.turn()
    assert len(steps) < bonds.MAX_STEPS
    assert not bonded.is_there
    graph.stop_workers(False)
    graph.settle()
    assert bonded.value
    assert len(steps) < 2 * bonds.MAX_STEPS
    with pytest.raises(Conflict):
        graph.bond("child", "parent", 0, "")


def test_a_cycle_through_a_large_graph_is_found(graph):
    closing = graph.start("bond", graph.below, graph.above, 0, "", origin=ALICE)
    bonded = graph.start("bond", "parent", "child", 0, "", origin=BOB)
    graph.stop_workers(False)
    graph.settle()
    assert closing.value, "it is no cycle yet"
    assert isinstance(bonded.error, Conflict)
    assert "parent" in bonded.error.message


def test_levels_in_a_large_graph_are_counted(graph):
    graph.stop_workers(False)
    graph.create("book", "book", {})
    graph.bond("book", graph.above, 0, "")
    with pytest.raises(Invalid):
        graph.bond("parent", "child", 0, "")


def test_later_bonds_wait_and_other_writes_do_not(graph):
    first = graph.start("bond", "parent", "child", 0, "", origin=ALICE)
    second = graph.start("bond", "a", "b", 0, "", origin=BOB)
    own = graph.start("create", "note", "own", {}, origin=ALICE)
    after = graph.start("create", "note", "after", {}, origin=BOB)
    graph.create("note", "c", {}, origin=Origin("carol", 3))
    assert not any(answer.is_there for answer in (first, second, own, after))
    graph.stop_workers(False)
    graph.settle()
    assert all(answer.value for answer in (first, second, own, after))
    assert json.loads(graph.tree("a", 0))["children"][0]["name"] == "b"


def test_what_changes_during_the_check_counts(graph):
    bonded = graph.start("bond", "parent", "child", 0, "", origin=ALICE)
    waiting = graph.start("bond", "parent", "child", 0, "", origin=BOB)
    graph.delete("child", True, origin=Origin("carol", 3))
    graph.stop_workers(False)
    graph.settle()
    assert isinstance(bonded.error, NotFound)
    assert isinstance(waiting.error, NotFound)


def test_a_bond_that_waits_for_another_and_repeats_it_is_refused(graph):
    bonded = graph.start("bond", "parent", "child", 0, "", origin=ALICE)
    again = graph.start("bond", "parent", "child", 1, "", origin=BOB)
    graph.stop_workers(False)
    graph.settle()
    assert bonded.value
    assert isinstance(again.error, Conflict)


def test_bonds_of_a_turn_that_fails_are_answered(graph):
    bonded = graph.start("create", "note", "", {}, origin=BOB)
    away = graph.start("bond", "parent", "child", 0, "", origin=ALICE)
    graph.store._transaction.fail(MemoryError())
    assert bonded.errors
    assert away.errors
    graph.stop_workers(False)
    assert graph.bond("parent", "child", 0, "", origin=ALICE)
