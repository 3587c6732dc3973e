"""What one client waits, at p99: to be connected and answered, and for simple and complex commands (the source).

The core holds 942 pages, bonded as a tree. The client is the blocking one of `reed.client`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from bench.content import KILOBYTE, PAGE_TYPE, pages_file
from bench.lines import Line
from bench.measure import quantile, timed
from bench.processes import core
from bench.rows import Run
from reed.client import Client, Request
from reed.wire.codes import Command
from reed.wire.schema import SchemaBond
from reed.wire.snippets import SnippetCreate, SnippetWritten

BRANCHES = 12


def measure(run: Run) -> list[Line]:
    path, _ = pages_file(run.folder)
    with core() as site, Client(site.socket) as client:
        ids = fill(client, path)
        client.search("site")
        simple: dict[str, Callable[[], object]] = {
            "SNIPPET_GET": lambda: client.snippet_get(ids[500]),
            "REGISTRY_GET": lambda: client.registry_get("page"),
        }
        query = iter(_queries())
        complex_: dict[str, Callable[[], object]] = {
            "SNIPPET_CREATE, durable": lambda: client.snippet_create("page", "", KILOBYTE),
            "SNIPPET_LIST, 100 records": lambda: client.snippet_list("page", "", 100),
            "SEARCH_QUERY, 20 hits of 942 pages": lambda: client.search(next(query), limit=20),
            "SCHEMA_TREE, 157 bonds": lambda: client.schema_tree(ids[1]),
        }
        lines = [_line("connection set up, and the first answer, p99", lambda: _connect(site.socket), run, 1.0)]
        lines += [_line(f"simple: {name}, p99", operation, run, 0.5) for name, operation in simple.items()]
        lines += [_line(f"complex: {name}, p99", operation, run, 5.0) for name, operation in complex_.items()]
    return lines


def fill(client: Client, path: Path) -> list[str]:
    """Store the pages, each but the first bonded below one before it; their ids."""
    client.registry_define("page", PAGE_TYPE)
    contents = path.read_bytes().splitlines()
    ids = _written(
        client, [Request(Command.SNIPPET_CREATE, SnippetCreate("page", "", each).pack()) for each in contents]
    )
    bonds = [SchemaBond(ids[(at - 1) // BRANCHES], ids[at], at, "").pack() for at in range(1, len(ids))]
    for _ in client.pipelined(Request(Command.SCHEMA_BOND, bond) for bond in bonds):
        pass
    return ids


def _written(client: Client, requests: list[Request]) -> list[str]:
    ids = []
    for _, answer in client.pipelined(requests):
        if isinstance(answer, Exception):
            raise answer
        ids.append(SnippetWritten.unpack(answer).snippet_id)
    return ids


def _line(work: str, operation: Callable[[], object], run: Run, goal: float) -> Line:
    for _ in range(20):
        operation()
    return Line(work, quantile([timed(operation) * 1000 for _ in range(run.times(1000))], 0.99), "ms", goal=goal)


def _connect(path: Path) -> None:
    with Client(path) as client:
        client.registry_get("page")


def _queries() -> Iterator[str]:
    words = ("template", "function", "site", "page content", "markdown render", "image", "build config", "menu")
    while True:
        yield from words
