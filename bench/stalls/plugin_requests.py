"""The kinds of requests that involve plugins: floods of signals, messages, events and connections, large answers."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack, suppress
from typing import Any

from bench.stalls.plugins import SUBSCRIBERS, folder_of, use
from bench.stalls.requests import MB, PROBE, Kind, store_many
from reed.client import Client
from reed.wire import frames
from reed.wire.codes import Command, Flag, Signal
from reed.wire.requests import SignalMessage
from reed.wire.structs import REF, pack_text

GET = frames.encode(Command.SNIPPET_GET, pack_text(PROBE, REF.size))
_GIVE_UP = 120.0


def plugin_kinds() -> list[Kind]:
    return [*_answers(), *_floods(), *_events(), *_rows(), *_connections()]


def tell(client: Client, what: str, **arguments: Any) -> None:
    """Have the plugin `hostile` do it."""
    client.plugin_send("hostile", "do", {"what": what, **arguments})


def signal_all(client: Client, signal: Signal, count: int) -> None:
    """Send so many signals to every plugin; returns when the core has handled them."""
    message = SignalMessage(signal, 0, "", b"").pack()
    flood = frames.encode(Command.PLUGIN_SIGNAL, message, Flag.SIGNAL | Flag.BROADCAST) * count
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(client.path))
        sock.sendall(flood + GET)
        sock.recv(1)


def connect_many(client: Client, count: int, data: bytes) -> None:
    """Open so many connections, send this on each, and close them together."""
    with ExitStack() as stack:
        for _ in range(count):
            sock = stack.enter_context(socket.socket(socket.AF_UNIX))
            sock.connect(str(client.path))
            with suppress(OSError):
                sock.sendall(data)


def wait_for_events(client: Client) -> None:
    """Until every event was delivered or dropped."""
    give_up = time.monotonic() + _GIVE_UP
    while client.stats()["store"]["events"]:
        if time.monotonic() > give_up:
            raise TimeoutError("events are left")
        time.sleep(0.02)


def _told(name: str, what: str, payload: int = 0, **arguments: Any) -> Kind:
    return Kind(name, lambda client: tell(client, what, **arguments), plugins=("hostile",), payload=payload)


def _answers() -> list[Kind]:
    lists = b"[" + b",".join([b"[]"] * (4 * MB // 3)) + b"]"
    text = b'"' + b"a" * 15 * MB + b'"'
    content = b'{"x":' + lists + b"}"

    def send(name: str, action: str, data: bytes) -> Kind:
        request = lambda client: client.plugin_send("hostile", action, data)  # noqa: E731
        return Kind(name, request, plugins=("hostile",), payload=2 * len(data))

    def create(client: Client) -> None:
        client.registry_define("filtered", {})
        client.snippet_create("filtered", "", content)

    return [
        send("plugin: 15 MB, as bytes", "echo", text),
        send("plugin: 15 MB, as a text", "echo_json", text),
        send("plugin: 1,400,000 empty lists (4 MB)", "echo_json", lists),
        Kind(
            "plugin: the same to two, with BROADCAST",
            lambda client: client.plugin_send_all("echo_json", lists),
            plugins=("hostile", "filter"),
            payload=3 * len(lists),
        ),
        Kind("plugin: the same through a filter", create, plugins=("filter",), payload=3 * len(content)),
        _told("plugin: registers with the same", "register", 4 * MB, shape="lists", count=4 * MB // 3),
        _told("plugin: registers 100,000 actions", "register", 3 * MB, shape="actions", count=100_000),
        _told("plugin: 2 MB of output in lines", "output", line=100, count=20_000),
        _told("plugin: 300,000 lines of one character", "output", line=1, count=300_000),
        _told("plugin: 2 MB of output in one line", "output", line=0, count=2 * MB),
    ]


def _floods() -> list[Kind]:
    messages = Kind(
        "messages: to a plugin that sleeps",
        lambda client: [tell(client, "messages", to="sleeper", count=100) for _ in range(20)],
        plugins=("hostile", "sleeper"),
    )
    return [
        _told("signals: 50,000 READY", "signals", kind=int(Signal.PLUGIN_READY), count=50_000, size=0),
        _told("signals: 500 ERROR of 64 KB", "signals", kind=int(Signal.PLUGIN_ERROR), count=500, size=65_000),
        _told("signals: 20,000 SLEEPING and READY", "nap", count=20_000),
        Kind(
            "signals: 2,000 HEALTH_CHECK to 16 plugins",
            lambda client: signal_all(client, Signal.HEALTH_CHECK, 2_000),
            plugins=SUBSCRIBERS,
        ),
        Kind(
            "signals: 200 RELOAD_CONFIG to 16 plugins",
            lambda client: signal_all(client, Signal.RELOAD_CONFIG, 200),
            plugins=SUBSCRIBERS,
        ),
        messages,
    ]


def _events() -> list[Kind]:
    def create(client: Client) -> None:
        client.registry_define("event", {})
        store_many(client, "event", 500, lambda number: {"n": number})
        wait_for_events(client)

    def drop(client: Client) -> None:
        client.registry_define("event", {})
        store_many(client, "event", 500, lambda number: {"n": number})
        use(client, ())
        wait_for_events(client)

    return [
        Kind("events: 500 CREATEs for 16 subscribers", create, plugins=SUBSCRIBERS),
        Kind("events: 16 subscribers leave theirs", drop, plugins=SUBSCRIBERS, changes_rows=True),
    ]


def _rows() -> list[Kind]:
    hundred = tuple(f"row-{number}" for number in range(100))

    def refused(client: Client) -> None:
        (folder_of(client) / "plugin-registry.csv").write_text("x," * 500_000)
        client.plugin_reload_report()

    return [
        Kind("rows: 100 more", lambda client: use(client, hundred), changes_rows=True),
        Kind(
            "rows: lists of 100",
            lambda client: (client.plugin_list(), client.plugin_health()),
            plugins=hundred,
            changes_rows=True,
        ),
        Kind("rows: 100 fewer", lambda client: use(client, ()), plugins=hundred, changes_rows=True),
        Kind("rows: a row of 1 MB", refused, payload=MB, changes_rows=True),
    ]


def _connections() -> list[Kind]:
    part = frames.encode(Command.SNIPPET_CREATE, b"x" * MB)[:200_000]
    return [
        Kind("connections: 400, each with a GET", lambda client: connect_many(client, 400, GET)),
        Kind(
            "connections: 200, each with half a request",
            lambda client: connect_many(client, 200, part),
            payload=40 * MB,
        ),
        _told("connections: 1,000 of a plugin", "connections", count=1000),
    ]
