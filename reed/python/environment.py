"""The environment variables of a Python plugin: nothing of the core's, which may hold secrets.

os.environ, posix.environ     copies of Python
/proc/self/environ            the block that the kernel wrote when the zygote was started: overwritten with zeros
"""

from __future__ import annotations

import ctypes
import os
import posix
from collections.abc import Mapping

_ENV_START, _ENV_END = 47, 48  # fields of /proc/self/stat after the name (proc(5): 50 and 51)

BASIC = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}


def replace_environment(variables: Mapping[str, str]) -> None:
    os.environ.clear()
    posix.environ.clear()
    _overwrite_initial()
    os.environ.update(variables)


def _overwrite_initial() -> None:
    try:
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return  # without /proc nobody can read it there either
    start, end = int(fields[_ENV_START]), int(fields[_ENV_END])
    if 0 < start < end:
        ctypes.memset(start, 0, end - start)
