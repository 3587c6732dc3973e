"""Hits are marked in the text as it is written, not as it is folded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reed.web.marks import marked


def shown(text: str, query: str) -> str:
    return "".join(f"[{piece}]" if is_hit else piece for piece, is_hit in marked(text, query))


@pytest.mark.parametrize(
    ("text", "query", "expected"),
    [
        ("A static site generator", "site", "A static [site] generator"),
        ("Templates and template", "templ", "[Templates] and [template]"),
        ("a template", "templ x", "a template"),  # only the last word may be a prefix
        ("die große Straße.", "STRASSE", "die große [Straße]."),
        ("cafe\u0301 noir", "café", "[cafe\u0301] noir"),
        ("東京都庁の展望台から", "展望台", "東京都庁の[展望台]から"),
        ("hello, world of hello", '"hello world"', "[hello, world] of hello"),
        ("<b>bold</b>", "bold", "<b>[bold]</b>"),
        ("nothing here", "!!!", "nothing here"),
    ],
)
def test_hits_are_marked(text: str, query: str, expected: str) -> None:
    assert shown(text, query) == expected


@given(st.text(max_size=40), st.text(max_size=10))
def test_no_text_is_lost(text: str, query: str) -> None:
    assert "".join(piece for piece, _ in marked(text, query)) == text
