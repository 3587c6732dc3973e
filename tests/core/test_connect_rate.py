"""Connection rates on a fake clock."""

from __future__ import annotations

import logging

import pytest

from reed.config import Limits
from reed.core.calls import Caller
from reed.core.connect_rate import MAX_REFUSED, REFUSE_SECONDS, ConnectRates
from reed.loop.loop import Loop
from reed.peer_log import PeerLog
from reed.wire.common import ErrorResponse
from reed.wire.structs import HEADER

NONE = frozenset()
SEO = Caller("plugin seo", "seo", NONE, NONE, NONE, is_admin=False)
ANNA = Caller("anna (uid 1000)", "", NONE, NONE, NONE, is_admin=False)
ROOT = Caller("root (uid 0)", "", NONE, NONE, NONE, is_admin=True)


class Door:
    def __init__(self) -> None:
        self.now = 100.0
        self.killed: list[str] = []
        log = PeerLog(logging.getLogger("test"), Loop(clock=lambda: self.now, on_exception=pytest.fail))
        limits = Limits(plugin_connects=10, user_connects=20)
        self.rates = ConnectRates(limits, lambda: self.now, log, self._kill)

    def _kill(self, plugin: str, _why: str) -> None:
        self.killed.append(plugin)

    def accepted(self, caller: Caller | None, pid: int, times: int = 1) -> int:
        """How many of these connections are accepted."""
        return sum(
            self.rates.refusal(pid) is None and self.rates.connects(caller, pid, uid=1000) is None for _ in range(times)
        )


@pytest.fixture
def door() -> Door:
    return Door()


def test_a_burst_and_then_the_rate(door):
    assert door.accepted(SEO, 7, 30) == 10
    for _ in range(20):
        door.now += 0.5
        assert door.accepted(SEO, 7, 30) == 5


def test_all_processes_of_a_plugin_share_one_bucket(door):
    assert sum(door.accepted(SEO, pid) for pid in range(100, 130)) == 10
    assert door.accepted(ANNA, 9, 30) == 20
    assert door.accepted(None, 8) == 0, "without a caller, it counts for the uid"
    assert door.accepted(ROOT, 1, 10_000) == 10_000


def test_a_refusal_is_repeated_until_it_expires(door):
    door.accepted(SEO, 7, 10)
    frame = door.rates.connects(SEO, 7, 1000)
    assert frame is not None
    error = ErrorResponse.unpack(memoryview(frame)[HEADER.size :])
    assert error.status == 429
    assert "limits.plugin_connects" in error.message
    assert door.rates.refusal(7) == frame
    door.now += REFUSE_SECONDS
    assert door.rates.refusal(7) is None


def test_processes_without_a_pid_are_not_treated_as_one(door):
    assert door.accepted(ANNA, 0, 30) == 20
    assert door.accepted(ROOT, 0, 30) == 30


def test_only_a_plugin_that_floods_is_killed(door):
    door.accepted(SEO, 7, MAX_REFUSED + 20_000)
    door.accepted(ANNA, 9, MAX_REFUSED + 20_000)
    assert door.killed == ["seo"]


def test_a_plugin_that_is_refused_occasionally_is_not_killed(door):
    for _ in range(100):
        door.accepted(SEO, 7, MAX_REFUSED // 2)
        door.now += 1.0
    assert door.killed == []
