"""A core whose package is replaced while it runs, as `pip install --upgrade` does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import reed
from reed.client import Client
from reed.errors import JobKilled

SEARCH = "reed/store/sqlite/search.py"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of reed that may be changed."""
    copy = tmp_path / "lib"
    shutil.copytree(Path(reed.__file__).parent, copy / "reed", ignore=shutil.ignore_patterns("target", "__pycache__"))
    return copy


def upgrade(package: Path) -> None:
    """Other files than before, of which one does not fit to a core that runs."""
    new = package / "reed/new.py"
    new.write_bytes((package / "reed/__init__.py").read_bytes())
    new.replace(package / "reed/__init__.py")
    search = package / SEARCH
    search.write_text(search.read_text().replace("def run_search(", "def run_search(another, "))


def test_until_the_restart_jobs_that_need_new_code_are_refused(package: Path, tmp_path: Path) -> None:
    def run(*words: str) -> None:
        environ = {**os.environ, "PYTHONPATH": str(package), "REED_RUNTIME_DIR": str(tmp_path / "run")}
        subprocess.run([sys.executable, "-P", "-m", "reed", *words], cwd=tmp_path, env=environ, check=True)

    run("init")
    run("start")
    try:
        with Client(tmp_path / "run/core.sock") as client:
            client.registry_define("page", b'{"searchable": {"title": 1}}')
            client.snippet_create("page", "about", {"title": "About us"})
            upgrade(package)
            with pytest.raises(JobKilled, match=r"another version of reed was installed.*reed restart"):
                client.search("about")
            assert client.snippet_get("about").version == 1
        shutil.copy(Path(reed.__file__).parent.parent / SEARCH, package / SEARCH)
        run("restart")
        with Client(tmp_path / "run/core.sock") as client:
            assert client.search("about").total == 1
    finally:
        run("stop")
