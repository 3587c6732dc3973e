"""The outbox: an event for each acknowledged change, in order, until it is acknowledged; also after crashes."""

from __future__ import annotations

import json

import pytest

from reed.errors import Conflict, NotFound
from reed.store import deleted
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
    driver.settle()
    assert (delivered(driver, "seo"), delivered(driver, "backup")) == ([], [("snippet.created", "a", 1)])


def test_a_subscriber_is_ready_once_after_events_were_committed(driver):
    driver.store.subscribe(ALL)
    driver.create("note", "a", {})
    driver.run_until(lambda: list(driver.store.pop_ready()) == ["seo"])
    driver.settle()
    assert list(driver.store.pop_ready()) == []
    assert driver.next_event("seo").semantic_name == "a"


def test_the_waiting_events_of_a_subscriber_are_dropped(driver):
    driver.store.subscribe({"snippet.created": ["seo", "backup"]})
    for _ in range(5):
        driver.create("note", "", {})
    driver.store.drop_events("seo")
    driver.settle()
    assert driver.store.events_waiting() == {"backup": 5}
    assert driver.next_event("seo") is None


def test_a_refused_change_has_no_event(driver):
    driver.store.subscribe(ALL)
    driver.create("note", "a", {})
    for answer in (driver.start("create", "note", "a", {}), driver.start("update", "a", 7, {})):
        driver.settle()
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
    driver.close()
    again = open_store()
    second = again.next_event("seo")
    assert second.semantic_name == "b"
    assert second.id > first.id
    again.store.ack("seo", second.id)
    again.settle()
    again.close()
    last = open_store()
    last.store.subscribe(ALL)
    last.create("note", "c", {})
    assert last.next_event("seo").id > second.id


def told(event):
    """What an event says of a deleted snippet."""
    return json.loads(b"{%b}" % b",".join(filter(None, event.deleted)))


def test_a_deletion_carries_content_and_bonds_also_after_a_restart(driver, open_store):
    driver.define("page", {})
    driver.create("page", "early", {})
    driver.delete("early", False)  # nobody wants to know
    driver.store.subscribe({**ALL, "snippet.deleted": ["seo", "backup"]})
    ids = {name: driver.create("page", name, {"of": name, "n": 1.50}) for name in ("top", "hub", "kid", "alone")}
    top = driver.bond("top", "hub", 7, 'a/"b"')
    kid = driver.bond("hub", "kid", 0, "")
    driver.delete("alone", False)
    driver.delete("hub", True)
    driver.settle()
    driver.close()
    again = open_store()
    again.store.subscribe({**ALL, "snippet.deleted": ["seo", "backup"]})
    for name in ("seo", "backup"):
        alone, hub = [event for event in waiting(again, name) if event.kind == "snippet.deleted"]
        assert told(alone) == {"content": {"of": "alone", "n": 1.5}, "bonds": []}
        assert told(hub)["content"] == {"of": "hub", "n": 1.5}
        assert told(hub)["bonds"] == [
            {"id": kid, "parent": ids["hub"], "child": ids["kid"], "weight": 0, "path": ""},
            {"id": top, "parent": ids["top"], "child": ids["hub"], "weight": 7, "path": 'a/"b"'},
        ]
    again.settle()
    assert again.store.events_waiting() == {}


def test_a_deletion_carries_no_more_than_a_plugin_can_take(driver):
    driver.store.subscribe(ALL)
    driver.define("page", {})
    driver.create("page", "hub", {"text": "x" * deleted.MAX_CONTENT})
    for number in range(80):
        driver.create("page", f"n{number}", {})
        driver.bond("hub", f"n{number}", number, "p" * 1000)
    driver.delete("hub", True)
    event = waiting(driver)[-1]
    assert told(event)["content"] is None
    assert told(event)["content_bytes"] > deleted.MAX_CONTENT
    assert told(event)["more_bonds"] is True
    assert [bond["weight"] for bond in told(event)["bonds"]] == list(range(len(told(event)["bonds"])))
    assert 40 < len(told(event)["bonds"]) < 80
    assert len(event.deleted.bonds) < deleted.MAX_BONDS + 100


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
        driver.settle()
    assert [(event.semantic_name, event.lost) for event in waiting(driver)] == [("n7", 0), ("n8", 0), ("n9", 0)]


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
