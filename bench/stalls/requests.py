"""The kinds of requests whose longest turn is measured: what a caller with every permission may send.

A kind has a preparation, which is not measured, and a request, which is. A request may be refused: what counts is that
the core goes on meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from reed.client import Client, Request
from reed.errors import ReedError
from reed.wire.codes import Command
from reed.wire.schema import SchemaBond
from reed.wire.snippets import SnippetCreate, SnippetWritten
from reed.wire.structs import REF, pack_text

MB = 1024 * 1024
PROBE = "stalls/probe"  # the small snippet that the other client asks for
PLAIN = {
    "schema": {
        "type": "object",
        "properties": {
            "title": {"type": "string"},
            "body": {"type": "string"},
            "keywords": {"type": "array", "items": {"type": "string"}},
        },
    },
    "searchable": {"title": 5, "body": 1},
}


@dataclass(frozen=True, slots=True)
class Kind:
    name: str
    request: Callable[[Client], Any]
    prepare: Callable[[Client], Any] = lambda _: None  # once for all kinds that share it
    payload: int = 0  # bytes of the request, of its answer, and of a content that it rewrites, where they are many
    plugins: tuple[str, ...] = ()  # those that run meanwhile (bench.stalls.plugins)
    changes_rows: bool = False  # of the registry


def run(kind: Kind, client: Client) -> str:
    """Send the request; "done", or why it was refused."""
    try:
        kind.request(client)
    except ReedError as error:
        return str(error)[:80]
    return "done"


def kinds() -> list[Kind]:
    return [*_searches(), *_contents(), *_schemas(), *_many(), *_floods()]


def _searches() -> list[Kind]:
    vocabulary = [f"word{number}" for number in range(40)]
    long_text = " ".join(vocabulary * (2 * MB // (8 * len(vocabulary))))

    def store_texts(client: Client) -> None:
        client.registry_define("text", {"searchable": {"title": 5, "body": 1}})
        client.snippet_create("text", "", {"title": "long", "body": long_text})
        client.snippet_create("text", "", {"title": "a", "body": "a " * 500_000})
        store_many(client, "text", 30_000, lambda number: {"title": f"page {number}", "body": "common a b c"})
        client.search("common", limit=1)

    return [
        Kind("search: the first of a core", lambda client: client.search("word")),
        Kind("search: 32,000 letters joined by _", lambda client: client.search("a_" * 32_000), store_texts),
        Kind("search: 32 common words in 2 MB", lambda client: client.search(" ".join(vocabulary[:32])), store_texts),
        Kind("search: a phrase of 32 equal words", lambda client: client.search('"' + "a " * 32 + '"'), store_texts),
        Kind("search: a word of 30,000 snippets", lambda client: client.search("common", limit=1000), store_texts),
        Kind("search: a beginning of many words", lambda client: client.search("wo"), store_texts),
        Kind("index: everything again", lambda client: client.search_index(), store_texts),
    ]


def _contents() -> list[Kind]:
    wrong = json.dumps({"title": "t", "keywords": [1] * 2_000_000}).encode()
    keys = json.dumps({"title": "t", **{f"key{number}": number for number in range(600_000)}}).encode()
    text = json.dumps({"title": "t", "body": "word " * (12 * MB // 5)}).encode()
    nested = b'{"title":"t","x":[' + b",".join([b"[]"] * (12 * MB // 3)) + b"]}"
    patch = json.dumps({f"key{number}": None if number % 2 else number for number in range(600_000)}).encode()

    def define(client: Client) -> None:
        client.registry_define("plain", PLAIN)

    def store_large(client: Client) -> None:
        define(client)
        client.snippet_create("plain", "large", json.loads(keys))

    def create(content: bytes) -> Callable[[Client], Any]:
        payload = SnippetCreate("plain", "", content).pack()
        return lambda client: client.call(Command.SNIPPET_CREATE, payload)

    return [
        Kind("create: 2,000,000 wrong items", create(wrong), define, len(wrong)),
        Kind("create: one text of 12 MB", create(text), define, len(text)),
        Kind("create: an object of 600,000 keys", create(keys), define, len(keys)),
        Kind("create: 4,000,000 empty lists", create(nested), define, len(nested)),
        Kind("get: 8 MB", lambda client: client.snippet_get("large"), store_large, len(keys)),
        Kind(
            "patch: 600,000 keys",
            lambda client: client.snippet_update("large", json.loads(patch)),
            store_large,
            len(patch) + len(keys),
        ),
        Kind("rename: 8 MB", lambda client: client.snippet_rename("large", "larger"), store_large, len(keys)),
    ]


def _schemas() -> list[Kind]:
    levels = 24
    doubled = {f"l{n}": {"allOf": [{"$ref": f"#/$defs/l{n + 1}"}] * 2} for n in range(levels)}
    doubled[f"l{levels}"] = {"type": "string"}
    any_of = {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "array", "items": {"type": "null"}}]}
    unevaluated: dict[str, Any] = {"type": "object"}
    for _ in range(20):
        unevaluated = {"anyOf": [unevaluated, {"properties": {"a": unevaluated}}], "unevaluatedProperties": False}

    def define(name: str, schema: dict[str, Any]) -> Callable[[Client], Any]:
        return lambda client: client.registry_define(name, {"schema": schema})

    def create(type_name: str, content: dict[str, Any]) -> Callable[[Client], Any]:
        return lambda client: client.snippet_create(type_name, "", content)

    def define_and_create(name: str, schema: dict[str, Any], content: dict[str, Any]) -> Callable[[Client], Any]:
        def both(client: Client) -> None:
            define(name, schema)(client)
            create(name, content)(client)

        return both

    return [
        Kind(
            "schema: $refs doubled 24 times",
            define_and_create(
                "doubled", {"properties": {"x": {"$ref": "#/$defs/l0"}}, "$defs": doubled}, {"x": "text"}
            ),
        ),
        Kind(
            "schema: 20,000 properties",
            define("wide", {"properties": {f"p{n}": {"type": "string", "minLength": n} for n in range(20_000)}}),
        ),
        Kind(
            "schema: 2,000 patterns",
            define("patterned", {"properties": {f"p{n}": {"pattern": f"^[a-z]{{{n}}}$"} for n in range(2_000)}}),
        ),
        Kind(
            "create: a pattern that backtracks",
            create("pattern", {"x": "a" * 20_000}),
            define("pattern", {"properties": {"x": {"pattern": "(?<=a)(a+)+c"}}}),
        ),
        Kind(
            "create: anyOf two lists of 200,000",
            create("any-of", {"x": ["a"] * 200_000 + [1]}),
            define("any-of", {"properties": {"x": any_of}}),
            1_000_000,
        ),
        Kind(
            "create: 1,000 objects in an enum",
            create("enum", {"x": [{"n": -1}] * 20_000}),
            define("enum", {"properties": {"x": {"items": {"enum": [{"n": n} for n in range(1000)]}}}}),
            200_000,
        ),
        Kind(
            "create: uniqueItems of 50,000",
            create("unique", {"x": [{"n": n} for n in range(50_000)]}),
            define("unique", {"properties": {"x": {"uniqueItems": True}}}),
            600_000,
        ),
        Kind(
            "schema: unevaluatedProperties, 20 levels",
            define_and_create("unevaluated", unevaluated, {"a": {"a": {"a": {"b": 1}}}}),
        ),
    ]


def _many() -> list[Kind]:
    def store_bonds(client: Client) -> None:
        client.registry_define("node", {})
        client.snippet_create("node", "hub", {})
        ids = store_many(client, "node", 20_000, lambda number: {"n": number, "text": "x" * 100})
        client.snippet_create("node", "fan", {})
        send_all(client, [Request(Command.SCHEMA_BOND, SchemaBond("hub", child, 0, "").pack()) for child in ids])

    return [
        Kind("tree: 20,000 children", lambda client: client.schema_tree("hub", 2), store_bonds, 2 * MB),
        Kind("list: 1,000 records", lambda client: client.snippet_list("node", limit=1000), store_bonds, 300_000),
        Kind("find: a scan of 20,000", lambda client: client.snippet_find("node", {"n": -1}), store_bonds),
        Kind("check: a type of 20,000", lambda client: client.registry_check("node"), store_bonds),
        Kind(
            "delete: a cascade over 20,000 bonds",
            lambda client: client.snippet_delete("hub", cascade=True),
            store_bonds,
        ),
    ]


def _floods() -> list[Kind]:
    def gets(client: Client) -> None:
        request = Request(Command.SNIPPET_GET, pack_text(PROBE, REF.size))
        send_all(client, [request] * 20_000)

    def creates(client: Client) -> None:
        client.registry_define("plain", PLAIN)
        store_many(client, "plain", 5_000, lambda number: {"title": f"{number}", "body": "some words of a page"})

    def creates_behind_a_long_one(client: Client) -> None:
        long = SnippetCreate("plain", "", json.dumps({"body": "word " * 100_000}).encode()).pack()
        short = SnippetCreate("plain", "", json.dumps({"title": "t", "body": "some words of a page"}).encode()).pack()
        send_all(client, [Request(Command.SNIPPET_CREATE, payload) for payload in (long, *[short] * 900)])

    return [
        Kind("flood: 20,000 GETs in flight", gets),
        Kind("flood: 5,000 CREATEs in flight", creates),
        Kind(
            "flood: 900 CREATEs behind a long one",
            creates_behind_a_long_one,
            lambda client: client.registry_define("plain", PLAIN),
            500_000,
        ),
    ]


def store_many(client: Client, type_name: str, count: int, content: Callable[[int], Any]) -> list[str]:
    requests = [
        Request(Command.SNIPPET_CREATE, SnippetCreate(type_name, "", json.dumps(content(number)).encode()).pack())
        for number in range(count)
    ]
    return [SnippetWritten.unpack(answer).snippet_id for answer in send_all(client, requests)]


def send_all(client: Client, requests: list[Request]) -> list[bytes]:
    answers = []
    for _, answer in client.pipelined(requests):
        if isinstance(answer, ReedError):
            raise answer
        answers.append(answer)
    return answers
