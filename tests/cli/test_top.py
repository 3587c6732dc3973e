"""`reed top` on a terminal: what it draws, and how it ends."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys

import pytest

import reed

from .conftest import ENVIRON


def read_until(terminal: int, wanted: str, most: int = 100_000) -> str:
    seen = ""
    while wanted not in seen and len(seen) < most:
        assert select.select([terminal], [], [], 10)[0], f"nothing more was drawn after {seen!r}"
        seen += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", os.read(terminal, 4096).decode("utf-8", "replace"))
    return seen


def test_top_draws_until_ctrl_c(site_folder):
    pytest.importorskip("rich")
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "reed", "top"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={
            **ENVIRON,
            "REED_RUNTIME_DIR": str(site_folder / "run"),
            "TERM": "xterm",
            "COLUMNS": "140",
        },
    )
    os.close(slave)
    seen = read_until(master, "form-validator")
    assert f"reed {reed.__version__}, pid " in seen
    assert re.search(r"workers: 0 of \d busy, 0 jobs waiting, \d+ done", seen)
    assert "CALLS/S" in seen
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0
    os.close(master)


def test_top_requires_a_terminal(on_site):
    ran = on_site("top")
    assert ran.code == 2
    assert "reed plugin health --json" in ran.err


def test_top_requires_rich(site_folder):
    master, slave = pty.openpty()
    code = "import sys; sys.modules['rich.console'] = None; from reed.cli import main; sys.exit(main(['top']))"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        stdout=slave,
        stderr=subprocess.PIPE,
        text=True,
        timeout=30,
        env={**ENVIRON, "REED_RUNTIME_DIR": str(site_folder / "run")},
    )
    os.close(slave)
    os.close(master)
    assert ran.returncode == 1
    assert "pip install 'reed-cms[tui]'" in ran.stderr
