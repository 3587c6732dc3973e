"""Fault injection: a core with a client at work, and a table of what was lost.

    with ground.fault("kill -9 of a plugin", "502, restarted") as fault:
        …; fault.injected()

    ground      a real core, and a companion: a client in its own process that writes and reads during the fault
    afterwards  the core runs · every acknowledged write is there · PRAGMA integrity_check passes · no traceback in
                the log · the p99 of the companion's reads is printed; contrib/faults.sh fails if it is too long

REED_FAULTS=N injects N times as much as CI does (sh contrib/faults.sh).
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from reed.client import Client
from reed.errors import NotFound
from tests import bare_plugin
from tests.waiting import until

FACTOR = max(1, int(os.environ.get("REED_FAULTS") or 1))
TIMEOUT = 20.0  # seconds
MAX_P99 = 50.0  # milliseconds, of other clients' reads during a fault
ROWS = pytest.StashKey[list["Row"]]()

COMPANION = """
import json, select, sys, time
from reed.client import Client
from reed.client.connection import NoAnswer
from reed.errors import CallError, CoreNotRunning

name, number, kept, times, refused, cut = sys.argv[2], 0, {}, [], 0, 0
core = None
while not select.select([0], [], [], 0.002)[0]:
    number += 1
    try:
        if core is None:
            core = Client(sys.argv[1], timeout=None)
        core.snippet_create("companion", f"{name}/{number}", b'{"n":%d}' % number)
        kept[f"{name}/{number}"] = number
        began = time.perf_counter()
        core.snippet_get(f"{name}/{number}")
        times.append(time.perf_counter() - began)
    except CallError:
        refused += 1
    except (CoreNotRunning, NoAnswer, OSError):
        cut += 1
        core = None
    if number == 1:
        print("at work", flush=True)
print(json.dumps({"kept": kept, "times": times, "refused": refused, "cut": cut}))
"""

PLUGIN = """
register(do=1)
def main(do, on_shutdown=lambda: sys.exit(0)):
    while True:
        command, flags, payload = receive()
        if command == 1:
            answer(1, json.dumps(do(json.loads(payload))).encode())
        elif payload[0] == 0x10:
            on_shutdown()
        else:
            ready()
"""


@dataclass
class Row:
    fault: str
    expected: str
    times: int = 0
    lost: str = "?"
    p99: float | None = None  # milliseconds

    def injected(self, times: int = 1) -> None:
        self.times += times


@dataclass
class Companion:
    process: subprocess.Popen[str]

    def end(self) -> dict:
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.stdout is not None
        report = json.loads(self.process.stdout.read())
        self.process.stdout.close()
        assert self.process.wait(TIMEOUT) == 0
        return report


@dataclass
class Ground:
    """A site and its core."""

    site: object  # tests/conftest.py
    rows: list[Row]
    companions: int = 0
    plugins: list[str] = field(default_factory=list)
    config: str = ""

    # Before the core starts.

    def lua(self, name: str, code: str, manifest: str, permissions: str = "snippet_read", auto: bool = True) -> None:
        main = f'local reed = require "reed"\nlocal plugin = reed.create_plugin{{name="{name}",version="1.0.0"}}\n'
        self.site.add_lua_plugin(name, f"{main}{code}\nplugin.run()\n", manifest)
        self.plugins.append(f'{name},lua,{{}},1.0.0,"{permissions}","admin",{str(auto).lower()},"a fault"')

    def native(self, name: str, code: str, permissions: str = "snippet_read", auto: bool = True) -> None:
        """A native plugin in Python without an SDK; `code` ends with main(…)."""
        folder = self.site.root / "plugins" / name
        folder.mkdir()
        (folder / "plugin.yaml").write_text(f"name: {name}\nversion: 1.0.0\nactions: {{do: {{command_id: 1}}}}\n")
        bare_plugin.write(folder / name, f"{PLUGIN}\n{code}")
        self.plugins.append(f'{name},native,{{}},1.0.0,"{permissions}","admin",{str(auto).lower()},"a fault"')

    def start(self, *flags: str, wrapper: tuple[str, ...] = ()) -> Client:
        """Start the core, and wait until the auto-started plugins are ready."""
        self.site.set_rows(*self.plugins)
        if self.config:
            self.site.config.write_text(self.config)
        self.site.start(*flags, wrapper=wrapper)
        client = self.client()
        client.registry_define("companion", b"{}")
        client.registry_define("page", b'{"searchable":{"title":1}}')
        for row in client.plugin_list():
            if row["auto_start"]:
                client.plugin_start(row["name"])
        return client

    # While it runs.

    @property
    def pid(self) -> int:
        return self.site.process.pid

    def client(self, timeout: float = 60) -> Client:
        return Client(self.site.socket_path, timeout=timeout)

    @contextlib.contextmanager
    def fault(self, name: str, expected: str, *, traceback: bool = False) -> Iterator[Row]:
        """Run the companion during the block, then check the core and the companion's writes."""
        row = Row(name, expected)
        self.rows.append(row)
        companion = self.companion()
        try:
            yield row
        except BaseException:
            companion.process.kill()
            companion.process.wait()
            raise
        self.judge(row, companion.end())
        if not traceback:
            self.site.no_tracebacks()

    def companion(self) -> Companion:
        self.companions += 1
        process = subprocess.Popen(
            [sys.executable, "-c", COMPANION, str(self.site.socket_path), f"c{self.companions}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "at work\n"
        return Companion(process)

    def judge(self, row: Row, report: dict) -> None:
        assert row.times, "nothing was injected"
        assert self.site.process.poll() is None, f"the core ended:\n{self.site.log.read_text()}"
        with self.client() as client:
            missing = [name for name, number in report["kept"].items() if not holds(client, name, number)]
        row.lost = str(len(missing))
        assert report["kept"], "the companion wrote nothing"
        times = sorted(report["times"])
        row.p99 = times[int(0.99 * (len(times) - 1))] * 1000
        assert not missing, f"acknowledged writes are lost: {missing[:5]}"

    def until(self, reached: Callable[[], object], why: str = "", timeout: float = TIMEOUT) -> None:
        until(reached, why or "timed out", timeout)

    def state(self, client: Client, name: str) -> str:
        return str(client.plugin_health(name)[0]["state"])

    def plugin_pid(self, client: Client, name: str) -> int:
        return int(client.plugin_health(name)[0]["pid"] or 0)

    def descendants(self) -> list[int]:
        """The core's child processes, and theirs."""
        return descendants(self.pid)

    def zombies(self) -> list[int]:
        """The core's own children that it has not reaped."""
        return [pid for pid in children(self.pid) if state_of(pid) == "Z"]


def holds(client: Client, name: str, number: int) -> bool:
    try:
        return json.loads(bytes(client.snippet_get(name).content)) == {"n": number}
    except NotFound:
        return False


def state_of(pid: int) -> str:
    """R, S, T, Z …; "" if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def descendants(pid: int) -> list[int]:
    return [each for child in children(pid) for each in (child, *descendants(child))]


def passes_integrity_check(path: Path) -> bool:
    """Only while no core has the file open."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.fixture
def times() -> Callable[[int, int], int]:
    """times(few, limit): `few` in CI, multiplied by REED_FAULTS up to `limit`."""
    return lambda few, limit=1_000_000_000: min(few * FACTOR, max(few, limit))


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Callable[[str, str], Row]:
    """A line of the table for a fault without a companion."""

    def add(name: str, expected: str) -> Row:
        rows = request.config.stash.setdefault(ROWS, [])
        rows.append(Row(name, expected))
        return rows[-1]

    return add


@pytest.fixture
def ground(site, request: pytest.FixtureRequest) -> Iterator[Ground]:
    ground = Ground(site, request.config.stash.setdefault(ROWS, []))
    yield ground
    if site.process is not None and site.process.poll() is None:
        pids = descendants(site.process.pid)
        assert site.stop() == 0
        ground.until(lambda: all(state_of(pid) in "ZX" for pid in pids), "a process outlived its core", 3)
    if site.data_dir.is_dir():
        assert passes_integrity_check(site.data_dir / "content.db")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = config.stash.get(ROWS, [])
    if not rows:
        return
    lines = [("fault", "times", "expected", "lost", "p99 of others")]
    for row in rows:
        p99 = "" if row.p99 is None else f"{row.p99:.1f} ms"
        lines.append((row.fault, f"{row.times:,}", row.expected, row.lost, p99))
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    terminalreporter.section("faults")
    for line in lines:
        fault, times, expected, lost, p99 = (text.ljust(width) for text, width in zip(line, widths, strict=True))
        terminalreporter.write_line(f"{fault}  {times.strip():>{widths[1]}}  {expected}  {lost}  {p99}".rstrip())


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Only contrib/faults.sh (REED_FAULTS_P99) fails on slow reads; tests run on machines of all kinds."""
    slow = [row for row in session.config.stash.get(ROWS, []) if row.p99 is not None and row.p99 >= MAX_P99]
    if slow and os.environ.get("REED_FAULTS_P99"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
