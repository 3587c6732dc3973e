"""`python -m bench check`: has it become slower than the last record? Made for CI: it ends within a minute.

    what                     compared                                                             fails beyond
    ratios                   to a peer in this run, with the same ratio of the record             2 times
                             … where the record is of another processor                           3 times
    instructions             of a request, counted by valgrind; the same Python alone             1.3 times

The ratios differ by half from run to run on a busy machine, hence their margin; instructions hardly do, and tell small
steps back. A ratio beyond its margin is measured twice more, and its best counts: a busy machine makes it worse, and
nothing makes it better. `--record` writes what was measured as the next record to be compared with.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench import record
from bench.counts import count
from bench.lines import Line
from bench.peers import Peers
from bench.processes import pin
from bench.rows import Run, call, get, process

RATIO_MARGIN = 2.0
OTHER_PROCESSOR_MARGIN = 3.0
COUNT_MARGIN = 1.3
TRIES = 3

Ratios = dict[str, float]


def main(words: list[str]) -> int:
    """Measure, compare, say; 1 when something became slower."""
    parser = argparse.ArgumentParser(prog="python -m bench check", description=__doc__)
    parser.add_argument("--record", action="store_true", help="write what was measured as the next record")
    options = parser.parse_args(words)
    counts = count()  # on all processors, before the measurements pin everything to one
    pin()
    ratios = measure()
    old = record.last("check")
    if old is None:
        print("no record to compare with: python -m bench check --record makes one")
    slower = [] if old is None else compare(ratios, counts, old)
    for _ in range(TRIES - 1):
        if not set(slower) & set(ratios) or old is None:
            break
        again = measure()
        ratios = {name: min(ratio, again.get(name, ratio)) for name, ratio in ratios.items()}
        slower = compare(ratios, counts, old)
    print(report(ratios, counts, old, slower))
    if options.record:
        record.write("check", {"python_tag": record.python_tag(), "ratios": ratios, "instructions": counts})
    return 1 if slower else 0


def measure() -> Ratios:
    """Our time as a multiple of a peer's that needs nothing installed."""
    ratios: Ratios = {}
    for measure_some in (_gets, _calls, _commands):
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reed-bench-")))
            for line in measure_some(Run(Peers(folder, stack), stack, folder, rounds=7, part=0.3)):
                if line.ratio is not None:
                    ratios[f"{line.work} / {line.peer}"] = round(1 / line.ratio if line.at_least else line.ratio, 4)
    return ratios


def _gets(run: Run) -> list[Line]:
    return get.measure(run, only=("asyncio echo",))


def _calls(run: Run) -> list[Line]:
    return call.calls(run, only=("C ping-pong, two hops",))


def _commands(run: Run) -> list[Line]:
    return process.plugin_list(run)


def compare(ratios: Mapping[str, float], counts: Mapping[str, int], old: Mapping[str, Any]) -> list[str]:
    """The names of what is beyond its margin."""
    is_same = old["machine"]["processor"] == record.machine()["processor"]
    margin = RATIO_MARGIN if is_same else OTHER_PROCESSOR_MARGIN
    slower = [name for name, ratio in ratios.items() if _is_beyond(ratio, old["ratios"].get(name), margin)]
    if old["python_tag"] == record.python_tag():
        slower += [
            kind for kind, size in counts.items() if _is_beyond(size, old["instructions"].get(kind), COUNT_MARGIN)
        ]
    return slower


def _is_beyond(now: float, before: float | None, margin: float) -> bool:
    return before is not None and now > before * margin


def report(ratios: Ratios, counts: Mapping[str, int], old: Mapping[str, Any] | None, slower: list[str]) -> str:
    """A line for each figure, and one for what could not be compared."""
    show: Callable[[float], str] = "{:,.2f}".format
    lines = _lines(ratios, (old or {}).get("ratios", {}), slower, show)
    lines += _lines(counts, (old or {}).get("instructions", {}), slower, "{:,.0f} instructions".format)
    if not counts:
        lines.append("valgrind is not here: no instructions counted")
    elif old is not None and old["python_tag"] != record.python_tag():
        lines.append(f"instructions not compared: the record is of {old['python_tag']}, this is {record.python_tag()}")
    lines.append(f"SLOWER than the record: {', '.join(slower)}" if slower else "nothing beyond its margin")
    return "\n".join(lines)


def _lines(
    now: Mapping[str, float], before: Mapping[str, float], slower: list[str], show: Callable[[float], str]
) -> list[str]:
    width = max(map(len, now), default=0)
    return [
        f"{name:{width}}  {show(value):>24}  before {show(before[name]) if name in before else '-':>24}"
        + ("  SLOWER" if name in slower else "")
        for name, value in now.items()
    ]
