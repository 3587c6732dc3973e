"""A call of a plugin's action through the core, and a signal from the core to a plugin's handler.

The call asks a Lua plugin for 1 KB. Its limit is two hops of a ping-pong of C programs with the same bytes; go-plugin's
host calls its plugin without anything between. A signal's time is the plugin's clock when it has read the signal, less
the time that the core wrote into it.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Container

from bench.lines import Line, missing
from bench.measure import Measure, exchange, interleaved, quantile
from bench.peers import HERE
from bench.processes import connect, running, site
from bench.rows import Run
from reed.client import Client
from reed.wire import frames
from reed.wire.codes import Command, Flag, Signal
from reed.wire.plugins import PluginSend
from reed.wire.requests import SignalMessage
from reed.wire.structs import HEADER, STATUS

TWO_HOPS, NET_RPC = "C ping-pong, two hops", "go-plugin, net/rpc"
CALL = "call of a Lua plugin's action, 1 KB"
SIGNAL = "signal, core to plugin's handler"
ANSWER = 1024
LUA = f"""
local reed = require "reed"
local plugin = reed.create_plugin {{ name = "answer", version = "1.0.0" }}
local reply = '"' .. ("x"):rep({ANSWER - 2}) .. '"'
plugin.action("answer", function(payload) return reply end)
plugin.run()
"""
MANIFEST = "actions:\n  answer: {command_id: 1, input: json}\n"
TIMES_MANIFEST = "actions:\n  times: {command_id: 1, input: json}\n"


def measure(run: Run) -> list[Line]:
    return [*calls(run), *signals(run)]


def calls(run: Run, only: Container[str] = ()) -> list[Line]:
    """Beside these peers `only`, or all."""
    place = run.stack.enter_context(site())
    place.set_rows([("answer", "lua")])
    place.add_lua("answer", LUA, MANIFEST)
    run.stack.enter_context(running(place))
    with Client(place.socket) as client:
        client.plugin_start("answer")
    payload = PluginSend("answer", "answer", b"{}").pack()
    request = frames.encode(Command.PLUGIN_SEND, payload)
    sock = run.stack.enter_context(connect(place.socket))
    reply = HEADER.size + STATUS.size + ANSWER
    times = run.times(200)
    measures: dict[str, Measure] = {"reed": lambda: exchange(sock, request, reply, times)}
    own: dict[str, Callable[[], Callable[..., float]]] = {
        TWO_HOPS: lambda: two_hops(run, len(request), reply),
        NET_RPC: lambda: run.peers.go_plugin("rpc", ANSWER),
        "go-plugin, gRPC": lambda: run.peers.go_plugin("grpc", ANSWER),
    }
    for name, make in own.items():
        host = run.peers.take(name, make) if not only or name in only else None
        if host is not None:
            asked = f"call {times}" if name.startswith("go-plugin") else times
            measures[name] = lambda host=host, asked=asked: host(asked)  # type: ignore[misc]
    figures = interleaved(measures, run.rounds)
    ours = figures.pop("reed")
    lines = [Line(CALL, ours, "us", peer, theirs) for peer, theirs in figures.items()]  # goals: in the group pythons
    return lines + [missing(CALL, peer, run.peers.absent[peer]) for peer in own if peer in run.peers.absent]


def two_hops(run: Run, request: int, reply: int) -> Callable[[int], float]:
    """Microseconds; it takes the number of calls."""
    pair = run.peers.pair(request, reply)
    return lambda times: 2 * pair(times)


def signals(run: Run) -> list[Line]:
    """How long signals take, by the clock of the plugin that gets them. In turn with the same bytes from this process
    to another such plugin, so that what the machine does at that moment is seen on both sides."""
    place = run.stack.enter_context(site())
    place.set_rows([("signal-clock", "native")])
    place.add_native("signal-clock", (HERE / "signal_clock.py").read_text(), TIMES_MANIFEST)
    times = run.times(1000)
    with running(place), Client(place.socket) as client, _BareClock(run) as bare:
        client.plugin_start("signal-clock")
        client.plugin_send("signal-clock", "times", {})
        ours, theirs = [], []
        for _ in range(times):
            client.plugin_signal("signal-clock", Signal.RELOAD_CONFIG)
            time.sleep(0.0005)
            # Its answer says that it is done with the signal: what is measured is no queue.
            ours += json.loads(bytes(client.plugin_send("signal-clock", "times", {}).body))
            bare.signal()
            time.sleep(0.0005)
            theirs += bare.times()
    assert len(ours) == len(theirs) == times, f"{len(ours)} and {len(theirs)} of {times} signals came"
    (p99, bare_p99), (p50, bare_p50) = (
        [quantile([each / 1000 for each in side], part) for side in (ours, theirs)] for part in (0.99, 0.5)
    )
    goal = max(1.0, 0.1 / bare_p99)  # 0.1 ms, unless two bare processes take longer
    return [
        Line(f"{SIGNAL}, p99", p99, "ms", "two bare processes", bare_p99, goal),
        Line("  p50", p50, "ms", "two bare processes", bare_p50),
    ]


class _BareClock:
    """The plugin, with this process in place of the core."""

    def __init__(self, run: Run) -> None:
        path = run.folder / "bare.sock"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            command = [sys.executable, str(HERE / "signal_clock.py")]
            self._process = subprocess.Popen(command, env={**os.environ, "REED_SOCKET": str(path)})
            self._sock = listener.accept()[0]
        self._read()  # PLUGIN_REGISTER
        self._sock.sendall(frames.encode(Command.PLUGIN_REGISTER, STATUS.pack(200), Flag.RESPONSE))
        self._read()  # READY

    def __enter__(self) -> _BareClock:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()  # upon which it ends
        self._process.wait(30)

    def signal(self) -> None:
        message = SignalMessage(Signal.RELOAD_CONFIG, time.time_ns() // 1000, "signal-clock", b"")
        self._sock.send(frames.encode(Command.PLUGIN_SIGNAL, message.pack(), Flag.SIGNAL))
        self._read()  # READY

    def times(self) -> list[int]:
        self._sock.sendall(frames.encode(1, b""))
        found: list[int] = json.loads(self._read()[STATUS.size :])
        return found

    def _read(self) -> bytes:
        header = self._sock.recv(HEADER.size, socket.MSG_WAITALL)
        size = HEADER.unpack(header)[-1]
        return self._sock.recv(size, socket.MSG_WAITALL) if size else b""
