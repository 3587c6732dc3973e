"""Commands run in this process, against one core per test module."""

from __future__ import annotations

import fcntl
import os
import pty
import shutil
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import NamedTuple

import pytest

import reed
from reed.cli import main
from reed.testing import core

CONTRIB_PLUGINS = Path(__file__).parents[2] / "contrib/plugins"
PYTHONPATH = str(Path(reed.__file__).parent.parent)
# Without PYTHONUNBUFFERED, with which a full disk is noticed earlier
ENVIRON = {name: os.environ[name] for name in os.environ if name != "PYTHONUNBUFFERED"} | {"PYTHONPATH": PYTHONPATH}


class Ran(NamedTuple):
    code: int
    out: str
    err: str


def on_a_terminal(columns, *words, env=None, cwd=None):
    """(exit code, output) of a command whose stdout and stderr are a terminal."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "reed", *words],
        stdout=terminal,
        stderr=terminal,
        env={**ENVIRON, **(env or {})},
        cwd=cwd,
    )
    os.close(terminal)
    printed = b""
    try:
        while data := os.read(controller, 65536):
            printed += data
    except OSError:
        pass  # EIO: the command has exited
    os.close(controller)
    return process.wait(20), printed.decode()


@pytest.fixture(scope="module")
def site_folder(tmp_path_factory):
    """A site created by `reed init` with a running core and the plugin form-validator, but not simple-seo."""
    folder = tmp_path_factory.mktemp("site")
    assert main(["init", str(folder)]) == 0
    shutil.copytree(CONTRIB_PLUGINS / "form-validator", folder / "plugins/form-validator")
    with core(folder):
        yield folder


@pytest.fixture
def second_core(tmp_path_factory):
    """The runtime folder of another, empty core."""
    folder = tmp_path_factory.mktemp("second")
    assert main(["init", str(folder)]) == 0
    with core(folder):
        yield folder / "run"


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
