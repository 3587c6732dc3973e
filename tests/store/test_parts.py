"""The small parts: merge patches, ids, the cache of records."""

from __future__ import annotations

import copy
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reed.store.sqlite.cache import RecordCache
from reed.store.sqlite.ids import Ids, sequence_of
from reed.store.sqlite.patch import merge
from reed.wire.snippets import Record

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.sampled_from("abc"), part, max_size=3),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [  # RFC 7396, appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(target, patch, result):
    assert merge(target, patch) == result


@given(JSON, JSON)
def test_merge_patch_twice_is_once_and_changes_neither(target, patch):
    before = copy.deepcopy((target, patch))
    once = merge(target, patch)
    assert merge(once, patch) == once
    assert (target, patch) == before


@given(st.lists(st.integers(0, 2**62), min_size=2, max_size=50), st.integers(0, 2**50))
def test_ids_rise_whatever_the_clock_does(clock, floor):
    ids = Ids(floor)
    given_out = [ids.next(now) for now in clock]
    assert given_out == sorted(given_out, key=lambda pair: pair[1])
    assert len({sequence for sequence, _ in given_out}) == len(clock)
    for sequence, text in given_out:
        assert sequence > floor
        assert sequence_of(text) == sequence
        assert (uuid.UUID(text).version, uuid.UUID(text).variant) == (7, uuid.RFC_4122)


def test_an_id_tells_its_time():
    _, text = Ids(0).next(1_763_863_463_123_456_789)
    assert uuid.UUID(text).int >> 80 == 1_763_863_463_123


def record(number: int, size: int = 0, name: str = "") -> Record:
    return Record(f"{number:036}", "page", name, 1, 0, 0, b"x" * size)


def test_the_cache_keeps_what_was_read_last_and_stays_within_its_bytes():
    cache = RecordCache(20_000)
    for number in range(10):
        cache.put(record(number, 1000, f"n{number}"))
        cache.get("n0")
    assert cache.size <= 20_000
    assert cache.get("n0") == cache.get(record(0).id) == record(0, 1000, "n0")
    cache.put(record(10, 1000))
    cache.put(record(11, 1000))
    assert cache.get("n1") is None
    assert cache.get("n0") is not None


def test_the_cache_forgets_a_record_under_both_its_refs():
    cache = RecordCache(20_000)
    cache.put(record(1, 10, "intro"))
    cache.put(record(1, 20, "intro"))
    assert len(cache) == 1
    cache.forget(record(1).id)
    assert cache.get("intro") is None
    assert (len(cache), cache.size) == (0, 0)
    cache.put(record(2, 5000))
    assert len(cache) == 0, "too large a part of the whole"
