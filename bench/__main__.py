"""`python -m bench`: the table of ratios to peers, measured in this run."""

from __future__ import annotations

import json
from contextlib import ExitStack

from bench.processes import connect, core, echo, pin
from bench.roundtrip import exchange, exchange_many, interleaved
from reed.client import Client
from reed.wire import frames
from reed.wire.codes import Command

ROUNDS = 15
CONTENT = json.dumps({"title": "A page", "body": "x" * 990}).encode()


def main() -> None:
    """Start the core and its peers, let them take turns, and print medians."""
    processor = pin()
    with ExitStack() as stack:
        folder = stack.enter_context(core())
        with Client(folder / "core.sock") as client:
            client.registry_define("page", b"{}")
            snippet_id = client.snippet_create("page", "bench", CONTENT)
        request = frames.encode(Command.SNIPPET_GET, str(snippet_id).encode())
        ours = connect(folder / "core.sock")
        ours.sendall(request)
        reply_size = len(ours.recv(1 << 16))
        servers = {"reed GET": (ours, request)}
        for kind in ("uvloop", "asyncio"):
            servers[f"{kind} echo"] = (connect(stack.enter_context(echo(kind))), bytes(reply_size))

        def one(name: str):  # type: ignore[no-untyped-def]
            sock, data = servers[name]
            return lambda: exchange(sock, data, reply_size, 500)

        def many(name: str):  # type: ignore[no-untyped-def]
            sock, data = servers[name]
            return lambda: exchange_many(sock, data, reply_size, 100, 10)

        print(f"processor {processor}, {ROUNDS} rounds in turn, medians; a reply has {reply_size} bytes")
        for title, measure in (("one at a time", one), ("100 in flight", many)):
            figures = interleaved({name: measure(name) for name in servers}, ROUNDS)
            base = figures["uvloop echo"]
            print(f"\n{title:16} {'us':>8} {'ratio to uvloop echo':>22}")
            for name, value in figures.items():
                print(f"{name:16} {value:8.1f} {value / base:22.2f}")


if __name__ == "__main__":
    main()
