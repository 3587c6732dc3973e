"""The outbox: an event for each acknowledged change, in order, until it is acknowledged; also after crashes."""

from __future__ import annotations

import json
import random
import sqlite3

import pytest

from reed.errors import Conflict, NotFound, StoreFull
from reed.store.sqlite.database import APPLICATION_ID, MIGRATIONS
from reed.store.workers import Origin

ALL = {kind: ["seo"] for kind in ("snippet.created", "snippet.updated", "snippet.deleted")}


def waiting(driver, name="seo"):
    """All waiting events of a subscriber, acknowledged one by one."""
    events = []
    while (event := driver.next_event(name)) is not None:
        events.append(event)
        driver.store.ack(name, event.id)
    return events


def delivered(driver, name="seo"):
    return [(event.kind, event.semantic_name, event.version) for event in waiting(driver, name)]


def test_each_change_is_an_event_for_its_subscribers(driver):
    driver.store.subscribe({"snippet.created": ["seo", "backup"], "snippet.deleted": ["seo"]})
    snippet_id = driver.create("note", "a", {})
    driver.update("a", 0, {"n": 1})
    driver.delete("a", False)
    assert driver.store.events_waiting() == {"seo": 2, "backup": 1}
    first = driver.next_event("seo")
    assert (first.kind, first.snippet_id, first.snippet_type, first.semantic_name) == (
        "snippet.created", snippet_id, "note", "a",
    )  # fmt: skip
    assert first.at > 1_600_000_000_000_000
    assert delivered(driver) == [("snippet.created", "a", 1), ("snippet.deleted", "a", 2)]
    assert delivered(driver, "backup") == [("snippet.created", "a", 1)]
    driver.settle()
    assert driver.store.events_waiting() == {}


def test_a_plugin_gets_no_event_for_its_own_change(driver):
    driver.store.subscribe({"snippet.created": ["seo", "backup"]})
    driver.store.create("note", "a", b"{}", lambda made: None, pytest.fail, origin=Origin("seo", plugin="seo"))
    driver.store.commit()
    assert (delivered(driver, "seo"), delivered(driver, "backup")) == ([], [("snippet.created", "a", 1)])


def test_an_event_is_visible_only_after_the_commit(driver):
    driver.store.subscribe(ALL)
    driver.start("create", "note", "a", {})
    assert driver.next_event("seo") is None
    assert list(driver.store.pop_ready()) == []
    driver.store.commit()
    assert list(driver.store.pop_ready()) == ["seo"]
    assert list(driver.store.pop_ready()) == []
    assert driver.next_event("seo").semantic_name == "a"


def test_a_refused_change_has_no_event(driver):
    driver.store.subscribe(ALL)
    driver.create("note", "a", {})
    for answer in (driver.start("create", "note", "a", {}), driver.start("update", "a", 7, {})):
        driver.turn()
        with pytest.raises(Conflict):
            _ = answer.value
    assert delivered(driver) == [("snippet.created", "a", 1)]


def test_unacknowledged_events_survive_a_restart_and_ids_are_not_reused(driver, open_store):
    driver.store.subscribe(ALL)
    driver.create("note", "a", {})
    driver.create("note", "b", {})
    first = driver.next_event("seo")
    driver.store.ack("seo", first.id)
    driver.settle()
    driver.store.close()
    again = open_store()
    second = again.next_event("seo")
    assert (second.semantic_name, second.id) == ("b", first.id + 1)
    again.store.ack("seo", second.id)
    again.settle()
    again.store.close()
    last = open_store()
    last.store.subscribe(ALL)
    last.create("note", "c", {})
    assert last.next_event("seo").id == second.id + 1


def test_an_acknowledgement_costs_no_fsync(driver):
    """Acknowledged events are deleted with the next write, else in an unsynced transaction."""
    driver.store.subscribe(ALL)
    for number in range(5):
        driver.create("note", f"n{number}", {})
    waiting(driver)
    before = driver.store.stats()["commits"]
    driver.start("create", "note", "more", {})
    driver.turn()
    assert driver.store.stats()["commits"] == before + 1
    assert driver.store.events_waiting() == {"seo": 1}
    waiting(driver)
    driver.settle()
    assert driver.store.events_waiting() == {}
    assert driver.store._database.writer.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_full_outbox_drops_the_oldest_and_counts_it(open_store):
    driver = open_store(max_events=3)
    driver.define("note", {})
    driver.store.subscribe(ALL)
    for number in range(7):
        driver.create("note", f"n{number}", {})
    assert driver.store.events_waiting() == {"seo": 3}
    assert [(event.semantic_name, event.lost) for event in waiting(driver)] == [("n4", 4), ("n5", 0), ("n6", 0)]
    # Acknowledged events do not count as lost, even before they are deleted.
    for number in range(7, 10):
        driver.start("create", "note", f"n{number}", {})
        driver.store.commit()
    assert [(event.semantic_name, event.lost) for event in waiting(driver)] == [("n7", 0), ("n8", 0), ("n9", 0)]


def test_dropped_events_are_deleted_in_slices(driver):
    driver.store.subscribe({"snippet.created": ["seo", "backup"]})
    for _ in range(1200):
        driver.start("create", "note", "", {})
    driver.store.commit()
    driver.store.subscribe({"snippet.created": ["backup"]})
    driver.store.drop_events("seo")
    driver.turn()
    assert driver.store.events_waiting() == {"seo": 700, "backup": 1200}
    driver.settle()
    assert driver.store.events_waiting() == {"backup": 1200}


def test_replace_requires_the_record_that_was_read(driver):
    driver.store.subscribe(ALL)
    driver.create("note", "a", {"n": 1, "gone": True})
    seen = driver.preview("a", 0, {"n": 2})
    assert (seen.record.version, seen.content) == (1, b'{"n": 2, "gone": true}')
    driver.replace(seen.record, b'{"n":null}')
    assert driver.get("a").content == b'{"n":null}'
    with pytest.raises(Conflict):
        driver.replace(seen.record, b"{}")
    with pytest.raises(Conflict):
        driver.preview("a", 1, {})
    assert delivered(driver) == [("snippet.created", "a", 1), ("snippet.updated", "a", 2)]
    driver.delete("a", False)
    with pytest.raises(NotFound):
        driver.replace(seen.record, b"{}")


def test_a_store_of_an_older_layout_gets_an_outbox(tmp_path, open_store):
    with sqlite3.connect(tmp_path / "reed.db") as old:
        for statement in MIGRATIONS[0]:
            old.execute(statement)
        old.execute("INSERT INTO types VALUES ('note', x'7b7d')")
        old.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        old.execute("PRAGMA user_version = 1")
    old.close()
    driver = open_store()
    driver.store.subscribe(ALL)
    driver.create("note", "a", {})
    assert delivered(driver) == [("snippet.created", "a", 1)]


def test_on_a_full_disk_exactly_the_acknowledged_writes_have_events(open_store, small_disk):
    driver = open_store(small_disk / "reed.db")
    driver.define("note", {})
    driver.store.subscribe(ALL)
    acknowledged: list[str] = []
    failures = number = 0
    while failures < 3:
        answers = [driver.start("create", "note", f"n{number + n}", {"text": "x" * 2000}) for n in range(10)]
        number += 10
        driver.store.commit()
        failures += bool(answers[0].errors)
        acknowledged += [answer.value for answer in answers if not answer.errors]
    assert number > 100
    assert [event.snippet_id for event in waiting(driver)] == acknowledged
    # The acknowledgements cannot be written: the store must not retry in each turn, nor deliver twice.
    turns = 0
    while driver.store.work(0.0):
        driver.store.commit()
        turns += 1
        assert turns < 20
    assert waiting(driver) == []
    with pytest.raises(StoreFull):
        driver.create("note", "more", {"text": "x" * 20_000})
    driver.store.close()
    connection = sqlite3.connect(small_disk / "reed.db")
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


# Creates snippets forever, delivers their events later, and prints what was acknowledged and delivered.
WRITER = """
import json, os, random, sys, time
from reed.store.sqlite import SqliteStore

store = SqliteStore(sys.argv[1])
fail = lambda error: sys.exit(str(error))
store.define("page", b"{}", lambda new: None, fail)
store.subscribe({"snippet.created": ["seo"]})
store.commit()
said = []
random.seed(int(sys.argv[2]))
def deliver(event):
    if event is not None:
        said.append(("told", event.id, event.snippet_id))
        store.ack("seo", event.id)
while True:
    for _ in range(random.randrange(1, 20)):
        store.create("page", "", b"{}", lambda made: said.append(("made", 0, made)), fail)
    store.work(time.monotonic() + 0.002)
    store.commit()
    for _ in range(random.randrange(0, 16)):
        store.next_event("seo", deliver, fail)
    lines, said[:] = "".join(json.dumps(line) + "\\n" for line in said), []
    os.write(1, lines.encode())
"""


@pytest.mark.parametrize("seed", range(3))
def test_kill_9_loses_no_event_of_an_acknowledged_write(tmp_path, open_store, run_until_killed, seed):
    output = run_until_killed(WRITER, tmp_path / "reed.db", seed, random.Random(seed).randrange(50_000, 300_000))
    lines = [json.loads(line) for line in output]
    made = [snippet_id for kind, _, snippet_id in lines if kind == "made"]
    seen = {event_id: snippet_id for kind, event_id, snippet_id in lines if kind == "told"}
    driver = open_store(tmp_path / "reed.db")
    repeats = 0
    for event in waiting(driver):
        repeats += event.id in seen
        assert seen.setdefault(event.id, event.snippet_id) == event.snippet_id, "an id was reused"
    order = [seen[event_id] for event_id in sorted(seen)]
    assert order[: len(made)] == made
    assert repeats <= 40, "only events of the last turns may be repeated"
    assert len(made) > 100
