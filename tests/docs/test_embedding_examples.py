"""The guides to embedding and testing, in an empty folder; the examples for FastAPI and Django; stability."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reed.config import Config
from reed.daemon import Daemon
from reed.testing import Core

from .conftest import ROOT, EmptySite

DOCS = ROOT / "contrib/docs"
EMBEDDING = (DOCS / "guide/embedding.md").read_text(encoding="utf-8")
TESTING = (DOCS / "guide/testing-your-program.md").read_text(encoding="utf-8")
STABILITY = (DOCS / "reference/stability.md").read_text(encoding="utf-8")
IS_INSTALLED = any(each.value == "reed.pytest_plugin" for each in importlib.metadata.entry_points(group="pytest11"))
PYTEST = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider")
PYTEST += () if IS_INSTALLED else ("-p", "reed.pytest_plugin")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def python(script: str) -> str:
    """The commands of a guide with this interpreter, and with the plugin where the package is not installed."""
    return script.replace("python3 -m pytest -q", " ".join(PYTEST)).replace("python3 ", f"{sys.executable} ")


def test_a_client(site: EmptySite) -> None:
    client, _ = blocks(EMBEDDING, "python")
    site.run("reed", "init")
    site.run("reed", "start")
    assert site.run(sys.executable, "-", text=client).splitlines() == ["hello True", "404"]


def test_a_core_in_a_program(site: EmptySite) -> None:
    notes, serve = blocks(EMBEDDING, "sh")
    site.environ.pop("REED_RUNTIME_DIR")  # the program chooses
    printed = site.run("sh", "-eu", text=python(notes)).splitlines()[-2:]
    assert printed == ['call Ada {"words":2}', "3 notes"]
    assert all(f"    {line}\n" in EMBEDDING for line in printed)
    assert site.run("sh", "-eu", text=python(serve)).strip() == "stopped"
    assert not (site.folder / "run/core.sock").exists()


def test_the_fragment_for_fastapi(site: EmptySite) -> None:
    pytest.importorskip("fastapi", reason="FastAPI is not here: pip install 'reed-cms[examples]'")
    pytest.importorskip("httpx", reason="httpx is not here: pip install 'reed-cms[examples]'")
    _, fragment = blocks(EMBEDDING, "python")
    site.run("reed", "init")
    site.run("reed", "start")
    site.run("reed", "registry", "define", "page", "{}")
    site.run("reed", "snippet", "create", "page", "--name", "blog/intro", '{"a":1}')
    call = "from fastapi.testclient import TestClient\nhttp = TestClient(app).__enter__()\n"
    call += "print(http.get('/pages/blog/intro').json())\nhttp.__exit__()\n"
    assert site.run(sys.executable, "-W", "ignore", "-", text=fragment + call).strip() == "{'a': 1}"


def test_tests_with_pytest(site: EmptySite) -> None:
    (script,) = blocks(TESTING, "sh")
    assert "2 passed" in site.run("sh", "-eu", text=python(script))
    fixture, _ = blocks(TESTING, "python")
    test = "def test_site(site):\n    assert site.client().registry_list()\n"
    (site.folder / "test_module.py").write_text(fixture + test)
    assert "1 passed" in site.run(*PYTEST, "test_module.py")


def test_tests_without_pytest(site: EmptySite) -> None:
    _, example = blocks(TESTING, "python")
    site.run("reed", "init")
    site.run("reed", "plugin", "scaffold", "greeter", "--lang", "lua")
    printed = site.run(sys.executable, "-", text=example).strip()
    assert printed == "{'greeting': 'Hello, Ada!'}"
    assert f"`{printed}`" in TESTING


@pytest.mark.parametrize(("example", "needs"), [("fastapi", ("fastapi", "httpx")), ("django", ("django",))])
def test_an_example_for_a_web_framework(site: EmptySite, example: str, needs: tuple[str, ...]) -> None:
    """Its own tests, in a copy of its folder."""
    for package in needs:
        pytest.importorskip(package, reason=f"{package} is not here: pip install 'reed-cms[examples]'")
    folder = site.folder / example
    shutil.copytree(ROOT / "contrib/examples" / example, folder, ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        [*PYTEST, "--rootdir=."],
        cwd=folder,
        env=site.environ,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout


# Stability -----------------------------------------------------------------------------------------------------------

MODULES = {
    module: re.findall(r"`(\w+)`", names)
    for module, names in re.findall(r"^\| `(reed[\w.]*)` \| (.*) \|$", STABILITY, re.MULTILINE)
}


@pytest.mark.parametrize("module", MODULES)
def test_every_name_that_is_stable_exists(module: str) -> None:
    imported = importlib.import_module(module)
    assert MODULES[module]
    missing = [name for name in MODULES[module] if not hasattr(imported, name)]
    assert not missing


def test_what_a_module_offers_is_listed() -> None:
    assert len(MODULES) > 8
    for module in ("reed.client", "reed.testing"):
        offered = set(importlib.import_module(module).__all__)
        assert offered <= set(MODULES[module]), f"{module}: {offered - set(MODULES[module])} is not in stability.md"


def test_the_members_of_daemon_and_core_exist(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(
        "plugin_name,plugin_type,socket_path,version,required_permissions,user_groups,auto_start,description\n"
    )
    daemon = Daemon(Config(tmp_path / "run", tmp_path / "data", registry=tmp_path / "rows.csv"))
    daemon.close()
    core = Core(tmp_path / "site")
    names = re.findall(r"`(Daemon|Core)\.(\w+)`", STABILITY)
    assert len(names) >= 17
    for owner, name in names:
        if owner == "Daemon" or name != "pid":  # of a core that was not started
            assert hasattr(daemon if owner == "Daemon" else core, name), f"{owner}.{name}"
    (attributes,) = re.findall(r"and its attributes ((?:`\w+`\s)+`\w+`)", STABILITY)
    assert all(hasattr(core, name) for name in re.findall(r"\w+", attributes))


def test_public_methods_say_what_they_do() -> None:
    for owner in (Daemon, Core):
        for name in dir(owner):
            if not name.startswith("_") and callable(getattr(owner, name)):
                assert getattr(owner, name).__doc__, f"{owner.__name__}.{name} has no docstring"
