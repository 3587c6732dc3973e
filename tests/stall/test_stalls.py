"""No request that a caller may make holds the loop or takes memory without bound (workers.md#bounds).

Requests are drawn and sent to a core in a process of its own, which measures its turns in processor time and its peak
of memory (bench/stalls/core.py). Both are compared with what the request's payload allows. A request over the bound is
repeated before it counts: the least of several counts, since a busy machine adds to a turn, and never takes from it.

REED_STALLS=N draws N times as many requests as CI does, others each time, and contents of up to 15 MB.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

import reed

sys.path.append(str(Path(__file__).parents[2]))  # for bench, after the installed package

from bench.stalls.measured import Core, Stall, core_of
from bench.stalls.requests import MB, Kind, send_all, store_many
from reed.client import Client, Request
from reed.errors import ReedError
from reed.wire.codes import Command
from reed.wire.schema import SchemaBond, SchemaTree
from reed.wire.search import SearchQuery
from reed.wire.snippets import SnippetCreate, SnippetList
from reed.wire.structs import REF, pack_text

ROUNDS = int(os.environ.get("REED_STALLS", "0"))  # 0: short, and the same requests each time
EXAMPLES = 100 * max(ROUNDS, 1)
ATTEMPTS = 4  # of a request that is over the bound

# Types that every drawn request may use.
SCHEMAS: dict[str, Any] = {
    "any": {},
    "plain": {"properties": {"title": {"type": "string"}, "x": {"type": "array", "items": {"type": "string"}}}},
    "pattern": {"properties": {"x": {"pattern": "(?<=a)(a+)+c"}}},
    "choice": {"properties": {"x": {"anyOf": [{"items": {"type": "string"}}, {"items": {"type": "null"}}]}}},
    "unique": {"properties": {"x": {"uniqueItems": True}}},
    "nested": {
        "$defs": {"node": {"properties": {"x": {"$ref": "#/$defs/node"}}}},
        "$ref": "#/$defs/node",
        "unevaluatedProperties": False,
    },
}


class Draft(NamedTuple):
    """A request, and what has to be there: that is made again before each attempt."""

    text: str
    send: Callable[[Client], Any]
    prepare: Callable[[Client], Any] = lambda _: None
    payload: int = 0  # bytes of the request, of its answer, and of the contents that it rewrites
    plugins: tuple[str, ...] = ()  # those that run meanwhile (bench.stalls.plugins)

    def __repr__(self) -> str:
        return self.text


# Contents ------------------------------------------------------------------------------------------------------------


def text_of(shape: str, size: int) -> bytes:
    """A content of about so many bytes."""
    parts = {
        "one text": lambda: b'"' + b"word " * (size // 5) + b'"',
        "letters": lambda: b'"' + b"a" * size + b'"',
        "escapes": lambda: b'"' + b"\\u00e9" * (size // 6) + b'"',
        "numbers": lambda: b"[" + b",".join([b"1"] * (size // 2)) + b"]",
        "lists": lambda: b"[" + b",".join([b"[]"] * (size // 3)) + b"]",
        "objects": lambda: b"[" + b",".join(b'{"n":%d}' % number for number in range(size // 14)) + b"]",
        "texts": lambda: b"[" + b",".join([b'"text"'] * (size // 7)) + b"]",
        "keys": lambda: b"{" + b",".join(b'"key%d":%d' % (number, number) for number in range(size // 17)) + b"}",
        "levels": lambda: b'{"x":' * 60 + b'"' + b"a" * size + b'"' + b"}" * 60,
        "digits": lambda: b"[" + b",".join([b"9" * 4000] * max(size // 4001, 1)) + b"]",
        "not JSON": lambda: b"[" * (size // 2),
    }
    return b'{"title":"t","x":' + parts[shape]() + b"}"


SHAPES = [
    *("one text", "letters", "escapes", "numbers", "lists", "objects", "texts", "keys", "levels", "digits"),
    "not JSON",
]
sizes = st.sampled_from([100, 4_000, 60_000, 70_000, MB, 4 * MB, *([15 * MB] if ROUNDS else [])])
shapes = st.sampled_from(SHAPES)


def create(type_name: str, content: bytes, name: str = "") -> Request:
    return Request(Command.SNIPPET_CREATE, SnippetCreate(type_name, name, content).pack())


def replace_large(client: Client, content: bytes) -> None:
    """The snippet "large" with this content; none if it is not valid."""
    for ref in ("large", "larger"):
        with suppress(ReedError):
            client.snippet_delete(ref)
    with suppress(ReedError):
        send_one(client, create("any", content, "large"))


def send_one(client: Client, request: Request) -> bytes:
    return client.call(request.command, request.payload)


@st.composite
def creations(draw: st.DrawFn) -> Draft:
    type_name, shape, size = draw(st.sampled_from(sorted(SCHEMAS))), draw(shapes), draw(sizes)
    content = text_of(shape, size)
    request = create(type_name, content)
    return Draft(
        f"create {type_name}: {shape} of {size}", lambda client: send_one(client, request), payload=len(content)
    )


@st.composite
def changes(draw: st.DrawFn) -> Draft:
    """Of a snippet with a content of any size."""
    old_shape, old_size = draw(shapes), draw(sizes)
    old = text_of(old_shape, old_size)
    what = draw(st.sampled_from(["patch", "rename", "delete", "get", "list", "index"]))
    text, payload = f"{what} {old_shape} of {old_size}", len(old)
    if what == "patch":
        shape, size = draw(shapes), draw(sizes)
        patch = text_of(shape, size)
        payload += len(patch)
        text += f" with {shape} of {size}"

        def send(client: Client) -> Any:
            return client.snippet_update("large", json.loads(patch))

        if shape == "not JSON":
            return Draft(text, lambda client: client.snippet_get("large"), payload=payload)
    else:
        send = {
            "rename": lambda client: client.snippet_rename("large", "larger"),
            "delete": lambda client: client.snippet_delete("large"),
            "get": lambda client: client.snippet_get("large"),
            "list": lambda client: client.snippet_list("any", limit=100),
            "index": lambda client: client.search_index("large"),
        }[what]

    return Draft(text, send, lambda client: replace_large(client, old), payload)


# Types, queries, trees, floods ----------------------------------------------------------------------------------------

schemas = st.recursive(
    st.sampled_from([{"type": "string"}, {"pattern": "(a|a)*b"}, {"enum": [{"n": n} for n in range(300)]}, True]),
    lambda inner: st.one_of(
        st.builds(lambda each, count: {"allOf": [each] * count}, inner, st.integers(1, 30)),
        st.builds(lambda each: {"anyOf": [each, {"type": "null"}], "unevaluatedItems": False}, inner),
        st.builds(lambda each: {"properties": {"x": each}, "patternProperties": {"^k": each}}, inner),
        st.builds(
            lambda each, count: {"properties": {f"p{n}": each for n in range(count)}}, inner, st.integers(1, 500)
        ),
        st.builds(lambda each: {"$defs": {"d": each}, "items": {"$ref": "#/$defs/d"}, "contains": each}, inner),
    ),
    max_leaves=4,
)


@st.composite
def definitions(draw: st.DrawFn) -> Draft:
    definition: dict[str, Any] = {"schema": draw(schemas)}
    what = draw(st.sampled_from(["", "searchable", "indexed", "composed_of", "description"]))
    count = draw(st.sampled_from([1, 30, 1000, 20_000]))
    if what == "searchable":
        definition["searchable"] = {f"f{number}": number + 1 for number in range(count)}
    elif what == "description":
        definition["description"] = "x" * 40 * count
    elif what:
        definition[what] = [f"f{number}" for number in range(count)]
    size = len(json.dumps(definition))
    return Draft(
        f"define: {what} {count}, a schema in {size} bytes",
        lambda client: client.registry_define("drawn", definition),
        payload=size,
    )


queries = st.one_of(
    st.text(max_size=50),
    st.builds(
        lambda word, mark, count: mark.join([word] * count),
        st.sampled_from(["a", "common", "word1", "é", "東京", '"a b c"', "\u0903", '"']),
        st.sampled_from([" ", "_", "", "-", '" "']),
        st.sampled_from([1, 9, 33, 1000, 60_000]),
    ),
)
searches = st.builds(
    lambda query, limit: Draft(
        f"search {query[:20]!r} of {len(query)}, {limit}",
        lambda client: client.search(query, limit=limit),
        payload=len(query.encode()) + limit * 500,
    ),
    queries,
    st.sampled_from([1, 1000]),
)


def star(client: Client, children: int) -> None:
    """The snippet "star" with so many children."""
    with suppress(ReedError):
        client.snippet_delete("star", cascade=True)
    client.snippet_create("any", "star", {})
    ids = store_many(client, "any", children, lambda number: {"n": number})
    send_all(client, [Request(Command.SCHEMA_BOND, SchemaBond("star", child, 0, "").pack()) for child in ids])


many = st.sampled_from([10, 900, 3_000])
trees = st.one_of(
    st.builds(
        lambda count, depth: Draft(
            f"tree of {count}",
            lambda client: client.schema_tree("star", depth),
            lambda client: star(client, count),
            count * 150,
        ),
        many,
        st.integers(0, 2),
    ),
    st.builds(
        lambda count: Draft(
            f"cascade over {count}",
            lambda client: client.snippet_delete("star", cascade=True),
            lambda client: star(client, count),
        ),
        many,
    ),
)
reads = st.sampled_from(
    [
        Draft("list of 1,000", lambda client: client.snippet_list("text", limit=1000), payload=300_000),
        Draft("find, a scan", lambda client: client.snippet_find("text", {"n": -1})),
        Draft("find by index", lambda client: client.snippet_find("text", {"title": "page 7"})),
        Draft("check", lambda client: client.registry_check("text")),
        Draft("names", lambda client: client.snippet_names("", 1000)),
        Draft("index everything", lambda client: client.search_index()),
        Draft("list of types", lambda client: client.registry_list(), payload=MB),
        Draft("reload", lambda client: client.plugin_reload()),
        Draft("tree of everything", lambda client: client.schema_tree(), payload=2 * MB),
    ]
)
FLOODS = {
    "gets": Request(Command.SNIPPET_GET, pack_text("stalls/probe", REF.size)),
    "creates": create("plain", b'{"title":"t","x":["a","b"]}'),
    "lists": Request(Command.SNIPPET_LIST, SnippetList("text", "", 100).pack()),
    "searches": Request(Command.SEARCH_QUERY, SearchQuery("long", "", 10, 0).pack()),
    "trees": Request(Command.SCHEMA_TREE, SchemaTree("", 0).pack()),
    "unknown": Request(Command.SNIPPET_GET, pack_text("not-there", REF.size)),
}
floods = st.builds(
    lambda what, count: Draft(
        f"flood: {count} {what}",
        lambda client: list(client.pipelined([FLOODS[what]] * count)),
    ),
    st.sampled_from(sorted(FLOODS)),
    st.sampled_from([100, 1_000]),
)


def drafts() -> st.SearchStrategy[Draft]:
    return st.one_of(creations(), changes(), definitions(), searches, trees, reads, floods)


# The test -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def core() -> Iterator[Core]:
    with core_of(Path(reed.__file__).parents[1]) as core:
        client = core.client
        for name, schema in SCHEMAS.items():
            client.registry_define(name, {"schema": schema})
        definition = {"searchable": {"title": 5, "body": 1}, "indexed": ["title"]}
        client.registry_define("text", definition)
        store_many(client, "text", 10_000, lambda number: {"title": f"page {number % 50}", "body": "common a b c"})
        store_many(client, "text", 1, lambda _: {"title": "long", "body": " ".join(f"word{n}" for n in range(100_000))})
        client.search("common", limit=1)
        yield core


def measure(core: Core, draft: Draft) -> Stall:
    """The least of several attempts, of time and of memory."""
    kind = Kind(draft.text, draft.send, payload=draft.payload, plugins=draft.plugins)
    least: Stall | None = None
    for _ in range(ATTEMPTS):
        draft.prepare(core.client)
        stall = core.measure(kind)
        if least is not None:
            stall = replace(stall, turn=min(stall.turn, least.turn), grown=min(stall.grown, least.grown))
        if stall.is_within(kind):
            return stall
        least = stall
    assert least is not None
    return least


def assert_bounds(core: Core, draft: Draft) -> Stall:
    stall = measure(core, draft)
    said = f"{draft.text}: {stall.turn * 1e3:.1f} ms, {stall.grown / MB:.1f} MB, {stall.outcome}"
    assert stall.is_within(Kind(draft.text, draft.send, payload=draft.payload)), said
    return stall


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=not ROUNDS,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(draft=drafts())
# What was over the bound once.
@example(Draft("32,000 letters joined by _", lambda client: client.search("a_" * 32_000), payload=64_000))
@example(
    Draft(
        "20,000 values in an enum",
        lambda client: client.registry_define(
            "drawn", {"schema": {"properties": {f"p{n}": True for n in range(20_000)}}}
        ),
        payload=400_000,
    )
)
@example(
    Draft(
        "a field with an index, of large contents",
        lambda client: client.registry_define("large", {"indexed": ["title"]}),
        lambda client: (
            client.registry_define("large", {}),
            send_one(client, create("large", text_of("lists", 4 * MB))),
        ),
    )
)
@example(
    Draft(
        "cascade over 5,000",
        lambda client: client.snippet_delete("star", cascade=True),
        lambda client: star(client, 5_000),
    )
)
@example(
    Draft(
        "list before a large content",
        lambda client: client.snippet_list("before", limit=100),
        lambda client: (
            client.registry_define("before", {}),
            store_many(client, "before", 2, lambda number: {"x": "x" * 10 * MB * number}),
        ),
    )
)
def test_no_request_holds_the_loop(core: Core, draft: Draft) -> None:
    assert_bounds(core, draft)


def test_the_histogram_of_the_core_has_the_longest_turn(core: Core) -> None:
    """Its times are of the clock, without the disk: never less than the processor time that was measured."""
    content = text_of("texts", 8 * MB)
    stall = core.measure(Kind("create", lambda client: send_one(client, create("any", content))))
    loop = core.client.stats()["loop"]
    assert loop["turns"] == sum(loop["histogram"])
    assert loop["turn_ms"]["longest"] >= stall.turn * 1e3 * 0.9
    longest = max(number for number, count in enumerate(loop["histogram"]) if count)
    assert (1 << longest) >= stall.turn * 1e6 * 0.9
