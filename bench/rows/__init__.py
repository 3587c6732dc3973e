"""The groups of lines that `python -m bench` can measure, in the order of NOTES.md#goals.

Each is a module with `measure(run) -> list[Line]`; a name on the command line chooses it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from bench.lines import Line
from bench.peers import Peers

NAMES = ("get", "clients", "create", "call", "latency", "turns", "process", "plugins", "pythons", "batch")


@dataclass(frozen=True, slots=True)
class Run:
    """How much is measured, and where."""

    peers: Peers
    stack: ExitStack
    folder: Path
    rounds: int = 15
    part: float = 1.0  # of the usual number of repetitions in a round
    pythons: Sequence[str] = ()  # programs, beside those that bench/pythons.py finds

    def times(self, usual: int) -> int:
        return max(10, int(usual * self.part))


def group(name: str) -> Callable[[Run], list[Line]]:
    measure: Callable[[Run], list[Line]] = import_module(f"bench.rows.{name}").measure
    return measure
