"""Processes that must run the same reed as this one: their environment, and whether it is still installed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_ROOT = Path(__file__).parent.parent
_INSTALLED = {"site-packages", "dist-packages"}
UPGRADED = "another version of reed was installed while this core runs"


def importing_reed(environ: Mapping[str, str]) -> dict[str, str]:
    """A copy of `environ`, with PYTHONPATH if only sys.path of this process says where reed is."""
    found = dict(environ)
    if _ROOT.name not in _INSTALLED:
        found["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_ROOT), found.get("PYTHONPATH")]))
    return found


def installed_mark() -> tuple[int, int]:
    """Of the package's files: another one after an upgrade."""
    status = os.stat(_ROOT / "reed" / "__init__.py")
    return status.st_ino, status.st_mtime_ns
