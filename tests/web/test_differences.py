"""Differences of two contents, and the choices between them."""

from __future__ import annotations

from hypothesis import given, settings

from reed.web.differences import Side, changed_lines, differences, resolved
from reed.wire.exact_json import ABSENT, dumps, loads
from tests.wire.test_exact_json import OBJECTS


def choose(found: list, choice: str) -> dict[str, str]:
    return {each.pointer: choice for each in found}


@settings(deadline=None)
@given(OBJECTS, OBJECTS, OBJECTS)
def test_all_of_mine_is_mine_and_all_of_theirs_is_theirs(base: object, mine: object, theirs: object) -> None:
    found = differences(base, mine, theirs)
    assert resolved(found, theirs, choose(found, "mine")) == (mine, [])
    assert resolved(found, theirs, choose(found, "theirs")) == (theirs, [])


@settings(deadline=None)
@given(OBJECTS, OBJECTS)
def test_what_only_one_changed_needs_no_decision(base: object, changed: object) -> None:
    assert resolved(differences(base, changed, base), base, {}) == (changed, [])
    assert resolved(differences(base, base, changed), changed, {}) == (changed, [])


@settings(deadline=None)
@given(OBJECTS, OBJECTS)
def test_without_a_base_everything_must_be_chosen(mine: object, theirs: object) -> None:
    found = differences(ABSENT, mine, theirs)
    assert resolved(found, theirs, {}) == (theirs, [each.pointer for each in found])


def test_changes_of_different_members_join() -> None:
    base, mine, theirs = map(
        loads,
        (
            '{"title": "A", "n": 1, "author": {"name": "X", "age": 1}, "tags": ["a"]}',
            '{"title": "B", "n": 1.0, "author": {"name": "X", "age": 2}, "tags": ["a"]}',
            '{"title": "C", "n": 1, "author": {"name": "Y", "age": 1}, "tags": ["a", "b"], "new": null}',
        ),
    )
    found = differences(base, mine, theirs)
    assert [(each.pointer, each.side) for each in found] == [
        ("/title", Side.BOTH),
        ("/n", Side.MINE),
        ("/author/name", Side.THEIRS),
        ("/author/age", Side.MINE),
        ("/tags", Side.THEIRS),
        ("/new", Side.THEIRS),
    ]
    content, undecided = resolved(found, theirs, {})
    assert undecided == ["/title"]
    content, undecided = resolved(found, theirs, {"/title": "mine", "/tags": "mine"})
    assert not undecided
    assert dumps(content) == ('{"title":"B","n":1.0,"author":{"name":"Y","age":2},"tags":["a"],"new":null}')


def test_changed_lines_have_their_context() -> None:
    old = "\n".join("abcdefghij")
    new = old.replace("e", "E").replace("j", "j\nk")
    marks = [(line.mark, line.text) for line in changed_lines(old, new)]
    assert marks == [
        ("…", ""), (" ", "c"), (" ", "d"), ("-", "e"), ("+", "E"), (" ", "f"), (" ", "g"),
        ("…", ""), (" ", "i"), (" ", "j"), ("+", "k"),
    ]  # fmt: skip
    assert changed_lines(old, old) == []


def test_long_texts_are_shown_whole() -> None:
    lines = changed_lines("a\n" * 400, "b\n" * 400)
    assert [line.mark for line in lines] == ["-"] * 400 + ["+"] * 400
