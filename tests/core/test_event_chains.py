"""Chains of events on a fake clock: causes, depths and delays."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from reed.core.event_chains import MAX_DELAY, MAX_FREE_DEPTH, REACTION_SECONDS, EventChains
from reed.loop.loop import Loop
from reed.peer_log import PeerLog
from reed.store.base import NO_CAUSE, Cause, Event


class World:
    """Plugins a, b and c; `calls` lists the plugins whose calls each has in flight."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: dict[str, set[str]] = {name: set() for name in "abc"}
        links = {name: SimpleNamespace(queue=SimpleNamespace(origins=lambda n=name: self.calls[n])) for name in "abc"}
        self.chains = EventChains(
            links, lambda: self.now, PeerLog(logging.getLogger("test"), Loop(on_exception=pytest.fail))
        )  # type: ignore[arg-type]

    def event(self, cause: Cause = NO_CAUSE, snippet: str = "s") -> Event:
        return Event(1, "snippet.updated", snippet, "page", "", 1, 0, 0, cause)


@pytest.fixture
def world() -> World:
    return World()


def test_a_change_outside_any_event_has_no_cause(world):
    assert world.chains.cause_of("a", "s") == NO_CAUSE


def test_each_reaction_is_one_deeper_and_names_its_plugin(world):
    cause = NO_CAUSE
    for depth, name in enumerate("abab", 1):
        world.chains.begin(name, world.event(cause))
        cause = world.chains.cause_of(name, "s")
        world.chains.end(name)
        assert cause.depth == depth
    assert set(cause.plugins) == {"a", "b"}


def test_a_write_in_a_call_of_a_plugin_that_handles_an_event_continues_the_chain(world):
    world.chains.begin("a", world.event(Cause(3, ("c",))))
    world.calls["b"] = {"a"}
    world.calls["a"] = {"b"}  # a cycle of calls
    assert world.chains.cause_of("b", "s") == Cause(4, ("c", "a", "b"))
    world.chains.end("a")
    assert world.chains.cause_of("b", "s") == NO_CAUSE


def test_a_late_reaction_counts_for_the_same_snippet_for_a_while(world):
    world.chains.begin("a", world.event(Cause(2, ("b",))))
    world.chains.end("a")
    assert world.chains.cause_of("a", "another") == NO_CAUSE
    assert world.chains.cause_of("a", "s") == Cause(3, ("b", "a"))
    world.now += REACTION_SECONDS
    assert world.chains.cause_of("a", "s") == NO_CAUSE


def test_delays_grow_for_plugins_in_the_chain_only(world, caplog):
    def pause(name: str, depth: int) -> float:
        return world.chains.delay(name, world.event(Cause(depth, ("a", "b"))))

    assert pause("a", MAX_FREE_DEPTH) == 0
    assert world.chains.slowed("a") == ""
    grown = [pause("a", MAX_FREE_DEPTH + more) for more in range(1, 40)]
    assert grown[0] > 0
    assert grown == sorted(grown)
    assert grown[-1] == MAX_DELAY
    assert pause("c", MAX_FREE_DEPTH + 20) == 0
    assert "a, b" in world.chains.slowed("a")
    assert world.chains.slowed("c") == ""
    assert len(caplog.records) == 1
    world.now += 3 * MAX_DELAY
    assert world.chains.slowed("a") == ""
