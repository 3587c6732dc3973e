"""A plugin's folder as its author works on it: its manifest, its row, and what the plugin type needs to build and test
it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from reed.config import Config
from reed.errors import ManifestError
from reed.own_tests import Project
from reed.supervision import discovery, manifest, registry_csv
from reed.supervision.manifest import Manifest
from reed.supervision.registry_csv import Row, standard_socket

# Of a plugin under test that has no row and asks for none.
DEFAULT_PERMISSIONS = ("snippet_read", "schema_read", "registry_read", "search_read")


def folder_of(given: str, site: Config) -> Path:
    """`given`: the folder of a plugin, or its name. Raises ManifestError."""
    if os.path.isdir(given):
        return Path(os.path.abspath(given))
    if os.sep in given:
        raise ManifestError(given, "no such folder", hint="name a plugin, or its folder, such as plugins/NAME")
    return discovery.find(given, site.plugin_dirs)


def load_manifest(folder: Path) -> Manifest:
    """Raises ManifestError, also if the folder does not have the plugin's name."""
    found = manifest.load(folder)
    if found.name != folder.name:
        path = folder / manifest.FILE_NAME
        raise ManifestError(str(path), f"the name is {found.name!r}, but the folder is {folder.name!r}")
    return found


def row_of(name: str, site: Config) -> Row | None:
    """The plugin's row in the site's registry, with a socket that any core accepts. Raises RegistryError."""
    rows = registry_csv.load(site.registry, site.runtime_dir) if site.registry.exists() else []
    row = next((row for row in rows if row.plugin_name == name), None)
    return row and replace(row, socket_path=standard_socket(row.socket_path.stem))


def private(site: Config, work: Path) -> Config:
    """The settings of a core of its own, whose files are in the folder `work`."""
    return replace(
        site,
        runtime_dir=work / "run",
        data_dir=work / "data",
        registry=work / "plugin-registry.csv",
        socket_group=None,
        groups={},
    )


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
    return Project(folder, settings, actions, found.entry, found.lua, found.hooks(), granted, found.name, say)
