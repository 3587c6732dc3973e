"""Commands run in this process, against one core per test module."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import reed
from reed.cli import main

CONTRIB_PLUGINS = Path(__file__).parents[2] / "contrib/plugins"
PYTHONPATH = str(Path(reed.__file__).parent.parent)
ENVIRON = {**os.environ, "PYTHONPATH": PYTHONPATH}


class Ran(NamedTuple):
    code: int
    out: str
    err: str


def start_core(folder: Path, *flags: str) -> subprocess.Popen[bytes]:
    """Run `reed serve` in `folder`; returns when the core is ready."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        ready.bind("")
        ready.settimeout(0.05)
        process = subprocess.Popen(
            [sys.executable, "-m", "reed", "serve", f"--runtime-dir={folder / 'run'}", *flags],
            cwd=folder,
            stderr=(folder / "core.log").open("ab"),
            env={**ENVIRON, "NOTIFY_SOCKET": "@" + ready.getsockname()[1:].decode()},
        )
        for _ in range(400):
            with contextlib.suppress(TimeoutError):
                assert ready.recv(64) == b"READY=1"
                return process
            assert process.poll() is None, (folder / "core.log").read_text()
    raise AssertionError("the core was not ready in time")


@pytest.fixture(scope="module")
def site_folder(tmp_path_factory):
    """A site created by `reed init` with a running core and the plugin form-validator, but not simple-seo."""
    folder = tmp_path_factory.mktemp("site")
    assert main(["init", str(folder)]) == 0
    shutil.copytree(CONTRIB_PLUGINS / "form-validator", folder / "plugins/form-validator")
    process = start_core(folder)
    yield folder
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


@pytest.fixture
def second_core(tmp_path_factory):
    """The runtime folder of another, empty core."""
    folder = tmp_path_factory.mktemp("second")
    assert main(["init", str(folder)]) == 0
    process = start_core(folder)
    yield folder / "run"
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


@pytest.fixture(name="reed")
def run_reed(capfd, monkeypatch, tmp_path):
    """Run a command in an empty folder, in this process: `reed("plugin", "list").out`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REED_RUNTIME_DIR", str(tmp_path / "none"))
    monkeypatch.setenv("PYTHONPATH", PYTHONPATH)

    def run(*words: str) -> Ran:
        capfd.readouterr()
        code = main([str(word) for word in words])
        return Ran(code, *capfd.readouterr())

    return run


@pytest.fixture
def on_site(reed, site_folder, monkeypatch):
    """Like `reed`, against the core of the module."""
    monkeypatch.setenv("REED_RUNTIME_DIR", str(site_folder / "run"))
    return reed
