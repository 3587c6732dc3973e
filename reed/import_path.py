"""Processes that must run the same reed as this one: their environment, and whether it is still installed."""

from __future__ import annotations

import os
from collections.abc import Mapping

_PACKAGE = os.path.dirname(os.path.abspath(__file__))  # no pathlib: the zygote does without it
_ROOT = os.path.dirname(_PACKAGE)
_INSTALLED = {"site-packages", "dist-packages"}
UPGRADED = "another version of reed was installed while this core runs"


def importing_reed(environ: Mapping[str, str]) -> dict[str, str]:
    """A copy of `environ`, with PYTHONPATH if only sys.path of this process says where reed is."""
    found = dict(environ)
    if os.path.basename(_ROOT) not in _INSTALLED:
        found["PYTHONPATH"] = os.pathsep.join(filter(None, [_ROOT, found.get("PYTHONPATH")]))
    return found


def installed_mark() -> tuple[int, int]:
    """Of the package's files: another one after an upgrade."""
    status = os.stat(os.path.join(_PACKAGE, "__init__.py"))
    return status.st_ino, status.st_mtime_ns
