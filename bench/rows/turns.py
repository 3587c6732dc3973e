"""The longest turns of the loop while everything goes on at once, as SYSTEM_STATS tells them.

    imports   942 pages again and again, pipelined        trees, lists   the whole tree, 1,000 records, a search
    reindex   of everything, again and again              plugins        started and stopped; the registry read again
    reads     SNIPPET_GET, all the time

A turn is counted twice: in processor time, the core's own work (turn_shares.py; it also notes what the longest turns
did), and by the clock without the wait for the disk, as SYSTEM_STATS has it, which includes the times when the machine
runs something else. The core keeps a processor of its own, the load and its children the others, and where root may
say so the core goes before all else there. (Not by SCHED_FIFO: the kernel stops that for 50 ms of each second.) The
runtime folder is on a tmpfs, as /run is, so that new sockets and FIFOs do not wait for the disk.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.content import pages_file
from bench.lines import Line
from bench.processes import ROOT, Site, running, site
from bench.rows import Run
from bench.rows.latency import fill
from bench.turn_shares import RESET, WRITE
from reed.client import Client, Request
from reed.errors import CallError
from reed.wire.codes import Command
from reed.wire.snippets import SnippetCreate

WORK = "longest turn under full load"
PLUGINS = 20
SECONDS = 12.0
_SHOWN = 8  # of the longest turns
LUA = """
local reed = require "reed"
local plugin = reed.create_plugin {{ name = "{name}", version = "1.0.0" }}
plugin.action("answer", function(payload) return payload end)
plugin.run()
"""


def measure(run: Run) -> list[Line]:
    path, _ = pages_file(run.folder)
    with site(in_memory=True) as place:
        file = place.folder / "turns.json"
        place.environ["BENCH_TURNS"] = str(file)
        measure_turns(place)
        names = [f"worker-{number}" for number in range(PLUGINS)]
        place.set_rows([(name, "lua") for name in names])
        for name in names:
            place.add_lua(name, LUA.format(name=name), "actions:\n  answer: {command_id: 1, input: json}\n")
        with running(place), Client(place.socket) as client:
            _prefer(place.pid)
            ids = fill(client, path)
            before = client.stats()["loop"]
            os.kill(place.pid, RESET)
            done = _load(place, path, ids, names, SECONDS * min(1.0, 3 * run.part))
            loop, found = client.stats()["loop"], written(place.pid, file)
    turns = [late - early for late, early in zip(loop["histogram"], before["histogram"], strict=True)]
    note = ", ".join(f"{count} {name}" for name, count in done.items())
    print(f"  under load: {note}; {sum(turns)} turns")
    for milliseconds, parts in found["longest"][:_SHOWN]:
        print(f"  {milliseconds:6.1f} ms: " + ", ".join(f"{name} {used:.1f}" for name, used in parts))
    return [
        Line(f"{WORK}, processor time, p99.9", quantile_of_tenths(found["tenths"], 0.999), "ms", goal=5.0),
        Line(f"{WORK}, by the clock, p99.9", min(quantile(turns, 0.999), loop["turn_ms"]["longest"]), "ms"),
        Line(f"{WORK}, by the clock, the longest", loop["turn_ms"]["longest"], "ms"),
        Line("  longest wait of a turn for the disk", loop["disk_longest_ms"], "ms"),
    ]


def measure_turns(place: Site) -> None:
    """Have turn_shares.py run `reed serve`."""
    command = place.command

    def measured(*flags: str) -> list[str]:
        words = command(*flags)
        at = words.index("-m")
        return [*words[:at], str(ROOT / "bench" / "turn_shares.py"), *words[at + 2 :]]

    place.command = measured  # type: ignore[method-assign]


def written(core: int, file: Path) -> dict[str, Any]:
    os.kill(core, WRITE)
    give_up = time.monotonic() + 10
    while not file.exists() and time.monotonic() < give_up:
        time.sleep(0.01)
    written: dict[str, Any] = json.loads(file.read_text())
    return written


def quantile_of_tenths(tenths: list[int], part: float) -> float:
    if not any(tenths):
        raise RuntimeError("the core has measured no turn")
    left = part * sum(tenths)
    for number, count in enumerate(tenths):
        left -= count
        if left <= 0:
            return (number + 1) / 10
    return len(tenths) / 10


def _prefer(core: int) -> None:
    """Give the core a processor of its own, and the first place there where that may be asked for."""
    move_children(core)
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, core, -20)


def move_children(core: int) -> None:
    for child in map(int, Path(f"/proc/{core}/task/{core}/children").read_text().split()):
        with contextlib.suppress(OSError):  # it has ended
            os.sched_setaffinity(child, _others(core))
            os.setpriority(os.PRIO_PROCESS, child, 0)


def _others(core: int) -> set[int]:
    """The processors that are not the core's; if there is but one, that one."""
    own = os.sched_getaffinity(core)
    return set(range(os.cpu_count() or 1)) - own or own


def quantile(histogram: list[int], part: float) -> float:
    """Milliseconds that this part of all turns stayed below, from counts by powers of two of a microsecond."""
    left = part * sum(histogram)
    for power, count in enumerate(histogram):
        if count >= left:
            low = (1 << power) / 2
            return (low + low * left / count) / 1000
        left -= count
    return 0.0


def _load(place: Site, path: Path, ids: list[str], names: list[str], seconds: float) -> dict[str, int]:
    """Run every kind of work in a process of its own; how often each was done."""
    contents = path.read_bytes().splitlines()
    kinds: dict[str, Callable[[Client], Any]] = {
        "imports": lambda client: _import(client, contents),
        "reindexes": lambda client: client.search_index(),
        "trees": lambda client: client.schema_tree(ids[0]),
        "lists": lambda client: client.snippet_list("page", "", 1000),
        "searches": lambda client: client.search("template function", limit=50),
        "starts": lambda client: _start_and_stop(client, names),
        "reloads": lambda client: client.plugin_reload(),
        "gets": lambda client: [client.snippet_get(each) for each in ids[:50]],
    }
    context = multiprocessing.get_context("fork")
    counts = {name: context.Value("q", 0) for name in kinds}
    processes = [
        context.Process(target=_work, args=(place.socket, kind, counts[name], seconds, place.pid), daemon=True)
        for name, kind in kinds.items()
    ]
    for process in processes:
        process.start()
    time.sleep(1.0)  # by then it writes so much that it has a checkpointer
    move_children(place.pid)
    for process in processes:
        process.join(seconds + 60)
    return {name: int(count.value) for name, count in counts.items()}


def _work(socket: Path, kind: Callable[[Client], Any], count: Any, seconds: float, core: int) -> None:
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, _others(core))
    until = time.monotonic() + seconds
    with Client(socket) as client:
        while time.monotonic() < until:
            with contextlib.suppress(CallError):
                kind(client)
                count.value += 1


def _import(client: Client, contents: list[bytes]) -> None:
    for _ in client.pipelined(
        Request(Command.SNIPPET_CREATE, SnippetCreate("page", "", each).pack()) for each in contents
    ):
        pass


def _start_and_stop(client: Client, names: list[str]) -> None:
    for name in names:
        client.plugin_start(name)
    for name in names:
        client.plugin_stop(name)
