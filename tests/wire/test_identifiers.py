"""Which names are valid, and that each valid name fits its field."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reed.errors import Malformed
from reed.wire import identifiers
from reed.wire.structs import pack_text, unpack_text

SLUG = st.from_regex(r"[a-z][a-z0-9-]{0,30}", fullmatch=True)
SEMANTIC = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,30}", fullmatch=True)
BAD_SLUGS = ["", "A", "1a", "-a", "a_b", "a.b", "a b", "ä", "a\n", "a" * 32, "a\0", "a/b"]
BAD_SEMANTIC_NAMES = ["", "/a", ".a", "-a", "$a", "a b", "ä", "a\n", "a" * 32, "a\0", "a:b"]


@given(SLUG)
def test_names_of_plugins_and_types(name: str) -> None:
    assert identifiers.is_type_name(name)
    assert identifiers.check("plugin name", name) == identifiers.check("type name", name) == name
    assert unpack_text(pack_text(name, 32)) == name


@given(SEMANTIC)
def test_names_of_snippets(name: str) -> None:
    assert identifiers.is_semantic_name(name)
    assert identifiers.check("semantic name", name) == name
    assert unpack_text(pack_text(name, 32)) == unpack_text(pack_text(name, 36)) == name


@pytest.mark.parametrize("name", BAD_SLUGS)
def test_bad_names_of_plugins_and_types(name: str) -> None:
    assert not identifiers.is_type_name(name)
    for kind in ("plugin name", "type name"):
        with pytest.raises(Malformed):
            identifiers.check(kind, name)


@pytest.mark.parametrize("name", BAD_SEMANTIC_NAMES)
def test_bad_names_of_snippets(name: str) -> None:
    assert not identifiers.is_semantic_name(name)
    with pytest.raises(Malformed):
        identifiers.check("semantic name", name)
