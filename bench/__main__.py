"""`python -m bench`: one table of the numbers to hold (NOTES.md#goals), measured in this run beside peers.

python -m bench                    every row            --record   writes it to bench/results
python -m bench get call           those rows alone     --quick    fewer rounds: to look, not to record
python -m bench check              instructions and ratios beside the last record: for CI
python -m bench scale              how cost grows as work grows, with plots
python -m bench stalls             how long one request can hold the loop, by kind
python -m bench searches           GETs beside long searches and a reindex, with one worker and two
python -m bench watch              how long after a CREATE a watcher has the change
python -m bench pythons PROGRAM…   cores of each Python that is here, with these programs, beside redis and go-plugin
python -m bench stores --postgres  one and two cores on PostgreSQL, and SQLite beside
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench import record
from bench.lines import Line, table
from bench.peers import Peers
from bench.processes import pin
from bench.rows import NAMES, Run, group


def main(words: list[str]) -> int:
    """What the command line asks for; the exit code."""
    if words[:1] == ["check"]:
        from bench import check

        return check.main(words[1:])
    if words[:1] == ["scale"]:
        from bench import scale

        return scale.main(words[1:])
    if words[:1] == ["stalls"]:
        from bench.stalls import table as stalls

        return stalls.main(words[1:])
    if words[:1] == ["searches"]:
        from bench import searches

        return searches.main(words[1:])
    if words[:1] == ["watch"]:
        from bench import watching

        return watching.main(words[1:])
    if words[:1] == ["pythons"]:
        from bench import pythons

        return pythons.main(words[1:])
    if words[:1] == ["stores"]:
        from bench import stores

        return stores.main(words[1:])
    return _table(words)


def _table(words: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(NAMES)}; all of them by default")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and repetitions")
    parser.add_argument("--record", action="store_true", help="write the figures to bench/results")
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="PROGRAM",
        help="a Python that has what reed depends on; repeatable",
    )
    options = parser.parse_args(words)
    unknown = set(options.rows) - set(NAMES)
    if unknown:
        parser.error(f"no row {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    processor = pin()
    rounds, part = (5, 0.2) if options.quick else (15, 1.0)
    setting = f"core, clients and peers all on processor {processor}; {rounds} rounds in turn, medians"
    print(f"{setting}; load of this machine before: {os.getloadavg()[0]:.1f}", flush=True)
    lines: list[Line] = []
    failed: list[str] = []
    for name in NAMES:
        if name in options.rows or not options.rows:
            try:
                found = measure(name, rounds, part, options.python)
            except Exception:  # noqa: BLE001 - the other groups are measured
                traceback.print_exc()
                failed.append(name)
            else:
                print(table(found, with_head=not lines), flush=True)
                lines += found
    if failed:
        print(f"not measured, see the tracebacks above: {', '.join(failed)}")
    if options.record:
        setting = {"pinned": "core, clients and peers on one processor, but for the turns under load", "rounds": rounds}
        setting |= {"failed": failed} if failed else {}
        path = record.write("table", {**setting, "lines": [line.as_json() for line in lines]})
        print(f"recorded in {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")
    return 1 if failed else 0


def measure(name: str, rounds: int, part: float, pythons: Sequence[str] = ()) -> list[Line]:
    """The lines of a group, with servers of its own."""
    print(f"  {name} …", end="", file=sys.stderr, flush=True)
    try:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reed-bench-")))
            return group(name)(Run(Peers(folder, stack), stack, folder, rounds, part, pythons))
    finally:
        print("\r\033[K" if sys.stderr.isatty() else "", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
