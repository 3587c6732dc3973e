"""The core in which `reed plugin dev` runs a plugin.

the site's core runs, and has this folder's plugin ──▶ that core
otherwise                                          ──▶ a private core with a temporary folder, until `close`
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from reed.cli.author import fixtures
from reed.cli.author.project import DEFAULT_PERMISSIONS, private, row_of
from reed.cli.output import short_path
from reed.client import Client, core_socket
from reed.config import Config
from reed.errors import CoreNotRunning, ManifestError
from reed.supervision import discovery
from reed.supervision.manifest import Manifest
from reed.supervision.registry_csv import Row
from reed.testing.forked_core import ForkedCore
from reed.testing.rows import make_row, registry_text


class DevCore:
    def __init__(self, site: Config, folder: Path) -> None:
        self._site = site
        self._folder = folder
        self._stack = ExitStack()
        self._private: Config | None = None
        self.log: Path | None = None  # the plugin's, once it was started
        self.runtime_dir = site.runtime_dir  # of the core that ran it last

    def close(self) -> None:
        """Stop the private core, if there is one. The site's core keeps running the plugin."""
        self._stack.close()

    def row(self, found: Manifest) -> Row:
        """The site's row of the plugin, or one with the permissions that its manifest asks for."""
        return row_of(found.name, self._site) or make_row(self._folder, found, found.permissions or DEFAULT_PERMISSIONS)

    def reload(self, found: Manifest) -> str:
        """Replace the running plugin by what is in the folder; tells where it is ready. Raises ReedError."""
        core = self._site_core(found.name) or self._private_core(found)
        try:
            core.plugin_reload(found.name)
            core.plugin_start(found.name)  # no effect on a running one
            health = core.plugin_health(found.name)[0]
        finally:
            core.close()
        self.log = Path(health["log"])
        whose = "a private core" if self._private and self.runtime_dir == self._private.runtime_dir else "the core"
        return f"{found.name} {found.version} is READY in {whose}, {short_path(self.runtime_dir)}"

    def _site_core(self, name: str) -> Client | None:
        try:
            core = Client(core_socket(self._site.runtime_dir), timeout=None)
        except CoreNotRunning:
            return None
        try:
            is_its_folder = discovery.find(name, self._site.plugin_dirs).resolve() == self._folder.resolve()
        except ManifestError:
            is_its_folder = False
        if is_its_folder and any(plugin["name"] == name for plugin in core.plugin_list()):
            self.runtime_dir = self._site.runtime_dir
            return core
        core.close()
        return None

    def _private_core(self, found: Manifest) -> Client:
        is_new = self._private is None
        config = self._private or self._private_config()
        row = replace(self.row(found), version=found.version, auto_start=False)
        config.registry.write_text(registry_text([row]), encoding="utf-8")
        if is_new:
            self._stack.enter_context(ForkedCore(config))
            self._private = config
        self.runtime_dir = config.runtime_dir
        core = Client(core_socket(config.runtime_dir), timeout=None)
        if is_new:
            fixtures.load(core, self._folder, found)  # `reed plugin test` reports what is wrong with them
        core.plugin_reload()
        return core

    def _private_config(self) -> Config:
        work = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="reed-dev-", dir="/tmp")))
        return replace(private(self._site, work), plugin_dirs=(self._folder.parent, *self._site.plugin_dirs))
