"""A core in a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reed.testing.site import Core


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Core]:
    core = Core(tmp_path / "site")
    yield core
    if core.process is not None:
        core.stop()
