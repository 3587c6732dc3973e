"""How statements name their parameters."""

from __future__ import annotations

import re
from pathlib import Path

from reed.store.sqlite import store


def test_parameters_are_not_numbered() -> None:
    """Python 3.12.3 and earlier warn of `?1` with a sequence."""
    modules = list(Path(store.__file__).parent.glob("*.py"))
    assert len(modules) > 10
    assert not [path.name for path in modules if re.search(r"\?\d", path.read_text(encoding="utf-8"))]
