"""The registry of a plugin on trial: its own row, or one that lets it read where it has none, and that of its peer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from reed.cli.fifo_check import PEER
from reed.supervision import registry_csv
from reed.supervision.registry_csv import STANDARD_FOLDER, Row
from reed.testing.rows import registry_text

READING = ("snippet_read", "schema_read", "registry_read", "search_read")  # of a plugin that has no row yet


def registered(name: str, registry: Path, runtime_dir: Path) -> Row | None:
    """Its row, None when it has none. RegistryError when the file is wrong."""
    if not registry.exists():
        return None
    return next((row for row in registry_csv.load(registry, runtime_dir) if row.plugin_name == name), None)


def text(row: Row) -> str:
    """plugin-registry.csv for the trial."""
    peer = Row(
        plugin_name=PEER,
        plugin_type="native",
        socket_path=STANDARD_FOLDER / "plugins" / f"{PEER}.sock",
        version="1.0.0",
        required_permissions=frozenset(),
        user_groups=frozenset(),
        auto_start=False,
        description="writes to the plugin on trial",
    )
    return registry_text([replace(row, auto_start=False, description=""), peer])
