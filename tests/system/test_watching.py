"""SNIPPET_WATCH on a real core: each change after its commit, once and in order, whatever happens to the core."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from reed.client import Client, NoAnswer, Request
from reed.client.watch import Watch
from reed.errors import Conflict, CoreNotRunning, CursorTooOld, Malformed, PermissionDenied, ReedError
from reed.wire import frames
from reed.wire.codes import Command, Flag
from reed.wire.common import ErrorResponse
from reed.wire.frames import Frame, ReceiveBuffer
from reed.wire.monitor import OUT, MonitorStream
from reed.wire.snippets import SnippetCreate, SnippetDelete
from reed.wire.watch import Change, SnippetChanges, SnippetWatch
from tests.conftest import Site

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0  # seconds
FROM_NOW = SnippetWatch()
CHANGES = 10_000 if os.environ.get("REED_SLOW_TESTS") else 300  # over kills of the core


def set_up(client: Client) -> None:
    for name in ("page", "note"):
        client.registry_define(name, {})


def take(watch: Watch, count: int) -> list[Change]:
    return list(islice(watch, count))


def create_many(client: Client, count: int, kind: str = "note", first: int = 0) -> None:
    requests = (
        Request(Command.SNIPPET_CREATE, SnippetCreate(kind, f"n{number}", b"{}").pack())
        for number in range(first, first + count)
    )
    for _, answer in client.pipelined(requests):
        assert isinstance(answer, bytes)


class Raw:
    """A watcher that reads only when it is told to."""

    def __init__(self, path: Path, request: SnippetWatch = FROM_NOW) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(str(path))
        self.buffer = ReceiveBuffer()
        self.send(Command.SNIPPET_WATCH, request.pack())

    def send(self, command: int, payload: bytes = b"", flags: int = 0) -> None:
        self.sock.sendall(frames.encode(command, payload, flags))

    def frame(self) -> Frame | None:
        """None at the end."""
        while (frame := self.buffer.next_frame()) is None:
            self.buffer.keep()
            data = self.sock.recv(1 << 16)
            if not data:
                return None
            self.buffer.feed(memoryview(data))
        return frame

    def all_frames(self) -> Iterator[Frame]:
        while (frame := self.frame()) is not None:
            yield frame


@pytest.fixture(scope="module")
def one_core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """For the tests that leave the core as it is."""
    site = Site(tmp_path_factory.mktemp("watching") / "site")
    site.start()
    with Client(site.socket_path) as client:
        set_up(client)
    yield site
    site.stop()
    site.no_tracebacks()


@pytest.fixture
def client(one_core: Site) -> Iterator[Client]:
    """Without snippets."""
    with Client(one_core.socket_path) as client:
        ids = [record.id for record in client.snippets(page_size=1000)]
        delete = (Request(Command.SNIPPET_DELETE, SnippetDelete(each, cascade=True).pack()) for each in ids)
        assert all(isinstance(answer, bytes) for _, answer in client.pipelined(delete))
        yield client


# What is told --------------------------------------------------------------------------------------------------------


def test_a_watcher_gets_each_change_after_the_present(client: Client) -> None:
    client.snippet_create("page", "before", {})
    with client.watch() as watch:
        parent = client.snippet_create("page", "blog/intro", {"title": "Intro"})
        child = client.snippet_create("note", "", {})
        client.snippet_update("blog/intro", {"title": "Hello"})
        client.snippet_rename("blog/intro", "blog/hello")
        client.schema_bond(parent, child)
        client.schema_unbond(parent, child)
        client.registry_define("post", {})
        client.registry_delete("post")
        client.snippet_delete(child)
        changes = take(watch, 9)
        assert watch.cursor == changes[-1].cursor
    assert [(change.kind, change.type, change.name, change.version) for change in changes] == [
        ("snippet.created", "page", "blog/intro", 1),
        ("snippet.created", "note", "", 1),
        ("snippet.updated", "page", "blog/intro", 2),
        ("snippet.updated", "page", "blog/hello", 3),
        ("bonded", "page", "blog/hello", 0),
        ("unbonded", "page", "blog/hello", 0),
        ("type.defined", "post", "", 0),
        ("type.deleted", "post", "", 0),
        ("snippet.deleted", "note", "", 1),
    ]
    assert (changes[4].id, changes[4].child) == (parent, child)
    assert all(abs(change.at / 1e6 - time.time()) < 600 for change in changes)


def test_a_watcher_goes_on_from_any_cursor(client: Client) -> None:
    with client.watch() as watch:
        create_many(client, 1200)
        told = take(watch, 1200)
    assert [change.name for change in told] == [f"n{number}" for number in range(1200)]
    for number in (0, 1, 499, 500, 700, 1198):
        with client.watch(after=told[number].cursor) as watch:
            assert take(watch, 1199 - number) == told[number + 1 :]


def test_only_the_types_that_a_watcher_names_are_told(client: Client) -> None:
    with client.watch(types=["page", "post"]) as watch, client.watch(types="note") as notes:
        client.snippet_create("note", "n", {})
        page = client.snippet_create("page", "p", {})
        client.schema_bond(page, "n")
        client.registry_define("post", {})
        changes = take(watch, 3)
        assert [change.name for change in take(notes, 1)] == ["n"]
    assert [(change.kind, change.type) for change in changes] == [
        ("snippet.created", "page"),
        ("bonded", "page"),
        ("type.defined", "post"),
    ]


def test_a_watcher_of_a_rare_type_learns_how_far_the_log_is(one_core: Site, client: Client) -> None:
    raw = Raw(one_core.socket_path, SnippetWatch("", ("page",)))
    raw.frame()
    create_many(client, 1500)
    frame = raw.frame()
    assert frame is not None
    found = SnippetChanges.unpack(frame.payload)
    assert not found.changes
    with client.watch(after=found.cursor) as watch:
        assert take(watch, 1)[0].name not in {f"n{number}" for number in range(1000)}


def test_the_plugin_that_wrote_is_named(one_core: Site, client: Client) -> None:
    one_core.add_lua_plugin(
        "writer",
        """
local reed = require "reed"
local plugin = reed.create_plugin{ name = "writer", version = "1.0.0" }
plugin.action("write", function() return reed.snippet.create("note", "mine", {}) end)
plugin.run()
""",
        "permissions: [snippet_write]\nactions:\n  write: {command_id: 1}\n",
    )
    one_core.set_rows('writer,lua,{},1.0.0,"snippet_write","admin",false,x')
    client.plugin_reload()
    client.plugin_start("writer")
    with client.watch() as watch:
        client.plugin_send("writer", "write")
        client.snippet_create("note", "ours", {})
        assert [(change.name, change.made_by) for change in take(watch, 2)] == [("mine", "writer"), ("ours", "")]


WATCHES = """
    def watch(sock):
        send(sock, 0x06, bytes(36))
        ready(sock)
        while True:
            command, flags, payload = receive(sock)
            if flags & FLAG_RESPONSE:
                for at in range(38, len(payload), 228):
                    print("told", payload[at : at + 16].rstrip(bytes(1)).decode(), flush=True)
            elif flags & FLAG_SIGNAL:
                return
            else:
                answer(sock, command, flags, payload)
"""


def test_a_plugin_may_watch_on_its_socket_which_still_carries_calls(site: Site) -> None:
    example = (ROOT / "contrib/examples/hello-python/hello.py").read_text(encoding="utf-8")
    code = example.replace("hello-python", "native").replace(
        "        while True:\n", "        watch(sock)\n        while False:\n"
    )
    folder = site.root / "plugins" / "native"
    folder.mkdir()
    head, main = code.split("def main")
    (folder / "native").write_text(
        head.replace(" python3", f" {sys.executable}") + textwrap.dedent(WATCHES) + "def main" + main
    )
    (folder / "native").chmod(0o755)
    (folder / "plugin.yaml").write_text("name: native\nversion: 1.0.0\nactions:\n  greet: {command_id: 1}\n")
    site.set_rows('native,native,{},1.0.0,"snippet_read","admin",false,x')
    site.allow_python("native")
    site.start()
    with Client(site.socket_path) as client:
        set_up(client)
        client.plugin_start("native")
        client.snippet_create("note", "n", {})
        assert client.plugin_send("native", "greet", {"name": "Ada"}).status == 200
        deadline = time.monotonic() + PATIENCE
        while "told snippet.created" not in (said := (site.data_dir / "logs" / "native.log").read_text()):
            assert time.monotonic() < deadline, said
    site.no_tracebacks()


def test_many_watchers_get_the_same(client: Client) -> None:
    watches = [client.watch(types=["note"] if number % 2 else []) for number in range(20)]
    create_many(client, 300)
    told = [[change.name for change in take(watch, 300)] for watch in watches]
    assert told == [[f"n{number}" for number in range(300)]] * 20
    for watch in watches:
        watch.close()


def test_the_monitor_shows_what_a_watcher_gets(one_core: Site, client: Client) -> None:
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.settimeout(PATIENCE)
        monitor.connect(str(one_core.runtime_dir / "monitor.sock"))
        stream = MonitorStream()
        with client.watch() as watch:
            client.snippet_create("note", "shown", {})
            take(watch, 1)
        while True:
            for frame, _ in stream.feed(monitor.recv(1 << 16)):
                if frame.command_id == Command.SNIPPET_WATCH and frame.direction == OUT:
                    changes = SnippetChanges.unpack(frame.payload).changes
                    if changes:
                        assert [change.name for change in changes] == ["shown"]
                        return


# What is refused -----------------------------------------------------------------------------------------------------


def test_what_a_user_may_not_read_is_not_told(site) -> None:
    groups = {"reader": {"permissions": ["snippet_read"]}, "writer": {"permissions": ["snippet_write"]}}
    site.config.write_text(json.dumps({"groups": groups}))
    site.start()
    with Client(site.socket_path) as client, Client(site.socket_path) as reader, Client(site.socket_path) as writer:
        set_up(client)
        reader.assume("anna", "reader")
        writer.assume("bert", "writer")
        with pytest.raises(PermissionDenied):
            writer.watch()
        with reader.watch() as watch:
            client.registry_define("post", {})
            parent, child = client.snippet_create("note", "a", {}), client.snippet_create("note", "b", {})
            client.schema_bond(parent, child)
            client.snippet_delete(child, cascade=True)
            assert [change.kind for change in take(watch, 3)] == [
                "snippet.created",
                "snippet.created",
                "snippet.deleted",
            ]


def test_a_cursor_that_is_too_old_says_what_to_do(site) -> None:
    site.config.write_text(json.dumps({"limits": {"kept_changes": 1000}}))
    site.start()
    with Client(site.socket_path) as client:
        set_up(client)
        with client.watch() as watch:
            start = watch.cursor
        create_many(client, 2000)
        with pytest.raises(CursorTooOld, match=r"keeps the last 1000 changes.*SNIPPET_LIST.*watch without a cursor"):
            client.watch(after=start)
        for cursor in ("0badcafe-1", start.partition("-")[0] + "-999999"):
            with pytest.raises(CursorTooOld):
                client.watch(after=cursor)
        with pytest.raises(Malformed, match="is no cursor"):
            client.watch(after="yesterday")
        epoch, last = client.watch().cursor.split("-")
        with client.watch(after=f"{epoch}-{int(last) - 1000}") as watch:
            assert [change.name for change in take(watch, 1000)] == [f"n{number}" for number in range(1000, 2000)]
        site.no_tracebacks()


def test_a_connection_that_watches_takes_no_other_requests(one_core: Site, client: Client) -> None:
    raw = Raw(one_core.socket_path)
    raw.frame()
    for command in (Command.SNIPPET_WATCH, Command.SNIPPET_LIST, Command.CONNECTION_ASSUME):
        raw.send(command, SnippetWatch().pack())
        frame = raw.frame()
        assert frame is not None
        assert (frame.command_id, frame.flags) == (command, Flag.RESPONSE | Flag.ERROR)
        assert "takes no other requests" in ErrorResponse.unpack(frame.payload).message
    client.snippet_create("note", "still", {})
    frame = raw.frame()
    assert frame is not None
    assert [change.name for change in SnippetChanges.unpack(frame.payload).changes] == ["still"]


def test_a_watch_that_is_refused_leaves_the_connection_as_it_was(client: Client) -> None:
    for payload, error in ((SnippetWatch("0badcafe-7").pack(), CursorTooOld), (b"", Malformed)):
        with pytest.raises(error):
            client.call(Command.SNIPPET_WATCH, payload)
    assert client.snippet_create("note", "", {})


def test_a_watch_does_not_begin_while_requests_are_in_flight(core) -> None:
    core.add_lua_plugin(
        "slow",
        """
local reed = require "reed"
local plugin = reed.create_plugin{ name = "slow", version = "1.0.0" }
plugin.action("wait", function() return "done" end)
plugin.run()
""",
        "actions:\n  wait: {command_id: 1}\n",
    )
    core.set_rows('slow,lua,{},1.0.0,"","admin",false,x')
    with Client(core.socket_path) as client:
        client.plugin_reload()
    from reed.wire.plugins import PluginSend

    with Client(core.socket_path) as client:
        requests = [
            Request(Command.PLUGIN_START, b"slow".ljust(32, b"\0")),  # takes some turns
            Request(Command.SNIPPET_WATCH, SnippetWatch().pack()),
            Request(Command.PLUGIN_SEND, PluginSend("slow", "wait", b"null").pack()),
        ]
        answers = [answer for _, answer in client.pipelined(requests)]
    assert isinstance(answers[0], bytes)
    assert isinstance(answers[1], Conflict)
    assert isinstance(answers[2], bytes)


def test_a_watch_without_an_answer_is_malformed(one_core: Site, client: Client) -> None:
    raw = Raw(one_core.socket_path)
    raw.frame()
    with Client(one_core.socket_path) as other:
        other.call(Command.SNIPPET_WATCH, SnippetWatch().pack(), Flag.ASYNC)
        assert other.snippet_create("note", "", {})  # it takes requests


# Slow readers --------------------------------------------------------------------------------------------------------


def test_a_reader_that_pauses_loses_nothing(one_core: Site, client: Client) -> None:
    raw = Raw(one_core.socket_path)
    raw.frame()
    create_many(client, 5000)  # 1 MB, more than the core buffers for it
    names: list[str] = []
    for frame in raw.all_frames():
        names += [change.name for change in SnippetChanges.unpack(frame.payload).changes]
        if len(names) == 5000:
            break
    assert names == [f"n{number}" for number in range(5000)]


def test_a_reader_that_falls_out_of_the_log_is_told_and_closed(site) -> None:
    site.config.write_text(json.dumps({"limits": {"kept_changes": 1000}}))
    site.start()
    with Client(site.socket_path) as client:
        set_up(client)
        raw = Raw(site.socket_path)
        raw.frame()
        create_many(client, 5000)
        before = client.stats()["memory_bytes"]
        *told, last = [(frame.flags, bytes(frame.payload)) for frame in raw.all_frames()]
        changes = [change for _, payload in told for change in SnippetChanges.unpack(payload).changes]
        assert [change.name for change in changes] == [f"n{number}" for number in range(len(changes))]
        assert last[0] == Flag.RESPONSE | Flag.ERROR
        error = ErrorResponse.unpack(last[1])
        assert (error.status, error.error_code) == (410, 30004)
        assert SnippetChanges.unpack(told[-1][1]).cursor in error.message
        assert before < 200 * 1024 * 1024
    site.no_tracebacks()


# Breaks --------------------------------------------------------------------------------------------------------------


class Told(threading.Thread):
    """Reads all changes with `reconnect` until it has one with the name "the end"."""

    def __init__(self, client: Client) -> None:
        super().__init__()
        self.changes: list[Change] = []
        self.error: Exception | None = None
        self.watch = client.watch(reconnect=True)
        self.start()

    def run(self) -> None:
        try:
            for change in self.watch:
                self.changes.append(change)
                if change.name == "the-end":
                    return
        except Exception as error:  # noqa: BLE001
            self.error = error

    def wait(self) -> list[Change]:
        self.join(PATIENCE * 4)
        assert not self.is_alive()
        assert self.error is None
        return self.changes


def insist(call: Callable[[], Any]) -> None:
    """Until it is answered: what may have been carried out is not repeated."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            call()
        except CoreNotRunning:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        except (NoAnswer, Conflict):
            return
        else:
            return


def test_nothing_is_lost_or_told_twice_when_the_core_is_killed(core) -> None:
    seed = random.Random(7)
    with Client(core.socket_path) as client:
        set_up(client)
        told = Told(client)
    writer = Client(core.socket_path)
    kills = {seed.randrange(CHANGES) for _ in range(6)}
    restarted = threading.Thread()
    for number in range(CHANGES):
        if number in kills:
            core.kill()
            restarted = threading.Thread(target=core.start)
            restarted.start()
        kind = seed.randrange(4)
        if kind == 0 and number > 10:
            insist(lambda: writer.snippet_update(f"n{seed.randrange(5)}", {"x": 1}))
        else:
            insist(lambda name=f"n{number}": writer.snippet_create("note", name, {}))
    if restarted.ident:
        restarted.join()
    insist(lambda: writer.snippet_create("note", "the-end", {}))
    changes = told.wait()
    created = [change.name for change in changes if change.kind == "snippet.created"]
    assert created == [record.semantic_name for record in writer.snippets("note", page_size=1000)]
    versions: dict[str, int] = {}
    for change in changes:
        assert change.version == versions.get(change.id, 0) + 1
        versions[change.id] = change.version
    assert versions == {record.id: record.version for record in writer.snippets("note", page_size=1000)}
    numbers = [int(change.cursor.partition("-")[2]) for change in changes]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    writer.close()


def test_a_watch_goes_on_when_the_core_restarts(core) -> None:
    with Client(core.socket_path) as client:
        set_up(client)
        told = Told(client)
        client.snippet_create("note", "before", {})
        assert core.reed("restart").returncode == 0
        client.snippet_create("note", "the-end", {})
        assert [change.name for change in told.wait()] == ["before", "the-end"]


def test_without_reconnect_the_end_of_the_core_is_an_error(core) -> None:
    with Client(core.socket_path) as client:
        set_up(client)
        with client.watch() as watch:
            client.snippet_create("note", "one", {})
            cursor = take(watch, 1)[0].cursor
            core.stop()
            with pytest.raises(ReedError):
                next(watch)
            assert watch.cursor == cursor
            assert list(watch) == []


def test_a_restored_backup_makes_cursors_too_old(core, tmp_path: Path) -> None:
    with Client(core.socket_path) as client:
        set_up(client)
        client.snippet_create("note", "kept", {})
        with client.watch() as watch:
            cursor = watch.cursor
    assert core.reed("backup", "create", str(tmp_path / "b.tar.gz")).returncode == 0
    core.stop()
    restored = core.reed("backup", "restore", str(tmp_path / "b.tar.gz"), "--replace")
    assert restored.returncode == 0, restored.stderr
    core.start()
    with Client(core.socket_path) as client, pytest.raises(CursorTooOld, match="a backup was restored"):
        client.watch(after=cursor)


# The command line ----------------------------------------------------------------------------------------------------


def watching(core, *words: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "reed", "watch", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"REED_RUNTIME_DIR": str(core.runtime_dir)},
    )
    assert process.stderr is not None
    line = process.stderr.readline()
    while "watching from" not in line:
        assert line
        line = process.stderr.readline()
    return process


def test_reed_watch_prints_a_line_for_each_change(one_core: Site, client: Client) -> None:
    process = watching(one_core, "--type", "page", "--count", "2")
    client.snippet_create("note", "n", {})
    first = client.snippet_create("page", "blog/intro", {})
    client.snippet_update("blog/intro", {"title": "Intro"})
    out, _ = process.communicate(timeout=PATIENCE)
    lines = [json.loads(line) for line in out.splitlines()]
    assert process.returncode == 0
    assert [(line["kind"], line["id"], line["version"]) for line in lines] == [
        ("snippet.created", first, 1),
        ("snippet.updated", first, 2),
    ]
    assert list(lines[0]) == ["cursor", "kind", "id", "type", "name", "version", "at", "made_by"]
    again = one_core.reed("watch", "--from", lines[0]["cursor"], "--count", "1")
    assert json.loads(again.stdout) == lines[1]


def test_ctrl_c_ends_reed_watch_with_the_cursor(one_core: Site, client: Client) -> None:
    process = watching(one_core)
    client.snippet_create("note", "n", {})
    assert process.stdout is not None
    cursor = json.loads(process.stdout.readline())["cursor"]
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert f"go on with: reed watch --from {cursor}" in errors


def test_reed_watch_says_when_a_type_is_not_defined_and_a_cursor_is_too_old(one_core: Site, client: Client) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "reed", "watch", "--type", "pgae"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"REED_RUNTIME_DIR": str(one_core.runtime_dir)},
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "type pgae is not defined yet; did you mean 'page'?\n"
    process.kill()
    process.communicate()
    refused = one_core.reed("watch", "--from", "0badcafe-3")
    assert refused.returncode == 1
    assert "watch without a cursor" in refused.stderr
