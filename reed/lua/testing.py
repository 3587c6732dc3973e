"""Runs a plugin's own tests, tests/test_*.lua (lua-api.md#tests).

    file ── a sandbox and a FakeCore of its own ── main.lua ── collect ── for each `it`: reset the FakeCore, run

Each `it` has a plugin's limits. With file_write, `io` works on a temporary folder for each file.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from reed.errors import NotFound, ReedError
from reed.fake_core import FakeCore
from reed.lua.fake_services import services
from reed.lua.sandbox import LuaSandbox
from reed.plugin_host.files import Folder, data_files, read_source
from reed.plugin_host.launch_spec import CPU, MEMORY
from reed.plugin_host.runtime import JobOutcome, Service
from reed.wire import strict_json


class Case(NamedTuple):
    """One `it`; a file that cannot be loaded is one failed case."""

    file: str
    title: str
    failure: str  # "" if it passed
    seconds: float
    log: list[str]


class PluginUnderTest(NamedTuple):
    """Without `actions` (name -> command_id) main.lua may set a handler for any action."""

    folder: Path
    settings: dict[str, Any]
    actions: dict[str, int] | None = None
    entry: str = ""
    lua: str = "5.5"
    hooks: Mapping[str, Mapping[str, str]] = {}  # "events", "filters" and "schedules" of plugin.yaml: name -> action
    permissions: frozenset[str] | None = None  # None: all, and no data folder

    def entry_point(self) -> str:
        places = [self.entry] if self.entry else ["main.lua", f"{self.folder.name}.lua"]
        for place in places:
            if (self.folder / place).is_file():
                return place
        raise NotFound(f"{self.folder}: no {' or '.join(places)}")

    def files(self) -> list[str]:
        return sorted(f"tests/{path.name}" for path in (self.folder / "tests").glob("test_*.lua"))


def run(plugin: PluginUnderTest) -> Iterator[Case]:
    files = plugin.files()
    if not files:
        raise NotFound(f"{plugin.folder}: no tests", hint="tests are tests/test_*.lua")
    for file in files:
        yield from _run_file(plugin, file)


def _run_file(plugin: PluginUnderTest, file: str) -> Iterator[Case]:
    started = time.monotonic()
    with ExitStack() as stack:
        core = FakeCore(plugin.permissions)
        folder = Folder(str(plugin.folder))
        stack.callback(folder.close)
        data = None
        if plugin.permissions and "file_write" in plugin.permissions:
            data = stack.enter_context(tempfile.TemporaryDirectory(prefix="reed-test-"))
        try:
            sandbox, runner = _load_plugin(plugin, folder, core, data)
            _check(_job(sandbox, runner[b"collect"], file.encode(), read_source(folder, file), CPU))
            titles = strict_json.loads(runner[b"titles"]())
        except ReedError as error:
            yield Case(file, "loading", str(error), time.monotonic() - started, _lines(core))
            return
        for number, title in enumerate(titles, 1):
            core.reset()
            if data:
                _empty(data)
            started = time.monotonic()
            failure = ""
            try:
                _check(_job(sandbox, runner[b"run"], number, CPU))
            except ReedError as error:
                failure = str(error)
            yield Case(file, title, failure, time.monotonic() - started, _lines(core))


def _lines(core: FakeCore) -> list[str]:
    return [f"{line['level']}: {line['text']}" for line in core.log]


def _empty(folder: str) -> None:
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)


def _load_plugin(plugin: PluginUnderTest, folder: Folder, core: FakeCore, data: str | None) -> tuple[LuaSandbox, Any]:
    sandbox = LuaSandbox(plugin.lua)
    runner = sandbox.run_sdk_file("testing", *sandbox.modules)
    sandbox.run_sdk_file("test_core", *sandbox.modules)
    offered: dict[bytes, Service] = {
        **services(core),
        **(data_files(data) if data else {}),
        b"source": lambda path: read_source(folder, path.decode()),
    }
    spec = {
        "name": "",
        "version": "",
        "actions": plugin.actions or {},
        "any_action": plugin.actions is None,
        **{kind: dict(actions) for kind, actions in plugin.hooks.items()},
        "settings": plugin.settings,
        "can_write": data is not None,
        "cpu": CPU,
        "memory": MEMORY,
        "seed": [int.from_bytes(os.urandom(7), "little") for _ in range(2)],
    }
    sandbox.start(offered, memory=MEMORY, spec=strict_json.dumps(spec))
    entry = plugin.entry_point()
    _check(sandbox.load(entry, read_source(folder, entry)))
    return sandbox, runner


def _job(sandbox: LuaSandbox, function: Callable[..., Any], *arguments: object) -> JobOutcome:
    return sandbox.enter(lambda *_: function(*arguments))


def _check(outcome: JobOutcome) -> None:
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
