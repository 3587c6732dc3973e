"""A core that measures its own turns, with another client that notes its waits; what one request did to both.

Core ── core.py    the measured core, in a process of its own: the longest turn, the peak of its memory
     └─ probe.py   the other client: its waits

The core has the last processor, everybody else the others. On a busy machine a wait by the clock says little: `own999`
is what the core itself has done during the waits, in processor time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.measure import quantile
from bench.processes import ROOT, TMPFS
from bench.rows.turns import move_children
from bench.stalls import plugins
from bench.stalls.core import TURNS
from bench.stalls.probe import WAITS
from bench.stalls.requests import MB, PROBE, Kind, run
from reed.client import Client

TURN_SECONDS, TURN_SECONDS_PER_MB = 0.010, 0.004  # what a turn may take
MEMORY_PER_PAYLOAD, MEMORY_ALWAYS = 4, 8 * MB
_TIMEOUT = 240.0


@dataclass(frozen=True, slots=True)
class Stall:
    """What one request did to the core."""

    outcome: str
    turn: float  # seconds of processor time of the longest turn
    wait: float  # seconds that the other client waited at the longest
    p999: float  # of its waits
    own999: float  # of the core's processor time during each wait
    turns999: int  # of the turns that a wait has touched
    grown: int  # bytes by which the core's memory grew at its peak
    seconds: float  # until the request was answered

    def is_within(self, kind: Kind) -> bool:
        allowed = TURN_SECONDS + TURN_SECONDS_PER_MB * kind.payload / MB
        return self.turn <= allowed and self.grown <= MEMORY_ALWAYS + MEMORY_PER_PAYLOAD * kind.payload


class Measured:
    """A program that answers `reset` and `report` (core.py, probe.py)."""

    def __init__(self, arguments: list[str], environ: dict[str, str], folder: Path) -> None:
        command = [sys.executable, *arguments]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, env=environ, cwd=folder, **pipes)
        self._read()

    def ask(self, word: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args} ended with {self.process.wait()}")
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Core:
    """A measured core of a tree, with another client that asks it for a small snippet all the time."""

    def __init__(self, tree: Path, site: Path, folder: Path) -> None:
        """`site`: of the runtime folder and the registry. `folder`: of content and plugins."""
        environ = {key: value for key, value in os.environ.items() if not key.startswith("REED_")}
        environ |= {"REED_RUNTIME_DIR": str(site / "run"), "REED_DATA_DIR": str(folder / "data")}
        environ |= plugins.install(site, folder / "plugins")
        core = str(ROOT / "bench" / "stalls" / "core.py")
        self._core = Measured(["-P", core], environ | {"PYTHONPATH": str(tree)}, site)
        self.site = site
        self.socket = site / "run" / "core.sock"
        self.client = Client(self.socket, timeout=_TIMEOUT)
        self.client.registry_define("probe", {})
        self.client.snippet_create("probe", PROBE, {"text": "x" * 500})
        everywhere = os.sched_getaffinity(0)
        os.sched_setaffinity(self._core.process.pid, {max(everywhere)})
        move_children(self._core.process.pid)
        os.sched_setaffinity(0, everywhere - {max(everywhere)} or everywhere)  # and what is started from here
        self._everywhere = everywhere
        self._folder = folder
        probe = ["-m", "bench.stalls.probe", str(self.socket), PROBE]
        self._probe = Measured(probe, environ | {"PYTHONPATH": str(ROOT)}, folder)

    def measure(self, kind: Kind) -> Stall:
        plugins.use(self.client, kind.plugins)
        return self.watch(lambda: run(kind, self.client))

    def watch(self, request: Callable[[], str]) -> Stall:
        """`request` returns its outcome."""
        before = self._core.ask("report")["rss"]
        self._core.ask("reset")
        self._probe.ask("reset")
        began = time.monotonic()
        outcome = request()
        seconds = time.monotonic() - began
        core, probe = self._core.ask("report"), self._probe.ask("report")
        if not core["turns"]:
            raise RuntimeError("the core has measured no turn")
        grown = max(core["peak"] - before, 0)
        own, turns = _during(_doubles(self._folder / WAITS), _doubles(self.site / TURNS))
        return Stall(outcome, core["longest"], probe["longest"], probe["p999"], own, turns, grown, seconds)

    def close(self) -> None:
        os.sched_setaffinity(0, self._everywhere)
        self.client.close()
        self._probe.close()
        self._core.close()


@contextmanager
def core_of(tree: Path) -> Iterator[Core]:
    """Its runtime folder is on a tmpfs if there is one, as /run is."""
    memory = TMPFS if os.access(TMPFS, os.W_OK) else None
    with (
        tempfile.TemporaryDirectory(prefix="reed-stalls-") as folder,
        tempfile.TemporaryDirectory(prefix="reed-stalls-", dir=memory) as site,
    ):
        core = Core(tree, Path(site), Path(folder))
        try:
            yield core
        finally:
            core.close()


def _doubles(path: Path) -> array[float]:
    found = array("d")
    found.frombytes(path.read_bytes())
    return found


def _during(waits: array[float], turns: array[float]) -> tuple[float, int]:
    """At p99.9: the core's processor time during a wait, and the number of turns that it touches."""
    begins, ends, used = turns[::3], turns[1::3], turns[2::3]
    own, counts = [0.0], [0]
    for sent, answered in zip(waits[::2], waits[1::2], strict=True):
        first, processor = bisect_left(ends, sent), 0.0
        last = first
        while last < len(begins) and begins[last] < answered:
            shared = min(answered, ends[last]) - max(sent, begins[last])
            processor += used[last] * shared / max(ends[last] - begins[last], 1e-9)
            last += 1
        own.append(processor)
        counts.append(last - first)
    return quantile(own, 0.999), round(quantile(list(map(float, counts)), 0.999))
