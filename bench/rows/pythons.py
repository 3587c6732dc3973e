"""Cores of each supported Python that is here (bench/pythons.py), in turn, with redis, go-plugin and C beside.

GETs are in processor time of server and client together: all are pinned to one processor, so on a machine that does
nothing else this is the time of a round trip, and on a busy one it can still be compared. Calls are by the clock, as
go-plugin's host measures them. The best Python has the goal.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import pythons
from bench.content import KILOBYTE
from bench.lines import Line, missing
from bench.measure import Measure, exchange, exchange_many, interleaved
from bench.processes import Site, connect, running, site
from bench.rows import Run
from bench.rows.call import ANSWER, LUA, MANIFEST, NET_RPC, TWO_HOPS, two_hops
from bench.rows.get import IN_FLIGHT, redis_get
from bench.rows.plugins import LUA_MEMORY, MB, add_plugin, call_plugin, create_page, fleet, memory, rust_program
from reed.client import Client
from reed.wire import frames
from reed.wire.codes import Command
from reed.wire.plugins import PluginSend
from reed.wire.structs import HEADER, STATUS

ONE = "GET 1 KB, one at a time"
MANY = "GET 1 KB, 100 in flight"
CALL = "call of a Lua plugin's action"
MEMORY = "Lua plugin, private memory"
FLEET, FLEET_MEMORY = (20, 10), 70.0  # MB
REDIS = "redis GET"
_SEO, _ANSWER = "seo-0", "answer"
_CALLS = 50  # after which a plugin's memory is looked at


@dataclass(frozen=True, slots=True)
class _Side:
    """A server, and the request that it is asked."""

    pid: int
    sock: socket.socket
    request: bytes
    reply_size: int

    def one(self, times: int) -> float:
        """Microseconds of processor time."""
        return self._used(lambda: exchange(self.sock, self.request, self.reply_size, times)) / times

    def many(self, times: int) -> float:
        """Requests a second of processor time, 100 in flight."""
        used = self._used(lambda: exchange_many(self.sock, self.request, self.reply_size, IN_FLIGHT, times))
        return times * IN_FLIGHT / used * 1e6

    def _used(self, operation: Callable[[], object]) -> float:
        before = _used_by(self.pid) + _used_by(os.getpid())
        operation()
        return _used_by(self.pid) + _used_by(os.getpid()) - before


def measure(run: Run) -> list[Line]:
    versions = pythons.find(run.pythons)
    found = {f"Python {version}": command for version, command in versions.items()}
    fleets = _fleets(found)  # before the other cores, with which each would share its libraries
    places = {name: _started(run, command) for name, command in found.items()}
    memories = {name: _memory(place) for name, place in places.items()}
    lines = [*_gets(run, places), *_calls(run, places)]
    lines += [
        Line(f"{MEMORY}, {name}", used, "MB", goal=_with_immortals(name, LUA_MEMORY)) for name, used in memories.items()
    ]
    lines += fleets
    lines += [missing("of each Python", peer, why) for peer, why in run.peers.absent.items()]
    return lines + [missing(f"Python {minor}", "", "not on this machine") for minor in pythons.absent(versions)]


def _with_immortals(name: str, goal: float) -> float | None:
    """Goals for memory are those of Pythons with immortal objects, 3.12 and later."""
    return None if name.startswith("Python 3.11.") else goal


def _fleets(found: Mapping[str, pythons.Command]) -> list[Line]:
    lua, rust = FLEET
    work = f"{lua} Lua + {rust} Rust plugins, memory of all (PSS)"
    program = rust_program()
    if program is None:
        return [missing(work, "Rust", "no cargo")]
    return [
        Line(f"{work}, {name}", fleet(lua, rust, program, command)[0], "MB", goal=_with_immortals(name, FLEET_MEMORY))
        for name, command in found.items()
    ]


def _started(run: Run, command: pythons.Command) -> Site:
    place = run.stack.enter_context(site())
    place.python = command
    place.set_rows([(_SEO, "lua"), (_ANSWER, "lua")])
    add_plugin(place, _SEO, None)
    place.add_lua(_ANSWER, LUA, MANIFEST)
    return run.stack.enter_context(running(place))


def _memory(place: Site) -> float:
    """Of simple-seo, in MB."""
    with Client(place.socket) as client:
        page = create_page(client)
        client.plugin_start(_SEO)
        for _ in range(_CALLS):
            call_plugin(client, _SEO, page)
        (plugin,) = client.plugin_health(_SEO)
        held = memory(plugin["pid"])
        client.plugin_stop(_SEO)
    return (held["Private_Clean"] + held["Private_Dirty"]) / MB


def _gets(run: Run, places: Mapping[str, Site]) -> list[Line]:
    sides = {name: _get_of(run, place) for name, place in places.items()}
    redis = run.peers.take(REDIS, run.peers.redis)
    if redis is not None:
        size = next(iter(sides.values())).reply_size
        sides[REDIS] = _Side(_peer_of(redis), redis, *redis_get(redis, size))
    lines = []
    few, batches = run.times(300), run.times(15)
    ones: dict[str, Measure] = {name: lambda side=side: side.one(few) for name, side in sides.items()}  # type: ignore[misc]
    many: dict[str, Measure] = {name: lambda side=side: side.many(batches) for name, side in sides.items()}  # type: ignore[misc]
    lines += beside(ONE, "us", REDIS, interleaved(ones, 4 * run.rounds), 1.25)
    return lines + beside(MANY, "/s", REDIS, interleaved(many, 4 * run.rounds), 1.0, at_least=True)


def _get_of(run: Run, place: Site) -> _Side:
    with Client(place.socket) as client:
        snippet_id = client.snippet_create("page", "bench", KILOBYTE)
    request = frames.encode(Command.SNIPPET_GET, snippet_id.encode())
    sock = run.stack.enter_context(connect(place.socket))
    sock.sendall(request)
    return _Side(place.pid, sock, request, len(sock.recv(1 << 16)))


def _calls(run: Run, places: Mapping[str, Site]) -> list[Line]:
    request = frames.encode(Command.PLUGIN_SEND, PluginSend(_ANSWER, _ANSWER, b"{}").pack())
    reply, times = HEADER.size + STATUS.size + ANSWER, run.times(200)
    measures: dict[str, Measure] = {}
    for name, place in places.items():
        with Client(place.socket) as client:
            client.plugin_start(_ANSWER)
        sock = run.stack.enter_context(connect(place.socket))
        measures[name] = lambda sock=sock: exchange(sock, request, reply, times)  # type: ignore[misc]
    host = run.peers.take(NET_RPC, lambda: run.peers.go_plugin("rpc", ANSWER))
    if host is not None:
        measures[NET_RPC] = lambda: host(f"call {times}")
    hops = run.peers.take(TWO_HOPS, lambda: two_hops(run, len(request), reply))
    if hops is not None:
        measures[TWO_HOPS] = lambda: hops(10 * times)  # it starts a process each time
    figures = interleaved(measures, run.rounds)
    rows = []
    for peer, goal in ((NET_RPC, 1.0), (TWO_HOPS, 4.0)):
        others = {name: each for name, each in figures.items() if name == peer or name in places}
        rows.append(beside(CALL, "us", peer, others, goal))
    return [line for of_one_python in zip(*rows, strict=True) for line in of_one_python]


def beside(
    work: str, unit: str, peer: str, figures: dict[str, float], goal: float, *, at_least: bool = False
) -> list[Line]:
    """A line for each Python; the goal stands at the best."""
    theirs = figures.pop(peer, None)
    best = (max if at_least else min)(figures, key=figures.__getitem__)
    return [
        Line(f"{work}, {name}", ours, unit, peer, theirs, goal if name == best else None, at_least)
        for name, ours in figures.items()
    ]


def _used_by(pid: int) -> float:
    """Microseconds of processor time."""
    return int(Path(f"/proc/{pid}/schedstat").read_bytes().split()[0]) / 1000


def _peer_of(sock: socket.socket) -> int:
    """The process that accepted the connection."""
    pid, _, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(pid)
