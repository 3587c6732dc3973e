"""The response cache returns the same bytes for the same request, and nothing outdated."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reed.core.response_cache import ResponseCache
from reed.wire import frames
from reed.wire.codes import Command, Flag
from reed.wire.snippets import Record, SnippetGot

GET = int(Command.SNIPPET_GET)
ROOM = 100_000
MAY_GET = frozenset({GET})


class Store:
    changes = 1


def record(content: bytes = b"{}") -> Record:
    return Record("0190f3b1-5c7e-7000-8000-000000000001", "page", "intro", 1, 10, 20, content)


def prepared(store: Store, ref: bytes = b"intro") -> tuple[ResponseCache, bytes, bytes]:
    replies = ResponseCache(store, None, None)  # type: ignore[arg-type]
    (answer,) = replies.snippet_got(ref, record(), store.changes)
    return replies, frames.encode(GET, ref), answer


def test_the_same_request_gets_the_same_frame():
    replies, request, answer = prepared(Store())
    assert answer == frames.encode(GET, SnippetGot(200, record()).pack(), int(Flag.RESPONSE))
    assert replies.lookup(MAY_GET, memoryview(request * 3), ROOM) == ([answer] * 3, 3 * len(request))
    assert replies.lookup(MAY_GET, memoryview(request * 3), len(answer) + 1) == ([answer] * 2, 2 * len(request))


def test_callers_without_the_permission_get_nothing():
    replies, request, _ = prepared(Store())
    assert replies.lookup(frozenset({1, 2}), memoryview(request), ROOM) == ([], 0)


def test_a_change_of_the_store_invalidates_entries():
    store = Store()
    replies, request, answer = prepared(store)
    store.changes = 2
    assert replies.lookup(MAY_GET, memoryview(request), ROOM) == ([], 0)
    (changed,) = replies.snippet_got(b"intro", record(b'{"new": true}'), store.changes)
    assert changed != answer
    assert replies.lookup(MAY_GET, memoryview(request), ROOM) == ([changed], len(request))


def test_a_record_that_was_asked_for_before_a_change_is_not_cached_as_the_current_one():
    """A store may answer late."""
    store = Store()
    replies = ResponseCache(store, None, None)  # type: ignore[arg-type]
    asked_at = store.changes
    store.changes = 2
    replies.snippet_got(b"intro", record(), asked_at)
    assert replies.lookup(MAY_GET, memoryview(frames.encode(GET, b"intro")), ROOM) == ([], 0)


def test_lookup_stops_at_the_first_other_request():
    replies, request, answer = prepared(Store())
    other = frames.encode(GET, b"other")
    assert replies.lookup(MAY_GET, memoryview(request + other + request), ROOM) == ([answer], len(request))
    for flags in Flag:  # flags are part of the request
        assert replies.lookup(MAY_GET, memoryview(frames.encode(GET, b"intro", int(flags))), ROOM) == ([], 0)


@given(st.binary(max_size=200), st.integers(0, 40))
def test_only_whole_requests_are_answered(rest, cut):
    replies, request, answer = prepared(Store())
    data = request + request[:cut] + rest
    answers, taken = replies.lookup(MAY_GET, memoryview(data), ROOM)
    assert taken == len(answers) * len(request)
    assert data[:taken] == request * len(answers)
    assert set(answers) == {answer}


def test_large_replies_are_neither_kept_nor_copied():
    replies = ResponseCache(Store(), None, None)  # type: ignore[arg-type]
    large = record(bytes(100_000))
    parts = replies.snippet_got(b"large", large, 1)
    assert parts[-1] is large.content
    assert b"".join(parts) == frames.encode(GET, SnippetGot(200, large).pack(), int(Flag.RESPONSE))
    assert replies.lookup(MAY_GET, memoryview(frames.encode(GET, b"large")), ROOM) == ([], 0)
