"""The environment of a child process in Python that must import the same reed as this one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_ROOT = Path(__file__).parent.parent
_INSTALLED = {"site-packages", "dist-packages"}


def importing_reed(environ: Mapping[str, str]) -> dict[str, str]:
    """A copy of `environ`, with PYTHONPATH if only sys.path of this process says where reed is."""
    found = dict(environ)
    if _ROOT.name not in _INSTALLED:
        found["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_ROOT), found.get("PYTHONPATH")]))
    return found
