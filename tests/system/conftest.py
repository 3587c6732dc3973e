"""What tests with a real daemon share: a plugin in Rust that keeps a count."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def counter(plugin_build) -> Path:
    """Its program, built once: `number` (1) says the number beside it, `count` (2) counts."""
    return plugin_build(Path(__file__).parent / "counter")
