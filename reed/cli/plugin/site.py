"""The plugins of a site, as `reed plugin add`, `upgrade` and `remove` see them: rows, folders, and the running core."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reed.cli.options import config, connect
from reed.cli.output import print_error, short_path
from reed.cli.parse import Args
from reed.errors import CoreNotRunning, PermissionDenied, PluginNotFound, ReedError
from reed.plugin_packages.request import Request
from reed.plugin_packages.source import Package, checked, own, own_folders
from reed.supervision import discovery, installation, registry_csv, registry_edit
from reed.supervision.registry_csv import Row, standard_socket
from reed.wire.identifiers import SLUG

_AT_REST = {"stopped", "failed"}


class PluginSite:
    """Finishes interrupted changes first. Raises RegistryError for an invalid registry."""

    def __init__(self, args: Args) -> None:
        self._args = args
        self.config = config(args)
        self.registry = self.config.registry
        for line in installation.recover(own_folders(self.config.plugin_dirs), self.registry):
            print_error(line)
        self._rows = registry_csv.load(self.registry, self.config.runtime_dir)

    @property
    def folder(self) -> Path:
        """Where plugins are added."""
        return next(iter(own_folders(self.config.plugin_dirs)), Path("plugins").absolute())

    def names(self) -> list[str]:
        return [row.plugin_name for row in self._rows]

    def row(self, name: str) -> Row | None:
        return next((row for row in self._rows if row.plugin_name == name), None)

    def own_folder(self, name: str) -> Path | None:
        """Not that of a bundled plugin; None for what is no name, such as a path."""
        return own(name, self.config.plugin_dirs) if re.fullmatch(SLUG, name) else None

    def place(self, name: str) -> str:
        return short_path(self.own_folder(name) or self.folder / name)

    def upgrade_folder(self, source: Path) -> Path:
        """The plugin folder that gets the new version: that of the present one, or the first."""
        own = self.own_folder(source.name)
        return own.parent if own else self.folder

    def installed(self, name: str) -> Package | None:
        """None if its folder is missing or invalid."""
        try:
            return checked(discovery.find(name, self.config.plugin_dirs))
        except ReedError:
            return None

    def new_line(self, package: Package, request: Request, groups: list[str], *, auto_start: bool) -> str:
        row = Row(
            plugin_name=package.name,
            plugin_type=package.type.name,
            socket_path=standard_socket(package.name),
            version=package.manifest.version,
            required_permissions=request.permissions,
            user_groups=frozenset(groups),
            auto_start=auto_start,
            description=package.manifest.description,
        )
        return registry_edit.row_line(row)

    def check_line(self, name: str, line: str) -> None:
        """Raises RegistryError if the registry would be invalid with it."""
        content = registry_edit.with_line(self.registry.read_bytes(), name, line)
        registry_csv.parse(content, str(self.registry), self.config.runtime_dir)

    def data_of(self, name: str) -> list[Path]:
        """What the plugin has written: its data folder and its logs."""
        logs = self.config.data_dir / "logs"
        found = [self.config.data_dir / "plugins" / name, logs / f"{name}.log", logs / f"{name}.log.1"]
        return [path for path in found if path.exists()]

    def purge(self, paths: Sequence[Path]) -> None:
        for path in paths:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    # The running core

    def is_running(self, name: str) -> bool:
        """Also while it starts or sleeps."""
        try:
            with connect(self._args) as core:
                (health,) = core.plugin_health(name)
        except (CoreNotRunning, PluginNotFound):
            return False
        return health["state"] not in _AT_REST

    def stop(self, name: str) -> None:
        try:
            with connect(self._args, timeout=None) as core:
                core.plugin_stop(name)
        except (CoreNotRunning, PluginNotFound):
            return

    def start(self, name: str) -> None:
        with connect(self._args, timeout=None) as core:
            core.plugin_start(name)

    def reload(self, name: str) -> tuple[str, str]:
        """What the core did with the plugin, and why it failed; ("", "") if no core runs."""
        try:
            with connect(self._args, timeout=None) as core:
                report = core.plugin_reload_report()
                plugins = {plugin["name"]: plugin for plugin in core.plugin_list()}
        except CoreNotRunning:
            return "", ""
        except PermissionDenied as error:
            raise ReedError(error.message, hint="run it as the user who runs the core, or as root") from None
        self._check_registry(plugins, name)
        own = [change for change in report if change["name"] == name]
        for change in report:
            if change["name"] != name and change["result"] != "failed":  # what failed before fails again
                print_error(f"the reload also {change['result']} {change['name']}")
        return (own[-1]["result"], own[-1]["reason"]) if own else ("updated", "")

    def _check_registry(self, plugins: dict[str, Any], name: str) -> None:
        """The core of this runtime folder may serve another site."""
        expected = bool(registry_edit.find_line(self.registry.read_bytes(), name))
        grounds = plugins[name]["grounds"] if name in plugins else {"row": f"{self.registry}:"}
        if expected != (name in plugins) or not grounds["row"].startswith(f"{self.registry}:"):
            raise ReedError(
                f"the running core does not use {self.registry}",
                hint="run the command in the folder of its site, or name the core: --runtime-dir",
            )
