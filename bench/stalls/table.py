"""`python -m bench stalls [--before DIR] [KIND …]`: the longest turn and the longest wait of another client, by kind.

DIR is another checkout of reed, measured in the same run. The core has a processor, all others have the rest.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench.processes import ROOT
from bench.stalls import together
from bench.stalls.measured import Stall, core_of
from bench.stalls.plugin_requests import plugin_kinds
from bench.stalls.requests import MB, Kind, kinds


def measure(tree: Path, wanted: list[Kind]) -> dict[str, Stall]:
    """By kind; what a kind needs is prepared first, on the same core."""
    found: dict[str, Stall] = {}
    prepared = set()
    with core_of(tree) as core:
        for kind in wanted:
            if kind.prepare not in prepared:
                kind.prepare(core.client)
                prepared.add(kind.prepare)
            found[kind.name] = core.measure(kind)
            print(f"  {kind.name}: {found[kind.name].turn * 1e3:.1f} ms", file=sys.stderr, flush=True)
    return found


def _together(name: str, stall: Stall) -> str:
    waited = f"another client waited {stall.p999 * 1e3:.1f} ms at p99.9, {stall.wait * 1e3:.0f} ms at most"
    waited += f"; meanwhile the core worked {stall.own999 * 1e3:.1f} ms, {stall.turns999} turns"
    return f"{name}: longest turn {stall.turn * 1e3:.1f} ms, {stall.grown / MB:.0f} MB; {waited}"


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench stalls", description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help="the beginning of a kind's name; all by default")
    parser.add_argument("--before", type=Path, metavar="DIR", help="another checkout, measured too")
    options = parser.parse_args(words)
    named = tuple(options.kinds)
    wanted = [kind for kind in (*kinds(), *plugin_kinds()) if not named or kind.name.startswith(named)]
    trees = {"before": options.before.resolve(), "after": ROOT} if options.before else {"": ROOT}
    found = {name: measure(tree, wanted) for name, tree in trees.items()}
    print(_table(wanted, found))
    if not named:
        small = [kind for kind in wanted if kind.payload <= MB]
        for name, tree in trees.items():
            print(_together(f"{together.NAME} {name}", together.measure(tree, wanted)))
            print(_together(f"those of at most 1 MB {name}", together.measure(tree, small)))
    return 0


def _table(wanted: list[Kind], found: dict[str, dict[str, Stall]]) -> str:
    head = ["request", *(f"{name} {what}".strip() for name in found for what in ("turn", "wait", "memory", "answer"))]
    rows = [head]
    for kind in wanted:
        row = [kind.name]
        for stalls in found.values():
            stall = stalls[kind.name]
            row += [f"{stall.turn * 1e3:,.1f} ms", f"{stall.wait * 1e3:,.1f} ms", f"{stall.grown / MB:,.0f} MB"]
            row += [f"{stall.seconds:.2f} s" + ("" if stall.outcome == "done" else " refused")]
        row.append("" if stall.is_within(kind) else "over the bound")
        rows.append(row)
    widths = [max(len(row[at]) if at < len(row) else 0 for row in rows) for at in range(len(rows[-1]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=False))
        )
        for row in rows
    )
