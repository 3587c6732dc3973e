"""A plugin's own tests: what their runners are given, and what they find.

Project ── reed.lua.testing, reed.python.test_run, cargo (reed.plugin_types) ── a Case for each test
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path


class Project(NamedTuple):
    """A plugin's folder as its author works on it. Without `actions` the code may have a handler for any action."""

    folder: Path
    settings: Mapping[str, Any] = {}
    actions: Mapping[str, int] | None = None  # name -> command_id
    entry: str = ""  # of plugin.yaml
    lua: str = "5.5"
    hooks: Mapping[str, Mapping[str, str]] = {}  # "events", "filters" and "schedules" of plugin.yaml: name -> action
    permissions: frozenset[str] | None = None  # of its row; None: not known, so all, but no data folder
    name: str = ""
    say: Callable[[str], object] = str  # called before something that takes long


class Case(NamedTuple):
    """One test. A file that cannot be loaded, or whose process ends, is one failed case."""

    file: str
    title: str
    failure: str  # "" if it passed; its place and what was expected
    seconds: float | None  # None: not measured
    log: tuple[str, ...] = ()  # what the plugin logged meanwhile
    skipped: bool = False
