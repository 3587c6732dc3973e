"""A core that stops waits for the writes that were begun before, and for no others."""

from __future__ import annotations

from reed.store.schema_cost import MAX_CONTENT_IN_LOOP
from reed.store.workers import Origin

LONG = "x" * (MAX_CONTENT_IN_LOOP + 1)  # its check is a worker's job


def test_when_idle_waits_for_nothing_that_is_begun_later(open_store):
    driver = open_store()
    driver.define("page", {})
    away = driver.start("create", "page", "", {"title": LONG}, origin=Origin("alice", 1))
    later = []

    def is_idle():
        assert len(later) < 300, "later writes keep it waiting"
        later.append(driver.start("create", "page", "", {"title": LONG}, origin=Origin("busy", len(later))))
        return calls

    calls = []
    driver.store.when_idle(lambda: calls.append(away.is_there))
    driver.run_until(is_idle)
    assert calls == [True]
    assert not all(answer.is_there for answer in later)
    driver.settle()
