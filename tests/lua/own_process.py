"""Code that changes its process for good, run in one of its own."""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent

from reed.import_path import importing_reed

DEADLINE = 60  # seconds


def run(code: str) -> str:
    """The output of a process that ran this."""
    done = subprocess.run(
        [sys.executable, "-c", dedent(code)],
        env=importing_reed({}),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout.strip()
