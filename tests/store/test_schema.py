"""Any schema is accepted or refused."""

from __future__ import annotations

import contextlib
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from reed.errors import Invalid, Malformed
from reed.store.types import compile_type

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=5), part, max_size=3),
    max_leaves=8,
)


KEYWORDS = st.sampled_from(
    ["type", "properties", "required", "items", "not", "if", "then", "enum", "const", "pattern", "format", "$id"]
) | st.sampled_from(["$ref", "$defs", "$schema", "$anchor", "$dynamicRef", "allOf", "anyOf", "minimum", "contains"])


SCHEMAS = st.recursive(
    JSON,
    lambda part: st.dictionaries(KEYWORDS, part | st.sampled_from(["#", "string", "(a+)+$", "#/$defs"]), max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(SCHEMAS, st.dictionaries(st.text(max_size=5), JSON, max_size=3))
def test_any_schema_is_accepted_or_refused_and_checks_any_content(schema, content):
    try:
        kind = compile_type("x", json.dumps({"schema": schema}).encode())
    except (Invalid, Malformed):
        return
    with contextlib.suppress(Invalid):
        kind.check(content)
