"""From a row to what its process is launched with: folder, manifest, row and reed.yaml joined (DESIGN.md, Plugins)."""

from __future__ import annotations

from typing import NamedTuple

from reed.config import Config, PluginLimits
from reed.registry import folders, manifest
from reed.registry.digests import digest
from reed.registry.manifest import Manifest, Manifests
from reed.registry.processes import LaunchSpec
from reed.registry.rows import Row
from reed.wire import strict_json
from reed.wire.codes import Permission

LUA_MEMORY = 8 * 1024 * 1024


class Plan(NamedTuple):
    """What a process is launched as. Another plan is another generation."""

    manifest: Manifest
    spec: LaunchSpec
    code: str  # a digest of the state of its files: other code has another

    def digest(self, row: Row) -> str:
        """Of all that a process gets: the next core adopts what was launched with the same one."""
        spec = self.spec
        parts = (
            (row.plugin_type, row.version, str(row.socket_path), spec.permissions, str(spec.folder), self.code),
            (sorted(spec.actions.items()), spec.limits, spec.sandbox, spec.network, [str(path) for path in spec.paths]),
            strict_json.dumps(dict(spec.settings)),
        )
        return digest(repr(parts).encode())


def plan(row: Row, config: Config, manifests: Manifests) -> Plan:
    """Raises ManifestError when the plugin has no folder, no code, or a manifest that is wrong or not the row's."""
    name = row.plugin_name
    folder = folders.find(name, config.plugin_dirs)
    found = manifests.load(folder)
    manifest.check_row(found, folder, row, config.registry)
    over = config.plugin(name)
    may_write = Permission.FILE_WRITE in row.required_permissions
    lua = row.plugin_type == "lua"
    spec = LaunchSpec(
        name=name,
        version=row.version,
        folder=folder,
        entry=folders.entry_point(folder, name, row.plugin_type, found.entry),
        socket_path=row.socket_path,
        runtime_dir=config.runtime_dir,
        data_dir=config.data_dir / "plugins" / name if may_write else None,
        settings={**found.settings, **over.settings},
        limits=over.limits.over(found.limits).over(PluginLimits(memory=LUA_MEMORY if lua else None)),
        permissions=tuple(sorted(row.required_permissions)),
        actions={action.name: action.command_id for action in found.actions.values()},
        lua=found.lua if lua else "",
        sandbox=config.sandbox,
        network=over.network if found.network else (),
        paths=over.paths,
    )
    return Plan(found, spec, folders.state_of_code(spec.folder, spec.entry, whole=lua))
