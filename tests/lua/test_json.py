"""JSON in Lua compared with Python's: both accept the same texts, and decode the same values."""

from __future__ import annotations

import json
import math
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reed.errors import Malformed
from reed.lua.sandbox import LuaSandbox
from reed.wire import strict_json

if TYPE_CHECKING:
    from conftest import Bench

ECHO = b"""
local plugin = require("reed").create_plugin {}
plugin.action("try", function(payload) return json.encode(json.decode(payload)) end)
plugin.run()
"""

numbers = st.integers(-(2**80), 2**80) | st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=40,
)


@cache
def echoing() -> LuaSandbox:
    sandbox = LuaSandbox()
    prepared = {"name": "", "version": "", "actions": {"try": 1}, "settings": {}, "cpu": 2, "seed": [1, 2]}
    sandbox.start({}, memory=8 << 20, spec=json.dumps({**prepared, "can_write": False}).encode())
    assert sandbox.load("main.lua", ECHO).kind == "run"
    return sandbox


def through_lua(text: bytes) -> bytes:
    """The text decoded and encoded in Lua; raises Malformed as strict_json does."""
    outcome = echoing().call(1, text)
    if outcome.kind == "error":
        raise Malformed(outcome.text())
    assert outcome.kind == "done", outcome
    status, body = outcome.results
    assert status == 200
    return bytes(body)


def same(a: Any, b: Any) -> bool:
    """Equal, and of the same type: 1 is neither 1.0 nor True."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float):
        return a == b and math.copysign(1, a) == math.copysign(1, b)
    return bool(a == b)


@given(values, st.booleans(), st.sampled_from([None, 1, "\t"]))
@settings(max_examples=60, deadline=None)
def test_decoding_and_encoding_keep_a_value(value: Any, ascii_only: bool, indent: Any) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    back = through_lua(text)
    assert same(json.loads(back), value)
    assert through_lua(back) == back


@given(values, st.data())
@settings(max_examples=150, deadline=None)
def test_a_corrupted_text_is_accepted_or_rejected_as_in_python(value: Any, data: st.DataObject) -> None:
    text = bytearray(json.dumps(value, ensure_ascii=False).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(0, len(text) - 1)))
        text[at : at + data.draw(st.integers(0, 1))] = data.draw(st.sampled_from([b"", *map(bytes, zip(SPARKS))]))
    try:
        expected = strict_json.loads(text)
    except Malformed:
        with pytest.raises(Malformed):
            through_lua(bytes(text))
        return
    assert json.loads(through_lua(bytes(text))) == expected


SPARKS = b'"\\{}[]:,0123456789.eE+-tfnu \x00\x7f\xff\xc3'


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("", 1, 1),
        ('{"a":1,\n "a":2}', 2, 2),
        ("[1,]", 1, 4),
        ("[NaN]", 1, 2),
        ("-Infinity", 1, 1),
        ("1e999", 1, 1),
        ("01", 1, 1),
        ("[1] x", 1, 5),
        ('"\\ud800"', 1, 2),
        ('"\\ud800\\u0041"', 1, 2),
        ('"\\udc00"', 1, 2),
        ('"a\nb"', 1, 3),
        ('"\\x"', 1, 2),
        ('"abc', 1, 1),
        ("[" * 73 + "]" * 73, 1, 73),
        ("1" * 4301, 1, 1),
        ("{1:2}", 1, 2),
        ("\ufeff1", 1, 1),
        ("'x'", 1, 1),
    ],
)
def test_invalid_json_is_rejected_with_line_and_column(text: str, line: int, column: int) -> None:
    with pytest.raises(Malformed, match=rf"main\.lua:3: JSON: .+ at line {line} column {column}$"):
        through_lua(text.encode())
    with pytest.raises(Malformed):
        strict_json.loads(text.encode())


DIGITS = ["18446744073709551615", "-9223372036854775809", "7" * 400, "0.1000000000000000055511151231257827", "1.50",
          "1E2", "1e+02", "-0", "-0.0", "0.0", "1e-400", "5e-324", "123456789012345678.5"]  # fmt: skip


@pytest.mark.parametrize("digits", DIGITS)
def test_a_number_keeps_its_digits(digits: str) -> None:
    text = f'{{"a":[{digits},1],"n":{digits}}}'.encode()
    assert through_lua(text) == text


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("t.n = t.n + 0; return json.encode(t)", '{"n":1.50}'),  # the same number: it may have been copied
        ("t.n = 2.5; return json.encode(t)", '{"n":2.5}'),
        ("t.n = 1; return json.encode(t)", '{"n":1}'),
        ("return json.encode { m = t.n }", '{"m":1.5}'),
        ("return json.encode { m = big.b }", '{"m":18446744073709551615}'),
        ("big.a, big.b = big.b, big.a; return json.encode(big)",
         '{"a":18446744073709551615,"b":18446744073709551614}'),
        ('return json.encode { n = json.number "0.10", i = json.number "7", x = json.number(1.5) }',
         '{"i":7,"n":0.10,"x":1.5}'),
        ("return json.encode { big.a < big.b, big.b <= big.a, big.a == big.b, big.a > 5, -1 < big.a, big.a == big.a }",
         "[true,false,false,true,true,true]"),
        ("return json.encode { json.number '-18446744073709551616' < json.number '-18446744073709551615' }", "[true]"),
        ("return json.encode { big.a - big.b, big.a / 2, -big.a, 2 ^ json.number '1.0' }",
         "[0.0,9.223372036854776e+18,-1.8446744073709552e+19,2.0]"),
        ("return tostring(big.a) .. '|' .. big.a .. '|' .. type(big.a)",
         "18446744073709551614|18446744073709551614|table"),
        ("return json.encode { json.tonumber(big.a), json.tonumber(7), json.is_array(big.a) }",
         "[1.8446744073709552e+19,7,false]"),
    ],
)  # fmt: skip
def test_numbers_in_a_plugin(bench: Bench, body: str, text: str) -> None:
    start = (
        't = json.decode \'{"n":1.50}\'; big = json.decode \'{"a":18446744073709551614,"b":18446744073709551615}\'\n'
    )
    outcome = bench.run(start + body)
    assert (outcome.kind, outcome.text(1)) == ("done", text)


@pytest.mark.parametrize(
    "body",
    [
        "big.n.x = 1", "return big.n + {}", "return big.n .. {}", "return big.n < 'x'", "json.number 'x'",
        "json.number '01'", "json.number '1.'", "json.number(0/0)", "json.number(1/0)", "json.number(nil)",
        "json.number {}", "json.number '1e999'",
    ],
)  # fmt: skip
def test_wrong_use_of_a_number_is_an_error_in_the_plugin(bench: Bench, body: str) -> None:
    outcome = bench.run(f"big = json.decode '{{\"n\":18446744073709551614}}'\n{body}")
    assert outcome.kind == "error"
    assert outcome.text().startswith("main.lua:")


def test_invalid_utf_8_is_rejected() -> None:
    for bad in (b'"\xff"', b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', b'"\xc0\x80"'):
        with pytest.raises(Malformed, match="UTF-8"):
            through_lua(bad)


def test_72_levels_are_accepted() -> None:
    text = b"[" * 72 + b"]" * 72
    assert through_lua(text) == text


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("nil", "null"),
        ("json.null", "null"),
        ("{}", "{}"),
        ("json.array()", "[]"),
        ("json.object()", "{}"),
        ("{ 1, 2, 3 }", "[1,2,3]"),
        ("{ a = { b = json.array() } }", '{"a":{"b":[]}}'),
        ("{ b = 1, a = 2, c = true }", '{"a":2,"b":1,"c":true}'),
        ("1.0", "1.0"),
        ("-0.0", "-0.0"),
        ("0.1", "0.1"),
        ("1e300", "1e+300"),
        ("math.maxinteger", "9223372036854775807"),
        ("json.array { 1, json.null }", "[1,null]"),
        ('{ ["a\\"\\n\\127"] = "é\\0" }', '{"a\\"\\n\x7f":"é\\u0000"}'),
        ("{ json.is_array(json.array()), json.is_array({}), json.is_array({ 1 }) }", "[true,false,true]"),
    ],
)
def test_encoding(bench: Bench, expression: str, text: str) -> None:
    outcome = bench.run(f"return json.encode({expression})")
    assert (outcome.kind, outcome.text(1)) == ("done", text)


@pytest.mark.parametrize(
    ("expression", "path"),
    [
        ("{ 1, a = 2 }", ""),
        ("{ 1, nil, 3 }", ""),
        ("{ [1.5] = 1 }", ""),
        ("{ a = { f = print } }", ".a.f: "),
        ("{ a = { { 0/0 } } }", ".a[1]: "),
        ("1/0", ""),
        ("'\\255'", ""),
        ("loop", ".loop"),
        ("coroutine.create(print)", ""),
    ],
)
def test_a_value_without_json_is_an_error_with_its_path(bench: Bench, expression: str, path: str) -> None:
    outcome = bench.run(f"local loop = {{}}; loop.loop = loop\nreturn json.encode({expression})")
    assert outcome.kind == "error"
    assert outcome.text().startswith(f"main.lua:3: JSON: {path}")


def test_null_and_marked_tables_cannot_be_changed(bench: Bench) -> None:
    outcome = bench.run("return { tostring(json.null), getmetatable(json.null), getmetatable(json.array()) }")
    assert outcome.text(1) == '["null","json null","json array"]'
    assert bench.call().kind == "done"
    for body in ("json.null.x = 1", "setmetatable(json.array(), {})", "setmetatable(json.null, nil)"):
        bench = type(bench)("5.5")
        assert bench.run(body).kind == "error"
