"""Tokens with a clock of the test's own."""

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

    def lets_in(self, caller: Caller | None, pid: int, times: int = 1) -> int:
        """So many of these connections."""
        return sum(
            self.rates.refusal(pid) is None and self.rates.connects(caller, pid, uid=1000) is None for _ in range(times)
        )


@pytest.fixture
def door() -> Door:
    return Door()


def test_a_burst_and_then_the_rate(door):
    assert door.lets_in(SEO, 7, 30) == 10
    for _ in range(20):
        door.now += 0.5
        assert door.lets_in(SEO, 7, 30) == 5


def test_all_processes_of_a_plugin_share_and_others_do_not_notice(door):
    assert sum(door.lets_in(SEO, pid) for pid in range(100, 130)) == 10
    assert door.lets_in(ANNA, 9, 30) == 20
    assert door.lets_in(None, 8) == 0, "whoever has no name counts for its user"
    assert door.lets_in(ROOT, 1, 10_000) == 10_000


def test_what_it_is_told(door):
    door.lets_in(SEO, 7, 10)
    frame = door.rates.connects(SEO, 7, 1000)
    assert frame is not None
    error = ErrorResponse.unpack(memoryview(frame)[HEADER.size :])
    assert error.status == 429
    assert "limits.plugin_connects" in error.message
    assert door.rates.refusal(7) == frame
    door.now += REFUSE_SECONDS
    assert door.rates.refusal(7) is None


def test_processes_of_another_pid_namespace_are_not_one(door):
    assert door.lets_in(ANNA, 0, 30) == 20
    assert door.lets_in(ROOT, 0, 30) == 30


def test_a_plugin_that_goes_on_is_killed_once_and_a_user_is_not(door):
    door.lets_in(SEO, 7, MAX_REFUSED + 20_000)
    door.lets_in(ANNA, 9, MAX_REFUSED + 20_000)
    assert door.killed == ["seo"]


def test_a_plugin_that_is_refused_now_and_then_is_not_killed(door):
    for _ in range(100):
        door.lets_in(SEO, 7, MAX_REFUSED // 2)
        door.now += 1.0
    assert door.killed == []
