"""The table of waiting events: commits, slices, a full disk and crashes."""

from __future__ import annotations

import json
import random
import sqlite3

import pytest

from reed.errors import StoreFull
from reed.store.sqlite.database import APPLICATION_ID, MIGRATIONS

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


def test_an_event_is_visible_only_after_the_commit(driver):
    driver.store.subscribe(ALL)
    driver.start("create", "note", "a", {})
    assert driver.next_event("seo") is None
    assert list(driver.store.pop_ready()) == []
    driver.store.commit()
    assert list(driver.store.pop_ready()) == ["seo"]
    assert list(driver.store.pop_ready()) == []
    assert driver.next_event("seo").semantic_name == "a"


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
from tests.inline_store import inline_store

store = inline_store(sys.argv[1])
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
