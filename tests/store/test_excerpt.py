"""Excerpts: the words around the terms, for any text and query."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reed.store.excerpt import Excerpts, _Folded
from reed.store.folding import fold
from reed.store.query import Term, parse

LONG = " ".join(f"word{number}" for number in range(20_000))


def excerpt(query: str, *texts: str) -> str:
    return shown(parse(query), *texts)


def shown(terms: list[Term], *texts: str) -> str:
    return Excerpts(terms).of(texts)


@pytest.mark.parametrize(
    ("query", "text", "found"),
    [
        ("cafe", "A Café in Kraków", "A Café in Kraków"),
        ("krak", "A Café in Kraków", "A Café in Kraków"),
        ("word15000", LONG, "word15000"),
        ('"over the"', "over a fence, over the hill " + LONG, "over the hill"),
        ("naïve", "it was (naive) of him", "(naive)"),
        ("o'neil", "Shaquille O'Neil", "O'Neil"),
        ("strasse", "ßæœ " * 2000 + "die lange Straße " + LONG, "lange Straße word0"),
        ("Straße", "ÆØß " * 2000 + "Hauptstrasse, STRASSE " + LONG, "STRASSE word0"),
        ('"øl smør"', LONG[:2000] + " ol smor " + LONG, "ol smor"),
        ("art", "party, start, art", "art"),
        ("展望台", "東京都庁の展望台から " + LONG, "東京都庁の展望台から word0"),
        ("οδυσσευσ", "ﬁ " * 3000 + "ὁ Ὀδυσσεύς " + LONG, "Ὀδυσσεύς"),
        ("cooperate", LONG[:4000] + " co\u00adop\u00aderate " + LONG, "co\u00adop\u00aderate"),
    ],
)
def test_an_excerpt_shows_the_terms(query, text, found):
    assert found in excerpt(query, text)


def test_omitted_words_are_marked():
    assert excerpt("word15000", LONG).startswith("…")
    assert excerpt("word15000", LONG).endswith("…")
    assert excerpt("word0", LONG).startswith("word0 ")
    assert excerpt("little", "a little text") == "a little text"


def test_the_window_with_most_terms_is_shown():
    text = f"red alone {LONG[:3000]} red and green together {LONG[:3000]} green alone"
    assert "red and green" in excerpt("red green", text)
    assert excerpt("red green", "red", "no colour", "green red") == "green red"


def test_a_text_without_the_term_is_shown_from_its_beginning():
    assert excerpt("absent", "one two", "three") == "one two"
    assert excerpt("absent") == ""


@given(st.text() | st.text("ßﬁæÆœŒø日ガ가\u0301\u00ad aﷺ", max_size=1000))
def test_a_folded_position_maps_into_the_text(text):
    folded = _Folded(text)
    for at in range(0, len(folded.text), 37):
        origin = folded.origin(at)
        assert 0 <= origin < len(text)
        assert fold(text[origin:])[:1] == folded.text[at] or abs(len(fold(text[:origin])) - at) <= 20


@given(st.text("ßẞæÆœŒøŁıe日ガ ", max_size=3000), st.text("ßæœøxk", min_size=2, max_size=9))
def test_a_folded_position_maps_to_the_original_one(before, word):
    assert word in excerpt(fold(word), f"{before} {word} {LONG}").split()


@given(
    st.text(), st.lists(st.text(string.ascii_letters + "éüß日ﬁİ", min_size=1), min_size=1, max_size=4), st.booleans()
)
def test_any_text_and_words_give_an_excerpt_of_the_text(text, words, is_beginning):
    terms = [Term(fold(word)) for word in words[:-1]] + [Term(fold(words[-1]), is_beginning)]
    found = shown(terms, text).strip("…").split()
    assert " ".join(found) in " ".join(text.split()) or "…" in text
