"""`reed plugin test` of a Python plugin: each tests/test_*.py in a process of its own (reed.python.test_process).

spec as JSON ──stdin──▶ test_process ──stdout──▶ a line of JSON for each test: {"title", "failure", "seconds", "log"}
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack

from reed.errors import NotFound
from reed.own_tests import Case, Project

_SECONDS = 300.0  # for a file; each test has the processor time of a call
_MAX_LINES = 30


def run(project: Project, read_paths: Collection[str]) -> Iterator[Case]:
    """`read_paths`: of the plugin type's profile. Raises NotFound if there are no tests."""
    files = sorted((project.folder / "tests").glob("test_*.py"))
    if not files:
        raise NotFound(f"{project.folder}: no tests", hint="tests are tests/test_*.py")
    for file in files:
        yield from _run_file(project, f"tests/{file.name}", read_paths)


def _run_file(project: Project, file: str, read_paths: Collection[str]) -> Iterator[Case]:
    with ExitStack() as stack:
        data = None
        if project.permissions and "file_write" in project.permissions:
            data = stack.enter_context(tempfile.TemporaryDirectory(prefix="reed-test-"))
        spec = {
            **{name: getattr(project, name) for name in ("name", "entry", "settings", "actions", "hooks")},
            "folder": str(project.folder.resolve()),
            "file": file,
            "data_dir": data,
            "read_paths": [*read_paths],
            "permissions": None if project.permissions is None else sorted(project.permissions),
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
