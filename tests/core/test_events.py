"""Deliveries on a fake clock: order, backoff, parking, and new processes."""

from __future__ import annotations

import json
import logging
from types import SimpleNamespace
from typing import Any

import pytest

from reed.core.events import MAX_TRIES, Events
from reed.errors import CallError, PluginBusy, PluginCrashed
from reed.loop.loop import Loop
from reed.peer_log import PeerLog
from reed.supervision.lifecycle import State
from reed.supervision.manifest import Action
from reed.wire.plugins import PluginAnswer
from tests.inline_store import inline_store


class FakeEndpoint:
    def __init__(self) -> None:
        self.name = "seo"
        self.caller = SimpleNamespace(permissions=frozenset({"snippet_read"}))
        manifest = SimpleNamespace(events={"snippet.created": "hear"})
        self.plugin = SimpleNamespace(state=State.READY, generation=1, manifest=manifest)
        self.asked: list[tuple[dict[str, Any], Any, Any]] = []

    def action(self, name: str) -> Action:
        return Action(name=name, command_id=1)

    def call(self, action: Action, payload: bytes, answered: Any, failed: Any) -> None:
        self.asked.append((json.loads(payload), answered, failed))

    def take(self) -> tuple[dict[str, Any], Any, Any]:
        assert len(self.asked) == 1, "one at a time"
        return self.asked.pop()


class Core:
    def __init__(self, path) -> None:
        self.now = 0.0
        self.loop = Loop(clock=lambda: self.now, on_exception=self._bug, commit=self._commit)
        self.store = inline_store(path, on_due=self.loop.request_commit)
        self.endpoint = FakeEndpoint()
        self.events = Events(
            self.store, {"seo": self.endpoint}, self.loop, PeerLog(logging.getLogger("test"), self.loop)
        )  # type: ignore[dict-item]
        self.events.refresh()
        self.store.define("page", b"{}", lambda new: None, pytest.fail)

    def _bug(self, error: BaseException) -> None:
        raise error

    def _commit(self) -> None:
        self.store.commit()
        self.events.deliver()
        if self.store.has_work:
            self.loop.add_job(self.store.work)

    def create(self, *names: str) -> None:
        for name in names:
            self.store.create("page", name, b"{}", lambda made: None, pytest.fail)
        self.loop.turn(0)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.loop.turn(0)

    def stats(self) -> dict[str, Any]:
        return self.events.stats("seo")


@pytest.fixture
def core(tmp_path):
    core = Core(tmp_path / "reed.db")
    yield core
    core.loop.close()
    core.store.close()


def test_one_at_a_time_in_order(core):
    core.create("a", "b")
    event, answered, _ = core.endpoint.take()
    assert (event["name"], event["version"]) == ("a", 1)
    core.create("c")
    assert core.endpoint.asked == []
    answered(PluginAnswer(204, b"").pack())
    event, answered, _ = core.endpoint.take()
    assert event["name"] == "b"
    answered(PluginAnswer(200, b"{}").pack())
    assert core.endpoint.take()[0]["name"] == "c"


def test_a_failing_event_is_retried_with_backoff_and_then_parked(core, caplog):
    core.create("a", "b")
    for number in range(MAX_TRIES):
        event, answered, failed = core.endpoint.take()
        assert event["name"] == "a"
        if number % 2:
            answered(PluginAnswer(500, b"").pack())
        else:
            failed(CallError("no idea"))
        rest = min(0.2 * 2**number, 30)
        core.wait(rest * 0.9)
        assert core.endpoint.asked == []
        core.wait(rest * 0.1 + 0.001)
    core.wait(1000)
    core.events.state_changed("seo")  # BUSY and READY again do not unpark it
    assert core.endpoint.asked == []
    now = core.stats()
    assert now["events_waiting"] == 2
    assert "event 1 (snippet.created a)" in now["events_parked"]
    assert [record.levelname for record in caplog.records].count("ERROR") == 1
    core.endpoint.plugin.generation = 2
    core.events.state_changed("seo")
    _, answered, _ = core.endpoint.take()
    answered(PluginAnswer(200, b"").pack())
    assert core.endpoint.take()[0]["name"] == "b"
    assert core.stats()["events_parked"] == ""


def test_a_crash_or_a_full_queue_does_not_count_as_a_try(core):
    core.create("a")
    for error in [PluginBusy("full"), PluginCrashed("gone")] * MAX_TRIES:
        core.endpoint.take()[2](error)
        core.wait(0.21)
    core.endpoint.take()[1](PluginAnswer(200, b"").pack())
    core.wait(0)
    core.wait(0)
    assert core.stats() == {"events_waiting": 0, "events_parked": "", "events_slowed": ""}


def test_a_new_process_gets_the_event_at_once(core):
    core.create("a")
    core.endpoint.plugin.state = State.BACKOFF
    core.endpoint.take()[2](PluginCrashed("gone"))
    core.wait(5)
    assert core.endpoint.asked == []
    core.endpoint.plugin.state, core.endpoint.plugin.generation = State.READY, 2
    core.events.state_changed("seo")
    assert core.endpoint.take()[0]["name"] == "a"


def test_an_event_that_the_manifest_no_longer_lists_is_dropped(core):
    core.endpoint.plugin.state = State.STOPPED
    core.create("a", "b")
    core.endpoint.plugin.manifest = SimpleNamespace(events={})
    core.endpoint.plugin.state = State.READY
    core.events.refresh()
    core.events.state_changed("seo")
    for _ in range(4):
        core.loop.turn(0)
    assert (core.endpoint.asked, core.stats()["events_waiting"]) == ([], 0)
