"""A SQLite store in a temporary folder. Workers answer at once unless `late` is given."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Driver
from stores import open_sqlite


@pytest.fixture
def open_store(tmp_path: Path) -> Iterator[Callable[..., Driver]]:
    """Opens a store, by default the same file each time; closed at the end of the test."""
    opened: list[Driver] = []

    def open_it(path: Path | None = None, **options: Any) -> Driver:
        """`late`: workers that answer later, in an order that follows from this number."""
        driver = Driver(open_sqlite(path or tmp_path / "reed.db", **options))
        opened.append(driver)
        return driver

    yield open_it
    for driver in opened:
        driver.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "reed-test", folder], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no small disk to fill: mounting needs root ({made.stderr.strip()})")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def run_until_killed() -> Callable[[str, Path, int, int], list[bytes]]:
    """`run(code, path, seed, size)` runs a program until it has printed so many bytes, kills it, and returns its lines;
    the last, which may be incomplete, is left out."""

    def run(code: str, path: Path, seed: int, size: int) -> list[bytes]:
        with subprocess.Popen([sys.executable, "-c", code, path, str(seed)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            output = b""
            try:
                while len(output) < size:
                    assert select.select([process.stdout], [], [], 20)[0], "no output for 20 s"
                    data = os.read(process.stdout.fileno(), 65536)
                    assert data, "the program ended by itself"
                    output += data
            finally:
                process.kill()
            return (output + process.stdout.read()).split(b"\n")[:-1]

    return run
