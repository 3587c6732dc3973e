"""The log of peers: escaped text, a token bucket for each peer, and the count of suppressed lines."""

from __future__ import annotations

import logging

import pytest

from reed.peer_log import PeerLog
from reed.text import safe, safe_lines


class FakeLoop:
    """A clock that tests turn, and the timers that are due."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.timers: list[tuple[float, object]] = []

    def now(self) -> float:
        return self.seconds

    def call_later(self, seconds: float, callback) -> None:
        self.timers.append((self.seconds + seconds, callback))

    def pass_time(self, seconds: float) -> None:
        self.seconds += seconds
        due = [callback for when, callback in self.timers if when <= self.seconds]
        self.timers = [timer for timer in self.timers if timer[0] > self.seconds]
        for callback in due:
            callback()


@pytest.fixture
def loop() -> FakeLoop:
    return FakeLoop()


@pytest.fixture
def log(loop: FakeLoop, caplog: pytest.LogCaptureFixture) -> PeerLog:
    caplog.set_level(logging.INFO)
    return PeerLog(logging.getLogger("tests.peer_log"), loop, 10)  # type: ignore[arg-type]


def test_a_peer_has_a_burst_and_a_rate_and_the_rest_is_counted(loop, log, caplog) -> None:
    for number in range(1000):
        log.info("line %d", number, peer="loud")
    assert caplog.messages == [f"line {number}" for number in range(100)]
    loop.pass_time(5)
    assert "loud: 900 more log lines suppressed" in caplog.messages[100]
    caplog.clear()
    for number in range(1000):
        log.info("line %d", number, peer="loud")
    assert len(caplog.messages) == 50
    log.close()
    assert "loud: 950 more log lines suppressed" in caplog.messages[50]


def test_a_peer_below_the_rate_loses_nothing(loop, log, caplog) -> None:
    for _ in range(200):
        log.warning("a line", peer="quiet")
        loop.pass_time(0.1)
    assert len(caplog.messages) == 200


def test_peers_have_separate_buckets(log, caplog) -> None:
    for _ in range(1000):
        log.info("flood", peer="plugin loud")
    log.info("heard", peer="quiet")
    assert caplog.messages == ["flood"] * 100 + ["heard"]


def test_full_buckets_are_dropped(loop, log, caplog) -> None:
    for number in range(5000):
        log.info("once", peer=f"peer {number}")
        loop.pass_time(1)
    assert len(log._buckets) <= 1000
    assert len(caplog.messages) == 5000


def test_lines_are_printable_and_bounded(log, caplog) -> None:
    log.error("%s: said %s", "evil\nname", "\x1b]0;x\x07\u202e\u2028\ud800\n2026 ERROR forged", peer="evil")
    log.error("%s", "é" * 1_000_000, peer="evil")
    first, second = caplog.messages
    assert first == "evil name: said \\x1b]0;x\\x07\\u202e\\u2028\\ud800 2026 ERROR forged"
    assert len(second) < 5000


def test_the_traceback_of_a_bug_forges_no_line(log, caplog) -> None:
    try:
        int("x\n2026-01-01 ERROR   forged\x1b[2J")
    except ValueError as error:
        log.bug(error)
        try:
            raise RuntimeError("2026\n2026-01-01 ERROR   forged \x1b[2J") from error
        except RuntimeError as other:
            log.bug(other)
    for message in caplog.messages:
        first, *more = message.split("\n")
        assert first.isprintable()
        assert "Traceback (most recent call last):" in more[0]
        assert all(line.startswith("    ") and line.isprintable() for line in more)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ünïcode 日本語 🙂", "plain ünïcode 日本語 🙂"),
        ("\x00\x07\x1b\x7f\x85\x9b", "\\x00\\x07\\x1b\\x7f\\x85\\x9b"),
        ("\u061c\u200e\u200f\u202a\u202e\u2066\u2069", "\\u061c\\u200e\\u200f\\u202a\\u202e\\u2066\\u2069"),
        ("\u2028\u2029\ufeff\u200b", "\\u2028\\u2029\\ufeff\\u200b"),
        ("\U000e0041\U000f0000", "\\U000e0041\\U000f0000"),
        ("\udc80", "\\udc80"),
        ("a\nb\r\tc", "a b  c"),
    ],
)
def test_safe_text(text: str, shown: str) -> None:
    assert safe(text) == shown
    assert safe(text).isprintable()


def test_safe_lines_indents_all_lines_but_the_first() -> None:
    assert safe_lines("a\tb\nc\x1b\n") == "a    b\nc\\x1b\n"
    assert safe_lines("one\ntwo\nthree", indent="  ") == "one\n  two\n  three"
