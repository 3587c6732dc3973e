"""Merge patches, ids, the record cache."""

from __future__ import annotations

import json
import uuid

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reed.store.ids import Ids, sequence_of
from reed.store.merge_patch import merge
from reed.store.record_cache import RecordCache
from reed.wire.snippets import Record

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.sampled_from("abc"), part, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.sampled_from("abc"), JSON, max_size=3)


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [  # RFC 7396, appendix A: those whose patch is an object
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({"v": [1, 2]}, {"v": {"a": "b", "c": None}}, {"v": {"a": "b"}}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(target, patch, result):
    assert merged(target, patch) == result


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(OBJECTS, OBJECTS, st.sampled_from([None, 1]), st.sampled_from([None, "\t"]))
def test_merge_patch_follows_the_rfc_and_is_idempotent(target, patch, indent, patch_indent):
    once = merged(target, patch, indent, patch_indent)
    assert once == apply(target, patch)
    assert list(once) == list(apply(target, patch))
    assert merged(once, patch) == once


def test_a_merge_patch_copies_the_text_of_what_it_does_not_name():
    target = '{"n": 18446744073709551615, "f":0.1000000000000000055511151231257827,\n "o": {"e": 1E2, "-": -0, "x": 1}}'
    text, value = merge(target, '{"new": 1.50, "o": {"x": null, "\\u0065": 2.50}}')
    expected = target.replace("1E2", "2.50").replace(', "x": 1', "").replace("}}", '},"new":1.50}')
    assert text == expected
    assert value == json.loads(expected)
    assert merge(target, "{}")[0] == target


def merged(target, patch, indent=None, patch_indent=None):
    text, value = merge(json.dumps(target, indent=indent), json.dumps(patch, indent=patch_indent))
    assert json.loads(text) == value
    return value


def apply(target, patch):
    """The pseudocode of RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    target = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        else:
            target[key] = apply(target.get(key), value)
    return target


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


def test_an_id_contains_its_time():
    _, text = Ids(0).next(1_763_863_463_123_456_789)
    assert uuid.UUID(text).int >> 80 == 1_763_863_463_123


def record(number: int, size: int = 0, name: str = "") -> Record:
    return Record(f"{number:036}", "page", name, 1, 0, 0, b"x" * size)


def test_the_cache_evicts_the_least_recently_used_within_its_bytes():
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


def test_the_cache_discards_a_record_under_both_refs():
    cache = RecordCache(20_000)
    cache.put(record(1, 10, "intro"))
    cache.put(record(1, 20, "intro"))
    assert len(cache) == 1
    cache.discard(record(1).id)
    assert cache.get("intro") is None
    assert (len(cache), cache.size) == (0, 0)
    cache.put(record(2, 5000))
    assert len(cache) == 0, "too large a part of the whole"
