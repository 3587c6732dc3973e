"""The response cache returns the same bytes for the same request, and nothing outdated."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reed.core.response_cache import ResponseCache
from reed.counters import CommandCounters
from reed.loop.loop import READ_BUDGET
from reed.wire import frames
from reed.wire.codes import Command, Flag
from reed.wire.requests import Ref
from reed.wire.snippets import Record, SnippetGot

GET = int(Command.SNIPPET_GET)
MAY_GET = frozenset({GET})
INTRO = Ref("intro").pack()


class Store:
    changes = 1


class Stream:
    """Takes `room` bytes, and queues the rest."""

    def __init__(self, room: int = 1 << 30) -> None:
        self.sent = b""
        self.queued = 0
        self.room = room

    def send_now(self, part: bytes) -> None:
        self.sent += part
        self.queued = max(0, len(self.sent) - self.room)


class Loop:
    """Its turn began `late` seconds ago."""

    def __init__(self, late: float = 0.0) -> None:
        self.began = 0.0
        self.now = lambda: late
        self.over_budget = lambda: late >= READ_BUDGET


def record(content: bytes = b"{}") -> Record:
    return Record("0190f3b1-5c7e-7000-8000-000000000001", "page", "intro", 1, 10, 20, content)


def cache(store: Store, loop: Loop | None = None) -> ResponseCache:
    counters = CommandCounters(time.monotonic, [(GET, "GET")], cached=GET)
    return ResponseCache(store, loop or Loop(), counters)  # type: ignore[arg-type]


def prepared(store: Store, loop: Loop | None = None) -> tuple[ResponseCache, bytes, bytes]:
    replies = cache(store, loop)
    (answer,) = replies.snippet_got(INTRO, record(), store.changes)
    return replies, frames.encode(GET, INTRO), bytes(answer)


def answers(
    replies: ResponseCache, data: bytes, commands: frozenset[int] = MAY_GET, stream: Stream | None = None
) -> tuple[bytes, int]:
    """What was sent, and the size of the requests that this answers."""
    stream = stream or Stream()
    origin = SimpleNamespace(caller=SimpleNamespace(commands=commands), stream=stream)
    taken = replies.take(origin, memoryview(data))  # type: ignore[arg-type]
    return stream.sent, taken


@pytest.mark.parametrize("count", [1, 3, 1000])
def test_the_same_request_gets_the_same_frame(count):
    replies, request, answer = prepared(Store())
    assert answer == frames.encode(GET, SnippetGot(200, record()).pack(), int(Flag.RESPONSE))
    assert answers(replies, request * count) == (answer * count, count * len(request))


def test_callers_without_the_permission_get_nothing():
    replies, request, _ = prepared(Store())
    assert answers(replies, request, frozenset({1, 2})) == (b"", 0)


def test_a_change_of_the_store_invalidates_entries():
    store = Store()
    replies, request, answer = prepared(store)
    store.changes = 2
    assert answers(replies, request) == (b"", 0)
    (changed,) = replies.snippet_got(INTRO, record(b'{"new": true}'), store.changes)
    assert changed != answer
    assert answers(replies, request * 2) == (bytes(changed) * 2, 2 * len(request))


def test_the_same_record_after_a_change_gets_the_same_frame_again():
    store = Store()
    replies = cache(store)
    same = record()
    (answer,) = replies.snippet_got(INTRO, same, 1)
    store.changes = 2
    assert replies.snippet_got(INTRO, same, 2)[0] is answer
    assert answers(replies, frames.encode(GET, INTRO))[0] == answer


def test_a_record_that_was_asked_for_before_a_change_is_not_cached_as_the_current_one():
    """A store may answer late."""
    store = Store()
    replies = cache(store)
    asked_at = store.changes
    store.changes = 2
    replies.snippet_got(INTRO, record(), asked_at)
    assert answers(replies, frames.encode(GET, INTRO)) == (b"", 0)


def test_it_stops_at_the_first_other_request():
    replies, request, answer = prepared(Store())
    other = frames.encode(GET, Ref("other").pack())
    assert answers(replies, request + other + request) == (answer, len(request))
    for flags in Flag:  # flags are part of the request
        assert answers(replies, frames.encode(GET, INTRO, int(flags))) == (b"", 0)


@given(st.binary(max_size=200), st.integers(0, 40))
def test_only_whole_requests_are_answered(rest, cut):
    replies, request, answer = prepared(Store())
    data = request + request[:cut] + rest
    sent, taken = answers(replies, data)
    assert sent == answer * (taken // len(request))
    assert data[:taken] == request * (taken // len(request))
    assert taken >= len(request)


@pytest.mark.parametrize(("stream", "loop"), [(Stream(room=10), Loop()), (Stream(), Loop(late=READ_BUDGET))])
def test_it_stops_when_the_peer_does_not_read_or_the_turn_is_over(stream, loop):
    replies, request, answer = prepared(Store(), loop)
    sent, taken = answers(replies, request * 1000, stream=stream)
    assert sent == answer * (taken // len(request))
    assert len(request) <= taken < 1000 * len(request)


def test_large_replies_are_neither_kept_nor_copied():
    replies = cache(Store())
    large = record(bytes(100_000))
    parts = replies.snippet_got(INTRO, large, 1)
    assert parts[-1] is large.content
    assert b"".join(parts) == frames.encode(GET, SnippetGot(200, large).pack(), int(Flag.RESPONSE))
    assert answers(replies, frames.encode(GET, INTRO)) == (b"", 0)
