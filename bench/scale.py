"""`python -m bench scale`: how cost grows as work grows, as a table, a record and plots.

    python -m bench scale                       all: to 10,000 clients, 1,000,000 snippets, 200 plugins; some 15 minutes
    python -m bench scale clients payloads      these alone
    python -m bench scale --most 10000          no more than so many of anything
    python -m bench scale --postgres CONNINFO   up to 100,000 snippets also on PostgreSQL, and 1 to 4 cores on it
    python -m bench scale --postgres own        the same on a server that the run starts
    python -m bench scale --record              writes record and plots to bench/results

`power` is how cost grew over the last tenfold of the work: 0 not at all, 1 as the work did. Beyond what the work itself
asks for it is a defect, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from bench import record
from bench.plots import draw
from bench.processes import database, pin
from bench.series import NAMES, Curve, Scale


def main(words: list[str]) -> int:
    """Measure, print, and with --record write; 1 when something grows faster than its work."""
    parser = argparse.ArgumentParser(
        prog="python -m bench scale", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("series", nargs="*", metavar="SERIES", help=f"of {', '.join(NAMES)}; all of them by default")
    parser.add_argument("--most", type=int, default=1_000_000, help="of clients, snippets, kilobytes, plugins")
    parser.add_argument(
        "--postgres",
        default="",
        metavar="CONNINFO",
        help="an empty database, for curves on PostgreSQL; `own`: of a server that is started for it",
    )
    parser.add_argument("--record", action="store_true", help="write the figures and the plots to bench/results")
    options = parser.parse_args(words)
    unknown = set(options.series) - set(NAMES)
    if unknown:
        parser.error(f"no series {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    with database(options.postgres) as conninfo:
        print(f"core and clients all on processor {pin()}, but for workers, cores and PostgreSQL", flush=True)
        curves = _measure(options.series or NAMES, Scale(options.most, conninfo), is_recorded=options.record)
    defects = [curve.name for curve in curves if curve.is_defect]
    if defects:
        print(f"grows faster than its work: {'; '.join(defects)}", file=sys.stderr)
    return 1 if defects else 0


def _measure(names: Sequence[str], scale: Scale, *, is_recorded: bool) -> list[Curve]:
    curves: list[Curve] = []
    for name in (each for each in NAMES if each in names):
        new = list(import_module(f"bench.series.{name}").curves(scale))
        print(table(new), flush=True)
        curves += new
        if is_recorded:
            record.write(f"scale-{name}", {"curves": [curve.as_json() for curve in new]})
            draw(new, record.RESULTS)
    return curves


def table(curves: list[Curve]) -> str:
    """A line for each curve: its points, its power, and what that may be."""
    lines = []
    for curve in curves:
        points = "  ".join(f"{work:,.0f}: {cost:,.4g}" for work, cost in curve.points)
        verdict = "DEFECT" if curve.is_defect else "fine"
        power = f"power {curve.power:.2f} (may be {curve.may_grow:g})"
        lines.append(f"{curve.name} [{curve.unit}, by {curve.work}]  {power}  {verdict}\n    {points}")
    return "\n".join(lines)
