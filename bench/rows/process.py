"""Whole processes of the command line: `reed plugin list` beside a bare Python, and `reed import` of 942 pages.

Both Pythons have their modules compiled beforehand. Each import is into a core of its own, which has started completely
and is empty but for the type; the search index is filled after the answers, and is not in the figure: the line after it
tells when a search has caught up.
"""

from __future__ import annotations

import subprocess
import sys
import time

from bench.content import PAGE_TYPE, pages_file
from bench.lines import Line
from bench.measure import Measure, interleaved
from bench.processes import Site, core
from bench.rows import Run
from reed.client import Client

LIST = "reed plugin list, whole process"


def measure(run: Run) -> list[Line]:
    return [*plugin_list(run), *_imports(run)]


def plugin_list(run: Run) -> list[Line]:
    """With a core that has no plugins."""
    with core() as site:
        bare = _process(site, [sys.executable, "-c", "pass"])
        ours = _process(site, site.reed("plugin", "list"))
        figures = interleaved({"reed": ours, "python -c pass": bare}, 2 * run.rounds)
    return [Line(LIST, figures["reed"], "ms", "python -c pass", figures["python -c pass"], 3.0)]


def _process(site: Site, words: list[str]) -> Measure:
    def measure() -> float:
        began = time.perf_counter()
        subprocess.run(words, env=site.environ, check=True, stdout=subprocess.DEVNULL)
        return (time.perf_counter() - began) * 1000

    return measure


def _imports(run: Run) -> list[Line]:
    path, name = pages_file(run.folder)
    whole, searched = [], []
    for _ in range(max(3, run.rounds // 3)):
        with core() as site, Client(site.socket) as client:
            client.registry_define("page", PAGE_TYPE)
            site.wait_until_started()
            began = time.perf_counter()
            words = site.reed("import", str(path), "--type", "page", "--name-field", "path")
            subprocess.run(words, env=site.environ, check=True, stdout=subprocess.DEVNULL)
            whole.append(time.perf_counter() - began)
            client.search("site")
            searched.append(time.perf_counter() - began)
    middle = len(whole) // 2
    return [
        Line(f"reed import of {name}, whole process", sorted(whole)[middle], "s", goal=0.5),
        Line("  and until a search finds all of them", sorted(searched)[middle], "s", goal=0.3),
    ]
