"""Lua plugins: main.lua runs in a fork of the zygote, which never executes a program."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from reed.own_tests import Project
from reed.plugin_host.launch_spec import MEMORY
from reed.plugin_types.plugin_type import NAME, PluginType, StatedVersion, TestsResult, by_file
from reed.sandbox.rules import Profile

# For late imports; not sys.path, which may contain a site's content
_PYTHON = os.path.dirname(os.__file__), os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

_COMMENT = r"--\[\[.*?\]\]|--[^\n]*"
_CREATE_PLUGIN = r"""\bcreate_plugin\b[^}]*?\bversion\s*=\s*["']([^"'\n]*)["'](?=\s*[,;}])"""


def _tests(project: Project) -> Iterator[TestsResult]:
    """tests/test_*.lua, each file in a sandbox of its own."""
    from reed.lua.testing import run

    return by_file(run(project))


def _stated_versions(folder: Path, name: str, entry: str) -> Iterator[StatedVersion]:
    """That of create_plugin, if it is a literal."""
    for path in [folder / place for place in LUA.places(name, entry)]:
        if path.is_file():
            text = re.sub(_COMMENT, _blank, path.read_text("utf-8", "replace"), flags=re.DOTALL)
            if match := re.search(_CREATE_PLUGIN, text):
                yield StatedVersion(path, text.count("\n", 0, match.start(1)) + 1, match[1])
            return


def _blank(comment: re.Match[str]) -> str:
    return "\n" * comment[0].count("\n")


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
    stated_versions=_stated_versions,
)
