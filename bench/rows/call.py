"""A call of a plugin's action through the core, and a signal from the core to a plugin's handler.

The call asks a Lua plugin for 1 KB. Its limit is two hops of a ping-pong of C programs with the same bytes; go-plugin's
host calls its plugin without anything between. A signal's time is the plugin's clock when it has read the signal, less
the time that the core wrote into it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Container

from bench.lines import Line, missing
from bench.measure import Measure, exchange, interleaved, quantile
from bench.peers import HERE
from bench.processes import connect, running, site
from bench.rows import Run
from reed.client import Client
from reed.wire import frames
from reed.wire.codes import Command, Signal
from reed.wire.plugins import PluginSend
from reed.wire.structs import HEADER, STATUS

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
        "C ping-pong, two hops": lambda: _two_hops(run, len(request), reply),
        "go-plugin, net/rpc": lambda: run.peers.go_plugin("rpc", ANSWER),
        "go-plugin, gRPC": lambda: run.peers.go_plugin("grpc", ANSWER),
    }
    for name, make in own.items():
        host = run.peers.take(name, make) if not only or name in only else None
        if host is not None:
            asked = f"call {times}" if name.startswith("go-plugin") else times
            measures[name] = lambda host=host, asked=asked: host(asked)  # type: ignore[misc]
    figures = interleaved(measures, run.rounds)
    ours = figures.pop("reed")
    goal = {"C ping-pong, two hops": 4.0, "go-plugin, net/rpc": 1.0}  # whose calls have one hop
    lines = [Line(CALL, ours, "us", peer, theirs, goal.get(peer)) for peer, theirs in figures.items()]
    return lines + [missing(CALL, peer, run.peers.absent[peer]) for peer in own if peer in run.peers.absent]


def _two_hops(run: Run, request: int, reply: int) -> Callable[[int], float]:
    pair = run.peers.pair(request, reply)
    return lambda times: 2 * pair(times)


def signals(run: Run) -> list[Line]:
    """How long signals take, by the clock of the plugin that gets them."""
    place = run.stack.enter_context(site())
    place.set_rows([("signal-clock", "native")])
    place.add_native("signal-clock", (HERE / "signal_clock.py").read_text(), TIMES_MANIFEST)
    times = run.times(1000)
    with running(place), Client(place.socket) as client:
        client.plugin_start("signal-clock")
        client.plugin_send("signal-clock", "times", {})
        took: list[int] = []
        for _ in range(times):
            client.plugin_signal("signal-clock", Signal.RELOAD_CONFIG)
            time.sleep(0.0005)  # the plugin is done with it: what is measured is no queue
        took = json.loads(bytes(client.plugin_send("signal-clock", "times", {}).body))
    assert len(took) == times, f"{len(took)} of {times} signals came"
    values = [each / 1000 for each in took]
    return [Line(f"{SIGNAL}, p99", quantile(values, 0.99), "ms", goal=0.1), Line("  p50", quantile(values, 0.5), "ms")]
