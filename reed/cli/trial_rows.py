"""The registry of a plugin on trial: its own row, or one that lets it read where it has none, and that of its peer."""

from __future__ import annotations

from pathlib import Path

from reed.cli.fifo_check import PEER
from reed.plugin_types import type_of
from reed.supervision import registry_csv
from reed.supervision.manifest import Manifest
from reed.supervision.registry_csv import Row
from reed.wire.codes import Permission

READING = ("snippet_read", "schema_read", "registry_read", "search_read")  # of a plugin that has no row yet
EMPTY = ",".join(registry_csv.COLUMNS) + "\n"


def registered(name: str, registry: Path, runtime_dir: Path) -> Row | None:
    """Its row, None when it has none. RegistryError when the file is wrong."""
    if not registry.exists():
        return None
    return next((row for row in registry_csv.load(registry, runtime_dir) if row.plugin_name == name), None)


def made_up(folder: Path, manifest: Manifest, runtime_dir: Path) -> Row:
    """A row for a plugin that has none; what its folder holds tells its type."""
    return Row(
        plugin_name=manifest.name,
        plugin_type=type_of(folder, manifest.name, manifest.entry).name,
        socket_path=runtime_dir / "plugins" / f"{manifest.name}.sock",
        version=manifest.version,
        required_permissions=frozenset(map(Permission, READING)),
        user_groups=frozenset(),
        auto_start=False,
        description="",
    )


def text(row: Row, runtime_dir: Path) -> str:
    """plugin-registry.csv for the trial."""
    permissions, groups = (",".join(sorted(each)) for each in (row.required_permissions, row.user_groups))
    own = f'{row.plugin_name},{row.plugin_type},{row.socket_path},{row.version},"{permissions}","{groups}",false,""'
    peer = f'{PEER},native,{runtime_dir / f"plugins/{PEER}.sock"},1.0.0,"","",false,"writes to the plugin on trial"'
    return f"{EMPTY}{own}\n{peer}\n"
