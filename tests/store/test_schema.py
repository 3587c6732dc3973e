"""Any schema is accepted or refused."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys

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


IMPORTS = """
import sys
from reed.store.schema import import_library, is_library_needed
from reed.store.types import compile_type

definition = b'{"schema": {"type": "object"}}'
assert is_library_needed(definition) and not is_library_needed(b"{}")
turns, known = [], []
import_library(turns.append, lambda: known.append("done"))
while turns:
    known.append("jsonschema_rs" in sys.modules)
    turns.pop(0)()
assert not is_library_needed(definition)
assert compile_type("page", definition, for_loop=True).schema.is_compiled
print(known)
"""


def test_the_library_is_imported_in_several_turns() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=False)
    assert done.stdout == "[False, False, True, 'done']\n", done.stderr
