"""The fixtures of pytest, in a pytest of their own: with markers, under pytest-xdist, and when something fails."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from reed.import_path import importing_reed

PYTEST = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--strict-markers")
Run = Callable[..., tuple[int, str]]
IS_INSTALLED = any(each.value == "reed.pytest_plugin" for each in importlib.metadata.entry_points(group="pytest11"))


@pytest.fixture
def run_tests(tmp_path: Path) -> Run:
    """Runs a file of tests and returns the exit status and the output."""

    def run(code: str, *options: str) -> tuple[int, str]:
        (tmp_path / "test_it.py").write_text(code)
        plugin = () if IS_INSTALLED else ("-p", "reed.pytest_plugin")
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-p",
                "no:cacheprovider",
                "--strict-markers",
                *plugin,
                *options,
                "test_it.py",
            ],
            cwd=tmp_path,
            env=importing_reed({name: text for name, text in os.environ.items() if name != "PYTEST_ADDOPTS"}),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    return run


def test_the_entry_point_is_declared() -> None:
    """In setup.cfg, which an installed package was built from."""
    declared = (Path(__file__).parents[2] / "setup.cfg").read_text()
    assert re.search(r"^pytest11 =\n    reed = reed\.pytest_plugin$", declared, re.MULTILINE)


MARKED = """
import pytest

pytestmark = pytest.mark.reed_core(types={"page": {}, "note": {}})


@pytest.mark.reed_core(content=[{"type": "page", "name": "intro", "content": {"title": "Hello"}}])
def test_markers_of_module_and_test(reed_core):
    assert reed_core.client().snippet_get("intro").content == b'{"title":"Hello"}'


@pytest.mark.reed_core(types={"other": {}})
def test_the_closest_marker_wins(reed_core):
    assert [each.type_name for each in reed_core.client().registry_list()] == ["other"]


def test_several_cores(reed_core_factory, tmp_path):
    one, other = reed_core_factory(types={"page": {}}), reed_core_factory(tmp_path / "site")
    assert one.pid != other.pid
    assert one.client().registry_list()
    assert not other.client().registry_list()
"""


def test_the_fixtures_under_xdist(run_tests: Run) -> None:
    """Without it: tests/docs/test_embedding_examples.py."""
    if not importlib.util.find_spec("xdist"):
        pytest.skip("pytest-xdist is not installed: the fixtures are not tested under it")
    status, printed = run_tests(MARKED, "-n", "2")
    assert status == 0, printed
    assert "3 passed" in printed


def test_nothing_of_reed_is_imported_until_a_test_asks(run_tests: Run) -> None:
    code = (
        "import sys\n"
        "def test_it():\n"
        "    found = {name for name in sys.modules if name == 'reed' or name.startswith('reed.')}\n"
        "    assert found == {'reed', 'reed.pytest_plugin'}\n"
    )
    status, printed = run_tests(code)
    assert status == 0, printed


FAILING = """
import os, signal, pytest

def test_fails_with_the_log(reed_core):
    assert reed_core.client().stats() == 1

def test_fails_because_the_core_dies(reed_core):
    os.kill(reed_core.pid, signal.SIGKILL)
    reed_core.process.wait()

@pytest.mark.reed_core(settings={"limits": {"payloud": "2MB"}})
def test_fails_because_the_core_does_not_start(reed_core):
    pass

@pytest.mark.reed_core({"page": {}})
def test_fails_because_of_its_marker(reed_core):
    pass
"""


def test_failures_show_why_and_nothing_is_skipped(run_tests: Run) -> None:
    status, printed = run_tests(FAILING, "-rA")
    assert status == 1
    assert "skipped" not in printed
    assert re.search(r"core\.log, the last lines -+\n.*ready on", printed)
    assert re.search(r"reed\.errors\.ReedError: the core \(pid \d+\) was killed by SIGKILL", printed)
    assert "the core exited with status 1 before it was ready" in printed
    assert re.search("^ERROR .*::test_fails_because_the_core_dies", printed, re.MULTILINE)
    assert "did you mean 'payload'?" in printed
    assert "reed_core takes named arguments" in printed
