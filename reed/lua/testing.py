"""Runs a plugin's own tests, tests/test_*.lua, in the sandbox that the plugin runs in (sdk/testing.lua).

    python -m reed.lua.testing FOLDER [--settings JSON] [--lua 5.4]

Each file has a runtime of its own, in which main.lua has been loaded; each `it` has a plugin's limits of memory and
processor time. There is no core: a test puts what the plugin asks for into `require("reed")`.
Exit code: 0 all passed, 1 some did not, 2 there was nothing to run.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from reed.errors import NotFound, ReedError
from reed.lua.files import Folder, read_source
from reed.lua.launch_spec import CPU, MEMORY
from reed.lua.sandbox import Outcome, Sandbox, Service
from reed.wire import strict_json

USAGE = "usage: python -m reed.lua.testing FOLDER [--settings JSON] [--lua 5.4]"


class Case(NamedTuple):
    """One `it`, and how it ended; a file that could not be loaded is one failed case."""

    file: str
    title: str
    failure: str  # empty: it passed
    seconds: float
    log: list[str]


class PluginUnderTest(NamedTuple):
    """The plugin under test. Without `actions` (its manifest's, name -> command_id) any action name will do."""

    folder: Path
    settings: dict[str, Any]
    actions: dict[str, int] | None = None
    entry: str = ""
    lua: str = "5.5"

    def entry_point(self) -> str:
        """main.lua, or NAME.lua, or what the manifest says."""
        places = [self.entry] if self.entry else ["main.lua", f"{self.folder.name}.lua"]
        for place in places:
            if (self.folder / place).is_file():
                return place
        raise NotFound(f"{self.folder}: no {' and no '.join(places)}")

    def files(self) -> list[str]:
        return sorted(f"tests/{path.name}" for path in (self.folder / "tests").glob("test_*.lua"))


def run(plugin: PluginUnderTest) -> Iterator[Case]:
    """Runs every test file of the plugin, case by case."""
    files = plugin.files()
    if not files:
        raise NotFound(f"{plugin.folder}: no tests", hint="they are looked for as tests/test_*.lua")
    for file in files:
        yield from _run_file(plugin, file)


def _run_file(plugin: PluginUnderTest, file: str) -> Iterator[Case]:
    log: list[str] = []
    folder = Folder(str(plugin.folder))
    started = time.monotonic()
    try:
        sandbox, runner = _prepare(plugin, folder, log)
        _must_end_well(_job(sandbox, runner[b"collect"], file.encode(), read_source(folder, file), CPU))
        titles = strict_json.loads(runner[b"titles"]())
    except ReedError as error:
        yield Case(file, "loading", str(error), time.monotonic() - started, log)
        return
    finally:
        folder.close()
    for number, title in enumerate(titles, 1):
        log.clear()
        started = time.monotonic()
        failure = ""
        try:
            _must_end_well(_job(sandbox, runner[b"run"], number, CPU))
        except ReedError as error:
            failure = str(error)
        yield Case(file, title, failure, time.monotonic() - started, list(log))


def _prepare(plugin: PluginUnderTest, folder: Folder, log: list[str]) -> tuple[Sandbox, Any]:
    """A runtime with main.lua loaded, and the runner of sdk/testing.lua."""
    sandbox = Sandbox(plugin.lua)
    runner = sandbox.run("testing", *sandbox.shared)
    services: dict[bytes, Service] = {
        b"log": lambda level, text: log.append(f"{level.decode()}: {text.decode('utf-8', 'replace')}"),
        b"source": lambda path: read_source(folder, path.decode()),
    }
    prepared = {
        "name": "",
        "version": "",
        "actions": plugin.actions or {},
        "any_action": plugin.actions is None,
        "settings": plugin.settings,
        "can_write": False,
        "cpu": CPU,
        "seed": [int.from_bytes(os.urandom(7), "little") for _ in range(2)],
    }
    sandbox.start(services, memory=MEMORY, prepared=strict_json.dumps(prepared))
    entry = plugin.entry_point()
    _must_end_well(sandbox.load(entry, read_source(folder, entry)))
    return sandbox, runner


def _job(sandbox: Sandbox, function: Callable[..., Any], *arguments: object) -> Outcome:
    return sandbox.enter(lambda *_: function(*arguments))


def _must_end_well(outcome: Outcome) -> None:
    if outcome.kind in ("done", "run"):
        return
    place = f"{outcome.text()}: " if outcome.text() else ""
    raise ReedError(
        {
            "time": f"{place}time limit of {CPU:g} s reached",
            "memory": f"{place}memory limit of {MEMORY >> 20} MB reached",
            "fail": f"{outcome.text(1)} ({outcome.text()})",
        }.get(outcome.kind, outcome.text())
    )


def report(cases: Iterator[Case], write: Callable[[str], object]) -> int:
    """Writes a line for each case and the sum; gives the number of those that failed."""
    file, passed, failed, slowest = "", 0, 0, 0.0
    for case in cases:
        if case.file != file:
            file = case.file
            write(f"{file}\n")
        write(f"  {'FAILED' if case.failure else 'ok    '}  {case.title}\n")
        slowest = max(slowest, case.seconds)
        passed, failed = passed + (not case.failure), failed + bool(case.failure)
        for line in [case.failure, *case.log] if case.failure else []:
            write(f"          {line}\n")
    write(f"{passed} passed, {failed} failed; the slowest took {slowest * 1000:.0f} ms\n")
    return failed


def main(arguments: list[str]) -> int:
    options = {"--settings": "{}", "--lua": "5.5"}
    folders = []
    rest = iter(arguments)
    for argument in rest:
        if argument in options:
            options[argument] = next(rest, "")
        else:
            folders.append(argument)
    if len(folders) != 1 or folders[0].startswith("-"):
        sys.stderr.write(USAGE + "\n")
        return 2
    try:
        settings = strict_json.load_object(options["--settings"].encode())
        plugin = PluginUnderTest(Path(folders[0]).resolve(), settings, lua=options["--lua"])
        return 1 if report(run(plugin), sys.stdout.write) else 0
    except ReedError as error:
        sys.stderr.write(f"{error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
