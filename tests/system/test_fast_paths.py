"""No answer depends on a fast path (core.forward, core.creates, core.response_cache): random requests to two cores, of
which one has none.

Several connections send frames of all kinds, also wrong ones, cut at random places. Each has names of its own, so that
its answers do not depend on the others' progress; those of both cores are equal byte for byte, except for ids, which
are replaced by numbers, and times.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import random
import re
import socket
import struct
import termios
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from reed.client import Client
from reed.config import load
from reed.core.creates import Creates
from reed.core.forward import Forwarder
from reed.core.response_cache import ResponseCache
from reed.daemon import Daemon
from reed.testing.rows import registry_text
from reed.wire import frames
from reed.wire.codes import Command, Flag
from reed.wire.plugins import PluginSend
from reed.wire.requests import ConnectionAssume, Ref
from reed.wire.snippets import SnippetCreate, SnippetDelete, SnippetUpdate
from reed.wire.structs import HEADER
from tests.system.raw_connection import DEADLINE

MAIN = """
local reed = require "reed"
local plugin = reed.create_plugin { name = "tool", version = "1.0.0" }
plugin.action("echo", function(text) return text end)
plugin.action("length", function(bytes) return tostring(#bytes) end)
plugin.action("long", function(bytes) return (" "):rep(tonumber(bytes)) end)
plugin.action("slow", function(text)
  local stop = os.clock() + 0.005
  while os.clock() < stop do end
  return text
end)
plugin.action("status", function(text) return text, tonumber(text) end)
plugin.action("refuse", function() reed.fail(422, "not this") end)
plugin.action("read", function(_, name) return reed.snippet.get(name).content.text end)
plugin.action("write", function(_, name)
  reed.snippet.create("page", name, { text = "of the plugin" })
  return "written"
end)
plugin.run()
"""
MANIFEST = """
name: tool
version: 1.0.0
actions:
  echo: {command_id: 1}
  length: {command_id: 2, input: bytes}
  status: {command_id: 3}
  refuse: {command_id: 4}
  read: {command_id: 5}
  write: {command_id: 6}
  long: {command_id: 7, input: bytes}
  slow: {command_id: 8}
"""
ROW = 'tool,lua,/tmp/reed-cms/plugins/tool.sock,1.0.0,"snippet_read,snippet_write","admin,caller",false,""\n'
FAST = ((Forwarder, "take"), (Forwarder, "take_answer"), (Creates, "take"), (ResponseCache, "take"))
UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
TIMES = slice(HEADER.size + 2 + 36 + 32 + 32 + 4, HEADER.size + 2 + 36 + 32 + 32 + 4 + 16)  # of a record
INPUT_AT = HEADER.size + 68  # of a call
SHARED = "shared"  # a name that all may read
ACTIONS = ["echo", "echo", "echo", "echo", "length", "long", "status", "refuse", "read", "write", "slow", "slow"]
VALID = [b"{}", b"null", b'{"a":[1,{"b":"\xc3\xa4"}]}', b'"text"', b"7", b'{"id":"a1b2","n":1}']
INPUTS = [*VALID * 2, b"", b"{} ", b"[}", b'{"a":1,"a":2}', b"{", b"\xff", b"NaN"]


class Step(NamedTuple):
    """Bytes that a connection sends, and what the next step waits for."""

    connection: int
    data: bytes
    until: str  # sent, read by the core, answered


class Frames:
    """What one connection sends, at random."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.names = [_word(rng) for _ in range(4)]
        self.of_plugin = [_word(rng) for _ in range(4)]  # the plugin works beside the connection's other requests
        self.kinds: dict[Callable[[], bytes], int] = {
            self.call: 12, self.get: 12, self.create: 8, self.change: 3, self.many_gets: 2,
            self.nested: 3, self.bad_length: 1,
            self.strange: 2,
        }  # fmt: skip

    def next(self) -> bytes:
        (make,) = self.rng.choices([*self.kinds], [*self.kinds.values()])
        return make()

    def first(self) -> bytes:
        group = self.rng.choice(["", "", "", "", "reader", "caller"])
        return frames.encode(Command.CONNECTION_ASSUME, ConnectionAssume("anna", group).pack()) if group else b""

    def last(self) -> bytes:
        """After some of them the core closes the connection."""
        frame = bytearray(self.call())
        place, value = self.rng.choice([(0, 0), (4, 2), (8, frame[8] ^ 1), (8, frame[8] ^ 2), (11, 0x7F), (7, 1)])
        frame[place] = value
        return self.rng.choice([b"", bytes(frame), bytes(frame) + self.get(), self.call()[: self.rng.randrange(1, 90)]])

    def name(self) -> str:
        return self.rng.choice([*self.names, SHARED, SHARED])

    def flags(self) -> int:
        return int(self.rng.choices([0, Flag.ASYNC, Flag.BROADCAST, Flag.ERROR, Flag.RESPONSE], [85, 8, 2, 3, 2])[0])

    def call(self) -> bytes:
        pick = self.rng.choice
        action, given = pick([*ACTIONS, "nothing"]), pick(INPUTS)
        if action == "long":
            given = pick([b"10", b"300000", b"300000"])
        elif action == "status":
            given = pick([b"200", b"299", b"404", b"599", b"199", b"600"])
        elif action == "read":
            given = json.dumps(pick([*self.of_plugin, SHARED])).encode()
        elif action == "write":
            given = json.dumps(pick(self.of_plugin)).encode()
        elif pick([False] * 9 + [True]):
            given = b'"' + b"x" * pick([200, 16_000, 17_000, 40_000]) + b'"'
        plugin = pick(["tool"] * 20 + ["none", "", "No Name"])
        return frames.encode(Command.PLUGIN_SEND, PluginSend(plugin, action, given).pack(), self.flags())

    def nested(self) -> bytes:
        """A call with a whole frame as its input."""
        inner = self.rng.choice(
            [self.get(), frames.encode(Command.PLUGIN_SEND, PluginSend("tool", "echo", b"1").pack())]
        )
        return frames.encode(Command.PLUGIN_SEND, PluginSend("tool", "length", inner).pack())

    def get(self) -> bytes:
        return frames.encode(Command.SNIPPET_GET, Ref(self.name()).pack(), self.flags())

    def many_gets(self) -> bytes:
        shared = frames.encode(Command.SNIPPET_GET, Ref(SHARED).pack())
        same = self.rng.random() < 0.5
        return b"".join(shared if same else self.get() for _ in range(self.rng.randrange(2, 30)))

    def create(self) -> bytes:
        pick = self.rng.choice
        content = pick([b'{"text":"a"}', b'{"text":"%d"}' % self.rng.randrange(99), b"{}", b"{", b'{"text":1}', b"[1]"])
        if pick([False] * 9 + [True]):
            content = b'{"text":"%b"}' % (b"y" * pick([300, 16_300, 30_000]))
        name = pick(["", *self.names, SHARED])
        record = SnippetCreate(pick(["page"] * 9 + ["none"]), name, content)
        return frames.encode(Command.SNIPPET_CREATE, record.pack(), self.flags())

    def change(self) -> bytes:
        name = self.rng.choice(self.names)
        if self.rng.random() < 0.3:
            return frames.encode(Command.SNIPPET_DELETE, SnippetDelete(name, False).pack())
        patch = b'{"text":"%d"}' % self.rng.randrange(99)
        return frames.encode(Command.SNIPPET_UPDATE, SnippetUpdate(name, self.rng.choice([0, 0, 1, 2]), patch).pack())

    def bad_length(self) -> bytes:
        """A whole frame whose inner length is wrong."""
        frame = bytearray(self.rng.choice([self.call, self.create])())
        at = HEADER.size + 64
        (length,) = struct.unpack_from("<I", frame, at)
        struct.pack_into("<I", frame, at, max(0, length + self.rng.choice([-1, 1, 70_000])))
        return bytes(frame)

    def strange(self) -> bytes:
        pick = self.rng.choice
        payload = pick([b"", b"a", self.name().encode().ljust(35, b"\0"), Ref(self.name()).pack() + b"\0", bytes(100)])
        command = pick([Command.SNIPPET_GET, Command.PLUGIN_SEND, Command.SNIPPET_CREATE, 1, 0xFE])
        return frames.encode(int(command), payload, self.flags())


def _word(rng: random.Random) -> str:
    """No error mentions it as a name that another one may have meant."""
    return "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=16))


def script(seed: int) -> list[Step]:
    rng = random.Random(seed)
    streams = []
    for _ in range(rng.randrange(1, 5)):
        sent = Frames(rng)
        whole = [sent.next() for _ in range(rng.randrange(1, 60))]
        streams.append(_pieces(rng, [sent.first(), *whole, sent.last()]))
    steps = []
    while any(streams):
        number = rng.choice([number for number, pieces in enumerate(streams) if pieces])
        steps.append(Step(number, streams[number].pop(0), rng.choice(["sent", "read", "answered", "answered"])))
    return steps


def _pieces(rng: random.Random, whole: list[bytes]) -> list[bytes]:
    """Most are one frame, some are several; some end anywhere."""
    pieces = [b""]
    for frame in whole:
        parts = [frame]
        if rng.random() < 0.25:
            cut = rng.choice([rng.randrange(len(frame) + 1), INPUT_AT])
            parts = [frame[:cut], frame[cut:]]
        pieces[-1] += parts[0]
        pieces += parts[1:]
        if rng.random() < 0.7:
            pieces.append(b"")
    return [piece for piece in pieces if piece]


class Peer:
    """A connection to the core. It reads while it waits: the core stops reading from one that does not."""

    def __init__(self, path: Path) -> None:
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.connect(str(path))
        self._sock.setblocking(False)
        self._data = bytearray()

    def send(self, data: bytes) -> None:
        deadline = time.monotonic() + DEADLINE
        while data:
            assert time.monotonic() < deadline, "the core does not read"
            try:
                data = data[self._sock.send(data) :]
            except BlockingIOError:
                self.receive()
            except (BrokenPipeError, ConnectionResetError):  # the core closed it
                return

    def receive(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            self._data += self._sock.recv(1 << 20)

    def unread(self) -> int:
        """Bytes that the core has not read."""
        (size,) = struct.unpack("i", fcntl.ioctl(self._sock, termios.TIOCOUTQ, bytes(4)))
        return int(size)

    def rest(self) -> bytes:
        """All that came, up to the end, which follows the last answer."""
        with self._sock, contextlib.suppress(ConnectionResetError):
            with contextlib.suppress(OSError):  # the core closed it
                self._sock.shutdown(socket.SHUT_WR)
            self._sock.settimeout(DEADLINE)
            while more := self._sock.recv(1 << 20):
                self._data += more
        return bytes(self._data)


class Site:
    """A core in a thread, whose plugin is real."""

    def __init__(self, root: Path, taken: Counter[str]) -> None:
        self.taken = taken  # by the fast paths of all cores
        (folder := root / "plugins" / "tool").mkdir(parents=True)
        (folder / "main.lua").write_text(MAIN)
        (folder / "plugin.yaml").write_text(MANIFEST)
        (root / "rows.csv").write_text(registry_text() + ROW)
        (root / "reed.yaml").write_text(
            "groups: {reader: {permissions: [snippet_read]}, caller: {permissions: [plugin_send]}}\n"
        )
        places = {"runtime_dir": str(root / "run"), "data_dir": str(root / "data")}
        places |= {"registry": str(root / "rows.csv"), "plugin_dirs": [str(root / "plugins")]}
        self.core = Daemon(load(root / "reed.yaml", {}, places))

    def switch_off(self) -> None:
        context: Any = self.core._context
        context.dispatcher.fast_paths = {}
        context.forwarder.take_answer = lambda *_: 0

    def start(self) -> Site:
        self.core.run_in_thread()
        self.client = Client(self.core.socket)
        schema = {"type": "object", "properties": {"text": {"type": "string"}}}
        self.client.registry_define("page", {"schema": schema})
        self.client.plugin_start("tool")
        return self

    def play(self, steps: list[Step]) -> list[list[bytes]]:
        """The answers that each connection got. Nothing is left of the snippets."""
        self.client.snippet_create("page", SHARED, {"text": "for all"})
        peers = [Peer(self.core.socket) for _ in range(1 + max(step.connection for step in steps))]
        for number, data, until in steps:
            peers[number].send(data)
            deadline = time.monotonic() + DEADLINE
            while (until != "sent" and peers[number].unread()) or (until == "answered" and self._has_calls()):
                assert time.monotonic() < deadline, "the core does not read"
                for peer in peers:
                    peer.receive()
        answers = [_normal(peer.rest()) for peer in peers]
        while records := self.client.snippet_list("").records:
            for record in records:
                self.client.snippet_delete(record.id)
        return answers

    def _has_calls(self) -> bool:
        states = [getattr(each, "in_flight", each) for each in [*self.core._listener.connections]]
        return any(each.calls or each.writes for each in states)

    def stop(self) -> None:
        self.client.close()
        self.core.stop()


def _normal(data: bytes) -> list[bytes]:
    """The frames, without what differs from core to core."""
    numbers: dict[bytes, bytes] = {}
    found = []
    while data:
        _, _, command_id, flags, _, size = HEADER.unpack_from(data)
        frame, data = bytearray(data[: HEADER.size + size]), data[HEADER.size + size :]
        if (command_id, flags) == (Command.SNIPPET_GET, Flag.RESPONSE):
            frame[TIMES] = bytes(16)
        found.append(UUID.sub(lambda match: numbers.setdefault(match[0], b"id %d" % len(numbers)), bytes(frame)))
    return found


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Site]]:
    """With fast paths, which count what they take, and without."""
    with pytest.MonkeyPatch.context() as patch:
        taken: Counter[str] = Counter()
        for owner, name in FAST:
            _count(patch, owner, name, taken)
        fast, slow = (Site(tmp_path_factory.mktemp(name), taken) for name in ("fast", "slow"))
        slow.switch_off()
        fast.start()
        slow.start()
        yield fast, slow
        fast.stop()
        slow.stop()


def _count(patch: pytest.MonkeyPatch, owner: type, name: str, taken: Counter[str]) -> None:
    method: Callable[..., int] = getattr(owner, name)

    def counted(*arguments: Any) -> int:
        size = method(*arguments)
        taken[f"{owner.__name__}.{name}"] += size > 0
        return size

    patch.setattr(owner, name, counted)


@pytest.mark.parametrize("seed", range(12))
def test_answers_are_the_same_without_fast_paths(sites: tuple[Site, Site], seed: int) -> None:
    fast, slow = sites
    steps = script(seed)
    for with_paths, without in zip(fast.play(steps), slow.play(steps), strict=True):
        for number, (one, other) in enumerate(zip(with_paths, without, strict=False)):
            assert one == other, f"answer {number}"
        assert len(with_paths) == len(without)


def test_the_paths_were_used(sites: tuple[Site, Site]) -> None:
    taken = sites[0].taken
    assert [name for owner, name in ((o.__name__, f"{o.__name__}.{n}") for o, n in FAST) if taken[name] < 20] == [], (
        taken
    )
