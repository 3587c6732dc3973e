"""What a plugin's process is launched from.

row (plugin-registry.csv) ───────────┐
manifest (plugin.yaml) ──────────────┼── Specification ── LaunchSpec ── Launcher
reed.yaml, the folder's files ───────┘
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from reed.config import Config, PluginLimits
from reed.errors import ManifestError
from reed.plugin_types import TYPES
from reed.plugin_types.plugin_type import PluginType
from reed.supervision import discovery, installation, manifest, registry_csv
from reed.supervision.manifest import Manifest, Manifests
from reed.supervision.registry_csv import Row
from reed.supervision.schedule import Schedule, effective
from reed.wire import strict_json
from reed.wire.codes import Permission


class LaunchSpec(NamedTuple):
    name: str
    plugin_type: PluginType
    version: str
    folder: Path
    entry: Path
    socket_path: Path
    runtime_dir: Path
    data_dir: Path | None  # only with file_write
    settings: Mapping[str, Any]
    limits: PluginLimits
    permissions: tuple[str, ...]  # sorted
    actions: Mapping[str, int]  # name: command_id
    lua: str = "5.5"
    sandbox: str = "auto"  # strict, off
    network: tuple[int, ...] = ()  # TCP ports
    paths: tuple[Path, ...] = ()  # readable besides its own folder
    hooks: Mapping[str, Mapping[str, str]] = MappingProxyType({})  # Manifest.hooks
    byte_actions: tuple[str, ...] = ()  # whose input is no JSON


class Launcher(Protocol):
    @property
    def zygotes(self) -> Collection[int]:
        """The pids of all zygotes, including dead ones."""

    def is_launching(self) -> bool:
        """May there be a process whose pid has not been reported yet?"""

    def may_fork(self, spec: LaunchSpec) -> bool:
        """Can its process leave others behind?"""

    def launch(
        self, spec: LaunchSpec, output_fd: int, on_launched: Callable[[int], None], on_failed: Callable[[str], None]
    ) -> None:
        """Start the process as the leader of its own session, with `output_fd` as its stdout and stderr.

        The caller closes `output_fd` afterwards. Calls one callback: with the pid of a child of this process, or
        with the reason of the failure.
        """


class Specification(NamedTuple):
    """A plugin as its files describe it."""

    row: Row
    manifest: Manifest
    launch: LaunchSpec
    code: str  # the fingerprint of the plugin's files
    schedules: Mapping[str, Schedule] = {}  # the process does not get them

    def matches(self, other: Specification | None) -> bool:
        """Would a process launched from `other` be the same?"""
        return other is not None and self == other._replace(row=_of_process(other.row, self.row))

    def fingerprint(self) -> str:
        """Of everything that the process gets; the next core compares it (adoption)."""
        row, launch = self.row, self.launch
        parts = (
            (row.plugin_type, row.version, str(row.socket_path), launch.permissions, str(launch.folder), self.code),
            (
                sorted(launch.actions.items()),
                launch.byte_actions,
                launch.limits,
                launch.sandbox,
                launch.network,
                [str(path) for path in launch.paths],
            ),
            strict_json.dumps(dict(launch.settings)),
        )
        return discovery.fingerprint(repr(parts).encode())

    def with_row(self, row: Row) -> Specification:
        """With the columns of `row` that apply at once."""
        return self._replace(row=_of_process(self.row, row))

    def with_settings(self, settings: Mapping[str, Any]) -> Specification:
        return self._replace(launch=self.launch._replace(settings=settings))


def settings_of(row: Row, config: Config, manifests: Manifests) -> Mapping[str, Any]:
    """Those of plugin.yaml with those of reed.yaml over them. Raises ManifestError."""
    _, found = _manifest_of(row, config, manifests)
    return {**found.settings, **config.plugin(row.plugin_name).settings}


def _manifest_of(row: Row, config: Config, manifests: Manifests) -> tuple[Path, Manifest]:
    folder = discovery.find(row.plugin_name, config.plugin_dirs)
    found = manifests.load(folder)
    manifest.check_row(found, folder, row, config.registry)
    return folder, found


def specify(row: Row, config: Config, manifests: Manifests) -> Specification:
    """Raises ManifestError."""
    name = row.plugin_name
    folder, found = _manifest_of(row, config, manifests)
    over = config.plugin(name)
    may_write = Permission.FILE_WRITE in row.required_permissions
    plugin_type = TYPES[row.plugin_type]
    launch = LaunchSpec(
        name=name,
        plugin_type=plugin_type,
        version=row.version,
        folder=folder,
        entry=discovery.entry_point(folder, name, plugin_type, found.entry),
        socket_path=row.socket_path,
        runtime_dir=config.runtime_dir,
        data_dir=config.data_dir / "plugins" / name if may_write else None,
        settings={**found.settings, **over.settings},
        limits=over.limits.over(found.limits).over(PluginLimits(memory=plugin_type.memory)),
        permissions=tuple(sorted(row.required_permissions)),
        actions={action.name: action.command_id for action in found.actions.values()},
        lua=found.lua,
        sandbox=config.sandbox,
        network=over.network if found.network else (),
        paths=over.paths,
        hooks=found.hooks(),
        byte_actions=tuple(action.name for action in found.actions.values() if action.input == "bytes"),
    )
    code = discovery.code_fingerprint(folder, launch.entry, whole=plugin_type.watches_subfolders)
    return Specification(row, found, launch, code, effective(found.schedules, over))


def _of_process(launched: Row, newest: Row) -> Row:
    """`launched` with the columns of `newest` that a process does not get."""
    return replace(
        launched,
        user_groups=newest.user_groups,
        auto_start=newest.auto_start,
        description=newest.description,
        line=newest.line,
    )


def environment(spec: LaunchSpec) -> dict[str, str]:
    """For a native plugin: nothing of the core's own environment."""
    found = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "REED_PLUGIN_NAME": spec.name,
        "REED_PLUGIN_VERSION": spec.version,
        "REED_SOCKET": str(spec.socket_path),
        "REED_RUNTIME_DIR": str(spec.runtime_dir),
        "REED_PLUGIN_DIR": str(spec.folder),
        "REED_SETTINGS": strict_json.dumps(dict(spec.settings)).decode(),
    }
    if spec.data_dir is not None:
        found["REED_DATA_DIR"] = str(spec.data_dir)
    if spec.network:
        found["RES_OPTIONS"] = "use-vc"  # DNS by TCP, because the sandbox has no UDP
    return found


class Findings(NamedTuple):
    errors: Sequence[str]
    warnings: Sequence[str]


def check_site(config: Config) -> Findings:
    """For `reed serve --check`. Finishes interrupted changes of plugins first. Raises RegistryError if the registry is
    invalid.

    A missing folder is a warning, because a row may be written before the plugin is installed.
    """
    errors: list[str] = []
    warnings: list[str] = list(installation.recover(config.plugin_dirs, config.registry))
    for row in registry_csv.load(config.registry, config.runtime_dir):
        try:
            folder = discovery.find(row.plugin_name, config.plugin_dirs)
        except ManifestError as error:
            warnings.append(f"{config.registry}:{row.line}: {error}")
            continue
        try:
            found = manifest.load(folder)
            manifest.check_row(found, folder, row, config.registry)
            manifest.check_stated_versions(found, folder, TYPES[row.plugin_type])
            effective(found.schedules, config.plugin(row.plugin_name))
        except ManifestError as error:
            errors.append(str(error))
    return Findings(errors, warnings)
