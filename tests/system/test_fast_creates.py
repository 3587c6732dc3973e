"""The fast path of SNIPPET_CREATE (core.creates): which requests take it, and that no answer depends on it.

The core runs in a thread of the test, which records what the path took; its socket, store and plugin are real.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reed.client import Client
from reed.config import load
from reed.core.creates import Creates
from reed.daemon import Daemon
from reed.testing.rows import registry_text
from reed.wire import frames
from reed.wire.codes import Command, Flag
from reed.wire.requests import ConnectionAssume, Ref
from reed.wire.snippets import SnippetCreate
from tests.system.raw_connection import DEADLINE, Answer, RawConnection

CREATE = int(Command.SNIPPET_CREATE)
PAGE = {"schema": {"type": "object", "required": ["title"]}, "unique": ["path"]}
SLOW = {"schema": {"type": "object", "properties": {"tags": {"type": "array", "uniqueItems": True}}}}  # for workers
MAIN = """
local plugin = require("reed").create_plugin { name = "filter", version = "1.0.0" }
plugin.action("check", function() return '{"content": {"title": "filtered"}}' end)
"""
MANIFEST = "name: filter\nversion: 1.0.0\nactions: {check: {command_id: 1}}\nfilters: {snippet.create: check}\n"
ROW = 'filter,lua,/tmp/reed-cms/plugins/filter.sock,1.0.0,"snippet_read,snippet_write",admin,false,""\n'


def request(content: bytes, name: str = "", type_name: str = "page", flags: int = 0) -> bytes:
    return frames.encode(CREATE, SnippetCreate(type_name, name, content).pack(), flags)


GET_INTRO = frames.encode(Command.SNIPPET_GET, Ref("intro").pack())


class Asker(RawConnection):
    def ask(self, *requests: bytes) -> list[Answer]:
        """Sent in one write; an answer for each."""
        self.sock.sendall(b"".join(requests))
        return [self.answer() for _ in requests]


class World:
    """A core, and how many requests its fast path took."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.taken = 0
        take = Creates.take

        def spy(creates: Creates, origin: Any, data: memoryview) -> int:
            size = take(creates, origin, data)
            self.taken += size > 0
            return size

        monkeypatch.setattr(Creates, "take", spy)
        folder = root / "plugins" / "filter"
        folder.mkdir(parents=True)
        (folder / "main.lua").write_text(MAIN)
        (folder / "plugin.yaml").write_text(MANIFEST)
        self.rows = root / "rows.csv"
        self.rows.write_text(registry_text())
        (root / "reed.yaml").write_text("groups: {reader: {permissions: [snippet_read]}}\n")
        places = {"runtime_dir": str(root / "run"), "data_dir": str(root / "data")}
        places |= {"registry": str(self.rows), "plugin_dirs": [str(root / "plugins")]}
        self.core = Daemon(load(root / "reed.yaml", {}, places))
        self.core.run_in_thread()
        self.client = Client(self.core.socket)
        self.client.registry_define("page", PAGE)
        self.client.registry_define("slow", SLOW)

    def asker(self) -> Asker:
        return Asker(self.core.socket)

    def contents(self, type_name: str = "") -> list[dict[str, Any]]:
        return [json.loads(bytes(each.content)) for each in self.client.snippet_list(type_name).records]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    world = World(tmp_path, monkeypatch)
    yield world
    world.client.close()
    world.core.stop()


def test_a_lone_create_is_taken_and_can_be_read(world: World) -> None:
    asker = world.asker()
    (answer,) = asker.ask(request(b'{"title":"Intro"}', "intro"))
    assert answer[:3] == (CREATE, Flag.RESPONSE, 201)
    assert answer.body == world.client.snippet_get("intro").id.encode() + b"\0\0"
    assert world.taken == 1


REFUSED = {
    "not JSON": request(b"{"),
    "no object": request(b"[1]"),
    "a key twice": request(b'{"title":"a","title":"b"}'),
    "does not fit its type": request(b"{}"),
    "a unique value in use": request(b'{"title":"b","path":"used"}'),
    "a name in use": request(b'{"title":"b"}', "used"),
    "no name": request(b'{"title":"b"}', "No Name"),
    "no such type": request(b"{}", type_name="nothing"),
    "no type": request(b"{}", type_name="No Type"),
    "too short": frames.encode(CREATE, b"page"),
    "a wrong length": frames.encode(CREATE, SnippetCreate("page", "", b'{"title":"b"}').pack() + b" "),
    "a name without an end": frames.encode(CREATE, b"page".ljust(32, b"\0") + b"a" * 32 + b"\x02\0\0\0{}"),
}


def test_a_refusal_is_the_same_on_both_ways(world: World) -> None:
    asker = world.asker()
    asker.ask(request(b'{"title":"a","path":"used"}', "used"))
    for why, refused in REFUSED.items():
        (alone,) = asker.ask(refused)
        _, second = asker.ask(request(b'{"title":"c"}'), refused)  # two in a read: neither is taken
        assert alone.status >= 400, why
        assert alone == second, why
    assert world.contents() == [{"title": "a", "path": "used"}, *[{"title": "c"}] * len(REFUSED)]
    assert asker.ask(request(b'{"title":"d"}'))[0].status == 201


def test_a_read_after_a_create_waits_for_it(world: World) -> None:
    """Also while a worker checks the content."""
    asker = world.asker()
    asker.sock.sendall(request(b'{"tags":[]}', "intro", "slow"))
    deadline = time.monotonic() + DEADLINE
    while not world.taken:  # or both could come in one read
        assert time.monotonic() < deadline
    asker.sock.sendall(GET_INTRO)
    answers = [asker.answer() for _ in range(2)]
    assert [answer.status for answer in answers] == [201, 200]
    assert [answer.command_id for answer in answers] == [CREATE, Command.SNIPPET_GET]


def test_creates_of_a_connection_keep_their_order(world: World) -> None:
    """Also while a worker checks one of them."""
    asker = world.asker()
    for number in range(20):
        asker.sock.sendall(request(b'{"n":%d,"tags":[]}' % number, type_name="slow"))
    ids = [asker.answer().body[:36] for _ in range(20)]
    assert ids == sorted(ids)
    assert [each["n"] for each in world.contents("slow")] == list(range(20))


def test_a_caller_without_the_permission_is_refused(world: World) -> None:
    asker = world.asker()
    asker.ask(frames.encode(Command.CONNECTION_ASSUME, ConnectionAssume("anna", "reader").pack()))
    (answer,) = asker.ask(request(b'{"title":"a"}'))
    assert (answer.flags, answer.status) == (Flag.RESPONSE | Flag.ERROR, 403)
    assert (world.taken, world.contents()) == (0, [])


def test_a_create_without_an_answer_goes_the_usual_way(world: World) -> None:
    asker = world.asker()
    asker.sock.sendall(request(b'{"title":"a"}', "intro", flags=int(Flag.ASYNC)))
    (answer,) = asker.ask(GET_INTRO)
    assert (answer.command_id, answer.status, world.taken) == (Command.SNIPPET_GET, 200, 0)


def test_a_long_create_goes_the_usual_way(world: World) -> None:
    content = json.dumps({"title": "a" * 20_000}).encode()
    assert world.asker().ask(request(content))[0].status == 201
    assert (world.taken, len(world.contents()[0]["title"])) == (0, 20_000)


def test_filters_see_creates(world: World) -> None:
    asker = world.asker()
    asker.ask(request(b'{"title":"before"}'))
    world.rows.write_text(registry_text() + ROW)
    world.client.plugin_reload()
    world.client.plugin_start("filter")
    asker.ask(request(b'{"title":"during"}'))
    assert world.contents() == [{"title": "before"}, {"title": "filtered"}]
    assert world.taken == 1


def test_creates_are_counted(world: World) -> None:
    asker = world.asker()
    asker.ask(request(b'{"title":"a"}'))
    asker.ask(request(b"{"))
    counted = world.client.stats()["commands"]["SNIPPET_CREATE"]
    assert (counted["calls"], counted["errors"], world.taken) == (2, {"400": 1}, 2)
    assert counted["bytes_in"] == len(request(b'{"title":"a"}')) + len(request(b"{"))


def test_a_bug_is_answered_with_500(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asker = world.asker()
    with monkeypatch.context() as patch:
        patch.setattr(world.core.store._snippets, "create", lambda *_: 1 // 0)  # type: ignore[attr-defined]
        (answer,) = asker.ask(request(b'{"title":"a"}', "intro"))
    assert (answer.flags, answer.status) == (Flag.RESPONSE | Flag.ERROR, 500)
    assert asker.ask(request(b'{"title":"a"}', "intro"), GET_INTRO)[1].status == 200
