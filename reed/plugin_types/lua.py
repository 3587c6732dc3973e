"""Lua plugins: main.lua runs in a fork of the zygote, which never executes a program."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import groupby

from reed.errors import NotFound
from reed.lua.launch_spec import MEMORY
from reed.plugin_types.plugin_type import NAME, PluginType, Project
from reed.sandbox.rules import Profile

# For late imports; not sys.path, which may contain a site's content
_PYTHON = os.path.dirname(os.__file__), os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def _tests(project: Project) -> Iterator[tuple[str, str, str]]:
    """tests/test_*.lua, each file in a sandbox of its own."""
    from reed.lua.testing import PluginUnderTest, run

    plugin = PluginUnderTest(project.folder, project.settings, project.actions, project.entry, project.lua)
    try:
        for file, cases in groupby(run(plugin), lambda case: case.file):
            failures, passed = [], 0
            for case in cases:
                passed += not case.failure
                if case.failure:
                    failures += [f"{case.title}: {case.failure}", *(f"    {line}" for line in case.log)]
            yield file, "failed" if failures else "ok", "\n".join([f"{passed} passed", *failures])
    except NotFound as error:
        yield "tests", "skipped", str(error)


LUA = PluginType(
    name="lua",
    language="lua",
    entry_points=("main.lua", f"{NAME}.lua"),
    suffix=".lua",
    missing_entry="write it",
    command=(),
    profile=Profile(executes=False, read_paths=("/usr/share/zoneinfo", *_PYTHON)),
    watches_subfolders=True,
    memory=MEMORY,
    max_private=MEMORY,  # reedcms-10.md#plugin-types
    tests=_tests,
)
