"""`python -m bench stores --postgres CONNINFO`: one and several cores on PostgreSQL, and SQLite beside, in one run.

    row               what is measured                                         goal
    GET hot           one snippet, one request at a time, client and core on   at most 1.1 of SQLite's time
                      one processor: else it is the time to wake the other one
    GET cold          16 kB pages, more than the cache holds                   -
    CREATE            small contents, 64 in flight, durable; searchable ones   at least 0.8 of SQLite's rate
    CREATE of a page  pages (REED_PAGES, else made ones), 64 in flight         at least 0.5 of SQLite's rate
    LIST              100 records of small content                             -
    SEARCH            a word that a tenth of the pages has                     at most 2 of SQLite's time
    import            `reed import` of the pages, the command's time           -
    turns             processor time of the loop's turns under load, p99.9     at most 5 ms
    GETs, two cores   of two clients, each with a core                         at least 1.8 of one core's
    commits           CREATEs a second of one to four cores, 64 in flight each -
    change seen       from its acknowledgement until the other core gives it   p50 at most 5 ms, p99 at most 1 s

Measures of a row take turns, round by round; figures are medians. The database must be empty: its content is made
here. `--postgres own` starts a server for the run.
Times mean little on a busy machine, and the server of PostgreSQL shares its processors; ratios of one run are what
counts.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from functools import partial
from itertools import count, cycle
from pathlib import Path
from statistics import median
from typing import Any

from bench.content import SMALL, SMALL_TYPE, pages_file
from bench.lines import Line, table
from bench.measure import Measure, interleaved, quantile
from bench.processes import Site, database, running, settle, site
from bench.rows.turns import measure_turns, quantile_of_tenths, written
from bench.turn_shares import RESET
from reed.client import Client
from reed.client.connection import NoAnswer
from reed.client.pipeline import Request
from reed.errors import CallError
from reed.wire.codes import Command
from reed.wire.snippets import SnippetCreate

IN_FLIGHT = 64
CREATES = 1280
COLD_PAGES = 2000
CHANGES = 300
LOAD_SECONDS = 8.0
MOST_CORES = 4
TYPE = {"searchable": {"title": 5, "body": 1}}
_WORD = "needle"
_OURS, _PEER = "PostgreSQL", "SQLite"


def main(words: list[str]) -> int:
    """What the command line asks for; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench stores", description=__doc__.partition("\n")[0])
    parser.add_argument("--postgres", required=True, metavar="CONNINFO", help="of an empty database, or `own`")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(words)
    load = f"load of this machine before: {os.getloadavg()[0]:.1f}"
    print(f"{options.rounds} rounds in turn, medians; {os.cpu_count()} processors; {load}", flush=True)
    with database(options.postgres) as conninfo:
        store = f"postgres:{conninfo}"
        with ExitStack() as stack:
            cores = [stack.enter_context(core_on(each)) for each in ("sqlite", store)]
            lines = _beside_sqlite(dict(zip((_PEER, _OURS), cores, strict=True)), options.rounds)
        lines += _turns(store) + _several_cores(store, options.rounds)
    print("\r\033[K" if sys.stderr.isatty() else "", end="", file=sys.stderr, flush=True)
    print(table(lines).replace("reed", _OURS, 1))
    return 0


def _say(row: str) -> None:
    print(f"\r\033[K  {row} …" if sys.stderr.isatty() else f"  {row} …\n", end="", file=sys.stderr, flush=True)


@contextmanager
def core_on(store: str) -> Iterator[Site]:
    with site() as place:
        place.environ["REED_STORE"] = store
        with running(place):
            yield place


# PostgreSQL beside SQLite.


def _beside_sqlite(cores: Mapping[str, Site], rounds: int) -> list[Line]:
    lines = []
    with ExitStack() as stack:
        clients = {name: stack.enter_context(place.client()) for name, place in cores.items()}
        _say("the content")
        for client in clients.values():
            _fill(client)
            settle(client)
        path, _ = pages_file(cores[_PEER].folder)
        for work, unit, measure, goal, at_least in _rows(path.read_bytes().splitlines()):
            _say(work)
            with _one_processor(cores.values()) if work.startswith("GET") else nullcontext():
                figures = interleaved({name: measure(client) for name, client in clients.items()}, rounds)
            lines.append(Line(work, figures[_OURS], unit, _PEER, figures[_PEER], goal, at_least))
            for client in clients.values():
                settle(client)  # what was written is indexed, before the next row
        _say("import")
        numbers = count()
        imports = {name: partial(_import, place, path, numbers) for name, place in cores.items()}
        figures = interleaved(imports, min(rounds, 3))
        lines.append(
            Line(f"import of {len(path.read_bytes().splitlines())} pages", figures[_OURS], "s", _PEER, figures[_PEER])
        )
    return lines


@contextmanager
def _one_processor(places: Iterable[Site]) -> Iterator[None]:
    pids = [0, *(place.pid for place in places)]
    before = [os.sched_getaffinity(pid) for pid in pids]
    for pid in pids:
        os.sched_setaffinity(pid, {max(before[0])})
    try:
        yield
    finally:
        for pid, processors in zip(pids, before, strict=True):
            os.sched_setaffinity(pid, processors)


def _fill(client: Client) -> None:
    client.registry_define("page", TYPE)
    client.registry_define("small", SMALL_TYPE)
    client.registry_define("note", {})
    body = "lorem ipsum dolor " * 800
    titles = (f"{_WORD if number % 10 == 0 else 'page'} {number}" for number in range(COLD_PAGES))
    create(client, "page", [json.dumps({"title": title, "body": body}).encode() for title in titles])
    client.snippet_create("note", "hot", {"title": "hot"})
    create(client, "note", [SMALL] * 300)  # for LIST


def _rows(pages: list[bytes]) -> Iterator[tuple[str, str, Callable[[Client], Measure], float | None, bool]]:
    """Name, unit, measure, goal of the ratio, and whether that is a floor."""
    small = [SMALL] * CREATES
    yield "GET hot", "us", _get_hot, 1.1, False
    yield "GET cold", "us", _get_cold, None, False
    yield (
        "LIST of 100",
        "us",
        lambda client: partial(_timed, partial(client.snippet_list, "note", limit=100), 20),
        None,
        False,
    )
    yield "SEARCH", "us", lambda client: partial(_timed, partial(client.search, _WORD), 20), 2.0, False
    yield f"CREATE, {IN_FLIGHT} in flight", "/s", lambda client: partial(create, client, "note", small), 0.8, True
    yield "CREATE, searchable", "/s", lambda client: partial(create, client, "small", small), 0.8, True
    yield (
        f"CREATE of a page, {IN_FLIGHT} in flight",
        "/s",
        lambda client: partial(create, client, "page", pages[:320]),
        0.5,
        True,
    )


def _timed(operation: Callable[[], Any], times: int) -> float:
    """Microseconds, the median."""
    spent = []
    for _ in range(times):
        began = time.perf_counter()
        operation()
        spent.append(time.perf_counter() - began)
    return median(spent) * 1e6


def _get_hot(client: Client) -> Measure:
    return partial(_timed, partial(client.snippet_get, "hot"), 1000)


def _get_cold(client: Client) -> Measure:
    """Pages in turn: all of them are more than the cache holds."""
    ids = cycle([record.id for record in client.snippets("page")])
    return partial(_timed, lambda: client.snippet_get(next(ids)), 500)


def create(client: Client, kind: str, contents: Sequence[bytes]) -> float:
    """Creates a second, IN_FLIGHT under way."""
    requests = [Request(Command.SNIPPET_CREATE, SnippetCreate(kind, "", content).pack()) for content in contents]
    began = time.perf_counter()
    for _, answer in client.pipelined(requests, IN_FLIGHT):
        if isinstance(answer, CallError):
            raise answer
    return len(contents) / (time.perf_counter() - began)


def _import(place: Site, path: Path, numbers: Iterator[int]) -> float:
    """Seconds that the command takes, for pages with new names."""
    file = place.folder / "import.jsonl"
    number = next(numbers)
    pages = [json.loads(line) for line in path.read_text().splitlines()]
    file.write_text(
        "".join(json.dumps({**page, "path": f"import-{number}/{at}"}) + "\n" for at, page in enumerate(pages))
    )
    began = time.perf_counter()
    command = place.reed("import", str(file), "--type", "page", "--name-field", "path")
    done = subprocess.run(command, env=place.environ, cwd=place.folder, capture_output=True, text=True, check=False)
    spent = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"reed import: {done.stdout}{done.stderr}")
    return spent


# The loop under load.


def _turns(store: str) -> list[Line]:
    """Creates of pages, lists and searches in a process each, on the database that the rows before have filled."""
    _say("turns")
    with site() as place:
        file = place.folder / "turns.json"
        place.environ |= {"REED_STORE": store, "BENCH_TURNS": str(file)}
        measure_turns(place)
        path, _ = pages_file(place.folder)
        contents = path.read_bytes().splitlines()
        loads: list[Callable[[Client], Any]] = [
            lambda client: create(client, "page", contents),
            lambda client: client.snippet_list("page", limit=1000),
            lambda client: client.search(_WORD, limit=50),
            lambda client: [client.snippet_get("hot") for _ in range(100)],
        ]
        with running(place):
            os.kill(place.pid, RESET)
            context = multiprocessing.get_context("fork")
            processes = [context.Process(target=_load, args=(place, load), daemon=True) for load in loads]
            for process in processes:
                process.start()
            for process in processes:
                process.join(LOAD_SECONDS + 60)
            found = written(place.pid, file)
    tenths = found["tenths"]
    return [
        Line(f"turns, {sum(tenths):,} under load, p99.9", quantile_of_tenths(tenths, 0.999), "ms", goal=5.0),
        Line("turns, the longest", found["longest"][0][0], "ms"),
    ]


def _load(place: Site, work: Callable[[Client], Any]) -> None:
    until = time.monotonic() + LOAD_SECONDS
    with place.client() as client:
        while time.monotonic() < until:
            with suppress(CallError, NoAnswer):  # a search waits for an index that is far behind
                work(client)


# Several cores.


def _several_cores(store: str, rounds: int) -> list[Line]:
    with ExitStack() as stack:
        cores = [stack.enter_context(core_on(store)) for _ in range(MOST_CORES)]
        two = cores[:2]
        _say("GETs, two cores")
        figures = interleaved({"one": partial(together, two[:1], gets), "two": partial(together, two, gets)}, rounds)
        lines = [Line("GETs, two cores", figures["two"], "/s", "one core", figures["one"], 1.8, at_least=True)]
        _say("commits")
        creates = lambda client: create(client, "note", [SMALL] * CREATES)  # noqa: E731
        commits = {str(number): partial(together, cores[:number], creates) for number in range(1, MOST_CORES + 1)}
        figures = interleaved(commits, min(rounds, 3))
        base = figures.pop("1")
        lines += [Line(f"CREATEs, {number} cores", rate, "/s", "one core", base) for number, rate in figures.items()]
        _say("change seen")
        return lines + _changes_seen(*two)


def gets(client: Client) -> float:
    """GETs a second, one at a time."""
    began = time.perf_counter()
    for _ in range(4000):
        client.snippet_get("hot")
    return 4000 / (time.perf_counter() - began)


def together(places: Sequence[Site], measure: Callable[[Client], float]) -> float:
    """The sum over clients of all these cores at the same time, each in a process of its own."""
    found: list[float] = [0.0] * len(places)

    def run(number: int, place: Site) -> None:
        read, write = os.pipe()
        pid = os.fork()
        if not pid:
            with place.client() as client:
                os.write(write, str(measure(client)).encode())
            os._exit(0)
        os.close(write)
        with open(read, "rb") as pipe:
            found[number] = float(pipe.read() or 0)
        os.waitpid(pid, 0)

    threads = [threading.Thread(target=run, args=each) for each in enumerate(places)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(found)


def _changes_seen(writes: Site, reads: Site) -> list[Line]:
    """A snippet that both cores have in memory is changed through one, and read again and again through the other."""
    seen: list[float] = []
    with writes.client() as writer, reads.client() as reader:
        writer.snippet_create("note", "changing", {"n": 0})
        for version in range(2, CHANGES + 2):
            writer.snippet_update("changing", {"n": version})
            began = time.perf_counter()
            while _version(reader) < version:
                pass
            seen.append((time.perf_counter() - began) * 1000)
    return [
        Line("change seen by the other core, p50", quantile(seen, 0.5), "ms", goal=5.0),
        Line("change seen by the other core, p99", quantile(seen, 0.99), "ms", goal=1000.0),
    ]


def _version(client: Client) -> int:
    try:
        return client.snippet_get("changing").version
    except CallError:  # it is not there yet
        return 0
