"""`reed plugin test` of a Python plugin: each tests/test_*.py in a process of its own (reed.python.test_process).

spec as JSON ──stdin──▶ test_process ──stdout──▶ a line of JSON for each test: {"title", "failure", "seconds", "log"}
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from reed.errors import NotFound

_SECONDS = 300.0  # for a file; each test has the processor time of a call
_MAX_LINES = 30


class Case(NamedTuple):
    """One test; a file that cannot be loaded, or whose process ends, is one failed case."""

    file: str
    title: str
    failure: str  # "" if it passed
    seconds: float
    log: tuple[str, ...]


class PluginUnderTest(NamedTuple):
    folder: Path
    name: str
    entry: str  # relative to the folder
    settings: Mapping[str, Any]
    actions: Mapping[str, int]
    hooks: Mapping[str, Mapping[str, str]]  # {"events": {"snippet.updated": action}, …}
    read_paths: Collection[str]  # of the plugin type's profile
    permissions: frozenset[str] | None  # None: all, but no data folder


def run(plugin: PluginUnderTest) -> Iterator[Case]:
    """Raises NotFound if there are no tests."""
    files = sorted((plugin.folder / "tests").glob("test_*.py"))
    if not files:
        raise NotFound(f"{plugin.folder}: no tests", hint="tests are tests/test_*.py")
    for file in files:
        yield from _run_file(plugin, f"tests/{file.name}")


def _run_file(plugin: PluginUnderTest, file: str) -> Iterator[Case]:
    with ExitStack() as stack:
        data = None
        if plugin.permissions and "file_write" in plugin.permissions:
            data = stack.enter_context(tempfile.TemporaryDirectory(prefix="reed-test-"))
        spec = plugin._asdict() | {
            "folder": str(plugin.folder.resolve()),
            "file": file,
            "data_dir": data,
            "read_paths": [*plugin.read_paths],
            "permissions": None if plugin.permissions is None else sorted(plugin.permissions),
        }
        try:
            done = subprocess.run(
                [sys.executable, "-P", "-m", "reed.python.test_process"],
                input=json.dumps(spec),
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            yield Case(file, "all", f"no end within {_SECONDS:g} s", _SECONDS, ())
            return
    yield from _cases(file, done)


def _cases(file: str, done: subprocess.CompletedProcess[str]) -> Iterator[Case]:
    printed = tuple(done.stderr.splitlines()[-_MAX_LINES:])
    for line in done.stdout.splitlines():
        fields = json.loads(line)
        yield Case(file, fields["title"], fields["failure"], fields["seconds"], tuple(fields["log"]))
    if done.returncode:
        ended = f"the process ended: exit status {done.returncode}"
        yield Case(file, "loading" if not done.stdout else "the next test", ended, 0.0, printed)
