"""plugin-registry.csv for plugins under test: a row is made from what the plugin's folder contains."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from reed.plugin_types import type_of
from reed.supervision import manifest, registry_csv
from reed.supervision.manifest import Manifest
from reed.supervision.registry_csv import Row, standard_socket
from reed.supervision.registry_edit import row_line
from reed.wire.codes import Permission


def row_of(folder: str | os.PathLike[str], permissions: Iterable[str] = ()) -> Row:
    """The row of the plugin in this folder. Raises ManifestError."""
    path = Path(folder).absolute()
    return make_row(path, manifest.load(path), permissions)


def make_row(folder: Path, described: Manifest, permissions: Iterable[str]) -> Row:
    """The same for a manifest that is loaded already."""
    return Row(
        plugin_name=described.name,
        plugin_type=type_of(folder, described.name, described.entry).name,
        socket_path=standard_socket(described.name),
        version=described.version,
        required_permissions=frozenset(map(Permission, permissions)),
    )


def registry_text(rows: Iterable[Row] = ()) -> str:
    """The whole file."""
    return "".join(f"{line}\n" for line in (",".join(registry_csv.COLUMNS), *map(row_line, rows)))
