"""Do the rows of plugin-registry.csv and the plugins' manifests fit together (`reed serve --check`)?

An error is what a new core would refuse though it may run under the present one: a bad row or manifest, another name or
version. A plugin without a folder is a warning: its row may stand there before it is installed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from reed.config import Config
from reed.errors import ManifestError
from reed.supervision import discovery, manifest, registry_csv


class Findings(NamedTuple):
    errors: Sequence[str]
    warnings: Sequence[str]


def check_site(config: Config) -> Findings:
    """RegistryError of a registry that cannot be read."""
    errors: list[str] = []
    warnings: list[str] = []
    for row in registry_csv.load(config.registry, config.runtime_dir):
        try:
            folder = discovery.find(row.plugin_name, config.plugin_dirs)
        except ManifestError as error:
            warnings.append(f"{config.registry}:{row.line}: {error}")
            continue
        try:
            manifest.check_row(manifest.load(folder), folder, row, config.registry)
        except ManifestError as error:
            errors.append(str(error))
    return Findings(errors, warnings)
