"""A plugin's folder as its author works on it: what the plugin type needs to build and test it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from reed.config import Config
from reed.errors import ManifestError
from reed.plugin_types.plugin_type import Project
from reed.supervision import manifest
from reed.supervision.manifest import Manifest

# Of a plugin under test that has no row and asks for none.
DEFAULT_PERMISSIONS = ("snippet_read", "schema_read", "registry_read", "search_read")


def load_manifest(folder: Path) -> Manifest:
    """Raises ManifestError, also if the folder does not have the plugin's name."""
    found = manifest.load(folder)
    if found.name != folder.name:
        path = folder / manifest.FILE_NAME
        raise ManifestError(str(path), f"the name is {found.name!r}, but the folder is {folder.name!r}")
    return found


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
    granted = None if permissions is None else frozenset(map(str, permissions))
    return Project(folder, found.name, settings, actions, found.entry, found.lua, say, found.hooks(), granted)
