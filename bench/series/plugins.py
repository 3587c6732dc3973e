"""1 to 200 Lua plugins: starting them, calling one of them, and what all of them take of memory with the core."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path

from bench.measure import exchange, timed
from bench.processes import connect, raise_descriptors, running, site
from bench.rows.call import ANSWER, LUA, MANIFEST
from bench.series import Curve, Scale
from reed.client import Client
from reed.wire import frames
from reed.wire.codes import Command
from reed.wire.plugins import PluginSend
from reed.wire.structs import HEADER, STATUS

COUNTS = (1, 5, 20, 50, 100, 200)


def curves(scale: Scale) -> Iterator[Curve]:
    start = Curve("plugins", "start to READY, one more", "plugins", "ms", 0)
    call = Curve("calls of plugins", "call of one, 1 KB", "plugins", "us", 0)
    memory = Curve("memory of plugins", "memory of core and plugins (PSS)", "plugins", "MB", 1)
    raise_descriptors()
    with site() as place:
        names = [f"answer-{number}" for number in range(min(scale.most, COUNTS[-1]))]
        place.set_rows([(name, "lua") for name in names])
        for name in names:
            place.add_lua(name, LUA.replace('"answer", version', f'"{name}", version'), MANIFEST)
        with running(place), Client(place.socket) as client, connect(place.socket) as sock:
            ready = 0
            for count in (each for each in COUNTS if each <= len(names)):
                took = [timed(lambda name=name: client.plugin_start(name)) for name in names[ready:count]]  # type: ignore[misc]
                ready = count
                start.add(count, statistics.median(took) * 1000)
                request = frames.encode(Command.PLUGIN_SEND, PluginSend(names[0], "answer", b"{}").pack())
                size = HEADER.size + STATUS.size + ANSWER
                call.add(count, min(exchange(sock, request, size, 200) for _ in range(7)))
                pids = [row["pid"] for row in client.plugin_list() if row.get("pid")]
                memory.add(count, (place.memory() + sum(map(_pss, pids))) / 1e6)
    yield from (start, call, memory)


def _pss(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0
