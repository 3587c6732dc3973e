"""A plugin's folder as its author works on it: what the plugin type needs to build and test it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from reed.config import Config
from reed.plugin_types.plugin_type import Project
from reed.supervision.manifest import Manifest


def project(
    folder: Path,
    found: Manifest,
    site: Config,
    say: Callable[[str], object],
    permissions: Iterable[str] | None = None,
) -> Project:
    """`permissions`: of its row; None: unknown. The settings of reed.yaml go over those of the manifest."""
    settings = {**found.settings, **site.plugin(found.name).settings}
    actions = {action.name: action.command_id for action in found.actions.values()}
    hooks = {
        "events": dict(found.events),
        "filters": {name: each.action for name, each in found.filters.items()},
    }
    granted = None if permissions is None else frozenset(map(str, permissions))
    return Project(folder, found.name, settings, actions, found.entry, found.lua, say, hooks, granted)
