"""Fixtures of tests with a real daemon: a Rust plugin with a counter."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def counter(plugin_build) -> Path:
    """The executable, built once: `number` (1) returns the number in the file beside it, `count` (2) increments."""
    return plugin_build(Path(__file__).parent / "counter")
