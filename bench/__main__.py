"""`python -m bench`: the table of ratios to peers, measured in this run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

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
        start_of_a_command(folder)


def start_of_a_command(folder: Path) -> None:
    """`reed plugin list` as a whole process beside a bare Python; both compiled beforehand."""
    ours = [sys.executable, "-c", "import sys, reed.cli; sys.exit(reed.cli.main())", "plugin", "list"]
    environ = {**os.environ, "REED_RUNTIME_DIR": str(folder)}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)

    def run(words: list[str]) -> Callable[[], float]:
        def measure() -> float:
            began = time.perf_counter()
            subprocess.run(words, env=environ, check=True, stdout=subprocess.DEVNULL)
            return (time.perf_counter() - began) * 1000

        return measure

    bare = [sys.executable, "-c", "pass"]
    figures = interleaved({"python -c pass": run(bare), "reed plugin list": run(ours)}, 2 * ROUNDS)
    print(f"\n{'whole process':16} {'ms':>8} {'ratio to python -c pass':>24}")
    for name, value in figures.items():
        print(f"{name:16} {value:8.1f} {value / figures['python -c pass']:24.2f}")


if __name__ == "__main__":
    main()
