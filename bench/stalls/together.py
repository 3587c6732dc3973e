"""All kinds at once: several clients send them, one kind after the other, while another client asks for a snippet.

Kinds that change the registry are left out: they would take the plugins of the others away.
"""

from __future__ import annotations

import multiprocessing
import time
from contextlib import suppress
from pathlib import Path

from bench.stalls import plugins
from bench.stalls.measured import Core, Stall, core_of
from bench.stalls.requests import Kind, run
from reed.client import Client
from reed.errors import ReedError

NAME = "all kinds together"
CLIENTS = 6
SECONDS = 30.0


def measure(tree: Path, kinds: list[Kind]) -> Stall:
    kinds = [kind for kind in kinds if not kind.changes_rows]
    names = tuple(dict.fromkeys(name for kind in kinds for name in kind.plugins))
    with core_of(tree) as core:
        for prepare in dict.fromkeys(kind.prepare for kind in kinds):
            prepare(core.client)
        plugins.use(core.client, names)
        return core.watch(lambda: _send_all(core, kinds))


def _send_all(core: Core, kinds: list[Kind]) -> str:
    context = multiprocessing.get_context("fork")
    until = time.monotonic() + SECONDS
    clients = [
        context.Process(target=_send, args=(core.socket, kinds[number::CLIENTS], until), daemon=True)
        for number in range(CLIENTS)
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    return "done"


def _send(socket: Path, kinds: list[Kind], until: float) -> None:
    with Client(socket, timeout=120) as client:
        while time.monotonic() < until:
            for kind in kinds:
                with suppress(ReedError, OSError, TimeoutError):
                    run(kind, client)
                if time.monotonic() >= until:
                    return
