"""Python plugins: main.py runs in a fork of the zygote, which never executes a program.

A plugin may import what is installed for the core's Python, and what is in lib/ of its own folder.
"""

from __future__ import annotations

import os
import site
import sys
from collections.abc import Iterator

from reed.own_tests import Project
from reed.plugin_types.plugin_type import NAME, PluginType, TestsResult, by_file
from reed.sandbox.rules import Profile

_MB = 1024 * 1024
MEMORY = 64 * _MB


def _libraries() -> tuple[str, ...]:
    """Of this Python: not sys.path, which may contain a site's content. Shared libraries are beside them."""
    installed = site.getsitepackages()
    if site.ENABLE_USER_SITE:
        installed.append(site.getusersitepackages())
    own = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    shared = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/lib", "/lib64", os.path.join(sys.base_prefix, "lib"))
    return tuple(dict.fromkeys([os.path.dirname(os.__file__), own, *installed, *shared]))


def _tests(project: Project) -> Iterator[TestsResult]:
    """tests/test_*.py, each file in a process and a sandbox of its own."""
    from reed.python.test_run import run

    entry = next(each for each in PYTHON.places(project.name, project.entry) if (project.folder / each).is_file())
    return by_file(run(project._replace(entry=entry), PYTHON.profile.read_paths))


PYTHON = PluginType(
    name="python",
    language="python",
    entry_points=("main.py", f"{NAME}.py"),
    suffix=".py",
    missing_entry="write it",
    command=(),
    profile=Profile(
        executes=False,
        read_paths=("/etc/ld.so.cache", "/etc/ssl/openssl.cnf", "/usr/share/zoneinfo", *_libraries()),
        network=True,
        own_proc=True,
    ),
    watches_subfolders=True,
    memory=MEMORY,
    max_private=MEMORY,
    tests=_tests,
)
