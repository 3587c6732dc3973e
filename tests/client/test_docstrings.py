"""Every public method of both clients has a docstring whose example runs against a real core."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import doctest
import inspect
import io
import linecache
from collections.abc import Iterator
from typing import Any

import pytest

import reed.testing
from reed.client import Client
from reed.client.aio import AsyncClient

GREETER = """
local reed = require "reed"
local plugin = reed.create_plugin { name = "greeter" }
plugin.action("greet", function(payload)
  return { greeting = "Hello, " .. (json.decode(payload).name or "World") .. "!" }
end)
plugin.run()
"""
SETTINGS = {"groups": {"editor": {"permissions": ["snippet_read"]}}}
INHERITED = {"__enter__", "__exit__", "__aenter__", "__aexit__"}


def public(client: type) -> list[str]:
    return sorted(name for name in dir(client) if not name.startswith("_") and callable(getattr(client, name)))


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[reed.testing.Core]:
    folder = tmp_path_factory.mktemp("docs")
    plugin = folder / "plugins" / "greeter"
    plugin.mkdir(parents=True)
    (plugin / "main.lua").write_text(GREETER)
    (plugin / "plugin.yaml").write_text(
        "name: greeter\nversion: 1.0.0\nactions: {greet: {command_id: 1, input: json, description: Greets}}\n"
        "schedules: {hourly: {every: 1h, action: greet}}\n"
    )
    with reed.testing.core(folder, plugins={plugin: ["snippet_read"]}, settings=SETTINGS) as running:
        yield running


@pytest.fixture
def content(core: reed.testing.Core) -> reed.testing.Core:
    """What the examples begin with: two pages, one below the other."""
    with Client(core.socket) as client:
        for record in list(client.snippets()):
            client.snippet_delete(record.id, cascade=True)
        for definition in client.registry_list():
            client.registry_delete(definition.name)
        client.registry_define("page", {"searchable": {"title": 3, "body": 1}})
        client.snippet_create("page", "blog", {"title": "Blog"})
        client.snippet_create("page", "blog/intro", {"title": "Hello", "body": "A few words."})
        client.schema_bond("blog", "blog/intro")
        client.search("words")  # the index has caught up
    return core


def examples(method: Any) -> list[doctest.Example]:
    return doctest.DocTestParser().get_examples(inspect.getdoc(method) or "")


async def run(found: list[doctest.Example], names: dict[str, Any]) -> None:
    """Like doctest, but an example may await."""
    for example in found:
        code = compile(example.source, "<example>", "single", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            value = eval(code, names)
            if inspect.iscoroutine(value):
                await value
        linecache.clearcache()
        assert printed.getvalue() == example.want, example.source


@pytest.mark.parametrize("name", public(Client))
def test_the_example_of_a_method(content: reed.testing.Core, name: str) -> None:
    method = getattr(Client, name)
    assert examples(method), f"{name} has no example"
    with Client(content.socket, timeout=30) as client:
        asyncio.run(run(examples(method), {"core": client}))


@pytest.mark.parametrize("name", public(AsyncClient))
def test_the_example_of_an_asyncio_method(content: reed.testing.Core, name: str) -> None:
    method = getattr(AsyncClient, name)
    assert examples(method), f"{name} has no example"

    async def with_client() -> None:
        async with AsyncClient(content.socket, timeout=30) as client:
            await run(examples(method), {"core": client})

    asyncio.run(with_client())


@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_every_method_has_types_and_says_what_it_does(client: type) -> None:
    for name in public(client):
        method = getattr(client, name)
        signature = inspect.signature(method)
        assert inspect.getdoc(method), name
        assert signature.return_annotation is not inspect.Signature.empty, name
        for parameter in list(signature.parameters.values())[1:]:
            assert parameter.annotation is not inspect.Parameter.empty, f"{name}({parameter})"
