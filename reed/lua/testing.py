"""Runs a plugin's own tests, tests/test_*.lua (lua-api.md#tests).

    file ── a sandbox and a FakeCore of its own ── main.lua ── collect ── for each `it`: reset the FakeCore, run

Each `it` has a plugin's limits. With file_write, `io` works on a temporary folder for each file.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

from reed.errors import NotFound, ReedError
from reed.fake_core import FakeCore
from reed.lua.fake_services import services
from reed.lua.sandbox import LuaSandbox
from reed.own_tests import Case, Project
from reed.plugin_host.files import Folder, data_files, read_source
from reed.plugin_host.launch_spec import CPU, MEMORY
from reed.plugin_host.runtime import JobOutcome, Service
from reed.wire import strict_json


def run(project: Project) -> Iterator[Case]:
    """Raises NotFound if there are no tests."""
    files = sorted(f"tests/{path.name}" for path in (project.folder / "tests").glob("test_*.lua"))
    if not files:
        raise NotFound(f"{project.folder}: no tests", hint="tests are tests/test_*.lua")
    for file in files:
        yield from _run_file(project, file)


def _run_file(project: Project, file: str) -> Iterator[Case]:
    started = time.monotonic()
    with ExitStack() as stack:
        core = FakeCore(project.permissions)
        folder = Folder(str(project.folder))
        stack.callback(folder.close)
        data = None
        if project.permissions and "file_write" in project.permissions:
            data = stack.enter_context(tempfile.TemporaryDirectory(prefix="reed-test-"))
        try:
            sandbox, runner = _load_plugin(project, folder, core, data)
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


def _lines(core: FakeCore) -> tuple[str, ...]:
    return tuple(f"{line['level']}: {line['text']}" for line in core.log)


def _empty(folder: str) -> None:
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)


def _load_plugin(project: Project, folder: Folder, core: FakeCore, data: str | None) -> tuple[LuaSandbox, Any]:
    sandbox = LuaSandbox(project.lua)
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
        "actions": project.actions or {},
        "any_action": project.actions is None,
        **{kind: dict(actions) for kind, actions in project.hooks.items()},
        "settings": project.settings,
        "can_write": data is not None,
        "cpu": CPU,
        "memory": MEMORY,
        "seed": [int.from_bytes(os.urandom(7), "little") for _ in range(2)],
    }
    sandbox.start(offered, memory=MEMORY, spec=strict_json.dumps(spec))
    entry = _entry_point(project)
    _check(sandbox.load(entry, read_source(folder, entry)))
    return sandbox, runner


def _entry_point(project: Project) -> str:
    places = [project.entry] if project.entry else ["main.lua", f"{project.folder.name}.lua"]
    for place in places:
        if (project.folder / place).is_file():
            return place
    raise NotFound(f"{project.folder}: no {' or '.join(places)}")


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
