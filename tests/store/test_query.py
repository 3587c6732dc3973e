"""Queries and the folding of texts."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reed.store.folding import fold
from reed.store.query import MAX_QUERY, MAX_WORDS, parse


@given(st.text())
def test_folding_is_stable(text):
    assert fold(fold(text)) == fold(text)
    for form in ("NFC", "NFD"):
        assert fold(unicodedata.normalize(form, text)) == fold(text)


@pytest.mark.parametrize(
    ("query", "terms"),
    [
        ("a " * 100, ["a"]),
        ("a_" * 100, ["a_" * 7 + "a"]),
        ("a_" * 12, ["a_" * 7 + "a", "a_" * 4]),
        ("1ส1ส1ส1สี", ["1ส1ส1ส1ส"]),
        ("b a b", ["a", "b"]),
        ('"one two" "one  two" one', ["one two", "one  two", "one"]),
        ("x" * 2000, ["x" * MAX_QUERY]),
        (" ".join(f"w{n}" for n in range(40)), [f"w{n}" for n in range(MAX_WORDS)]),
        ('"1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17"', ["1 2 3 4 5 6 7 8", "9 10 11 12 13 14 15 16", "17"]),
    ],
)
def test_what_a_query_may_cost_is_bounded(query, terms):
    assert sorted(term.text for term in parse(query)) == sorted(terms)
