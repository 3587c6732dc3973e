"""JSON whose numbers keep their digits."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reed.errors import Invalid, Malformed
from reed.store.merge_patch import merge
from reed.wire.exact_json import Number, dumps, join, load_object, loads, patch, size, steps

TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?", fullmatch=True)
SCALARS = st.none() | st.booleans() | TEXTS | NUMBERS.map(Number)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=20
)
OBJECTS = st.dictionaries(st.sampled_from("abcde") | TEXTS, VALUES, max_size=5)


@given(VALUES, st.sampled_from([0, 2]))
def test_a_value_survives_its_text(value: object, indent: int) -> None:
    assert loads(dumps(value, indent)) == value


@given(VALUES)
def test_the_text_is_that_of_the_standard_library(value: object) -> None:
    text = dumps(value)
    assert json.dumps(json.loads(text), ensure_ascii=False, indent=2) == json.dumps(
        json.loads(dumps(value, 2)), ensure_ascii=False, indent=2
    )


def test_numbers_keep_their_digits() -> None:
    text = "[1,1.0,1e2,-0,123456789012345678901234567890,0.10]"
    assert dumps(loads(text)) == text
    assert Number("1") != Number("1.0")


@pytest.mark.parametrize("text", ["", "{", '{"a":1,"a":2}', "NaN", "1e999", '"\\ud800"', "[" * 70 + "]" * 70])
def test_what_the_core_refuses_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        loads(text)


@given(st.lists(TEXTS, max_size=4))
def test_a_pointer_leads_back_to_its_steps(path: list[str]) -> None:
    pointer = ""
    for step in path:
        pointer = join(pointer, step)
    assert steps(pointer) == path


def test_size_counts_every_value() -> None:
    assert size(loads('{"a": [1, 2, {}], "b": "c"}')) == 6


def test_a_patch_names_only_what_changed_and_keeps_digits():
    old = load_object(b'{"a": 1, "b": {"c": 1.0, "d": [1]}, "e": {"f": null}, "g": "1"}')
    new = load_object(b'{"g": "1", "a": 1.0, "b": {"d": [1, {"x": null}]}, "e": {"f": null}, "h": {}}')
    assert dumps(patch(old, new)) == '{"a":1.0,"b":{"c":null,"d":[1,{"x":null}]},"h":{}}'
    assert patch(old, load_object(dumps(old).encode())) == {}
    assert patch(old, load_object(dumps(old, 2).encode())) == {}
    with pytest.raises(Invalid, match=r"\$\.b\.z\.y"):
        patch(old, load_object(b'{"b": {"z": {"y": null}}}'))


@settings(deadline=None)
@given(OBJECTS, OBJECTS)
def test_a_patch_turns_one_content_into_the_other(old: dict, new: dict) -> None:
    try:
        change = patch(old, new)
    except Invalid:
        assert "null" in dumps(new)
        return
    text, _ = merge(dumps(old), dumps(change))
    assert loads(text) == new
