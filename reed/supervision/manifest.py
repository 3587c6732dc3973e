"""plugin.yaml: what a plugin offers and needs (plugin-yaml.md). Errors are ManifestError with file, line and column."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from reed import document
from reed.config import PluginLimits
from reed.document import Node
from reed.errors import Malformed, ManifestError, nearest
from reed.plugin_types.plugin_type import PluginType
from reed.readers import entries, items, like, one_of, plain, record, seconds, text, whole
from reed.supervision.permissions import permission
from reed.supervision.registry_csv import MAX_VERSION, VERSION, Row
from reed.supervision.schedule import Schedule, read_schedule
from reed.wire.codes import FIRST_ACTION_ID, LAST_ACTION_ID, Permission
from reed.wire.identifiers import SLUG

FILE_NAME = "plugin.yaml"
EVENTS = ("snippet.created", "snippet.updated", "snippet.deleted")
FILTERS = ("snippet.create", "snippet.update")

_ACTION = (r"[a-z][a-z0-9_-]{0,30}", "the name of an action: a-z, then a-z 0-9 _ -")
_SCHEDULE = (r"[a-z][a-z0-9_-]{0,30}", "the name of a schedule: a-z, then a-z 0-9 _ -")
_VERSION = rf"(?=.{{1,{MAX_VERSION}}}$){VERSION}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    name: str = ""  # its key in the manifest
    command_id: Annotated[int, whole(FIRST_ACTION_ID, LAST_ACTION_ID)]
    input: Annotated[str, one_of("snippet", "json", "bytes")] = "json"
    output: Annotated[Any, plain] = None  # the response, as the author describes it
    timeout: Annotated[float | None, seconds()] = None  # None: the core's call_timeout
    description: Annotated[str, text] = ""
    example: Annotated[Any, plain] = None  # an input


@dataclass(frozen=True, slots=True)
class Sleep:
    after: Annotated[float, seconds()]
    mode: Annotated[str, one_of("light", "deep")] = "light"


@dataclass(frozen=True, slots=True)
class Filter:
    action: Annotated[str, text]
    on_failure: Annotated[str, one_of("refuse", "pass")] = "refuse"  # what happens to the write when the action fails
    timeout: Annotated[float, seconds()] = 5.0


def _filter(node: Node) -> Filter:
    return record(Filter)(node) if isinstance(node.value, dict) else Filter(text(node))


def _permission(node: Node) -> Permission:
    try:
        return permission(text(node))
    except Malformed as error:
        raise node.wrong(error.message, error.hint) from None


def _action(node: Node) -> Action:
    return replace(record(Action)(node), name=node.field.rpartition(".")[2])


@dataclass(frozen=True, slots=True)
class Manifest:
    name: Annotated[str, like(SLUG, "the name of a plugin: a-z, then a-z 0-9 -, at most 31 characters")]
    version: Annotated[str, like(_VERSION, f"a version such as 1.2.0, of at most {MAX_VERSION} bytes")]
    description: Annotated[str, text] = ""
    entry: Annotated[str, text] = ""  # a file in its folder
    lua: Annotated[str, one_of("5.4", "5.5")] = "5.5"
    actions: Annotated[dict[str, Action], entries(_action, *_ACTION)] = field(default_factory=dict)
    events: Annotated[dict[str, str], entries(text)] = field(default_factory=dict)
    filters: Annotated[dict[str, Filter], entries(_filter)] = field(default_factory=dict)
    schedules: Annotated[dict[str, Schedule], entries(read_schedule, *_SCHEDULE)] = field(default_factory=dict)
    settings: Annotated[dict[str, Any], entries(plain)] = field(default_factory=dict)
    sleep: Annotated[Sleep | None, record(Sleep)] = None
    limits: Annotated[PluginLimits, record(PluginLimits)] = field(default_factory=PluginLimits)
    permissions: Annotated[tuple[Permission, ...], items(_permission)] = ()  # requested; its row grants them
    network: Annotated[str, text] = ""  # why it connects to other machines

    def hooks(self) -> dict[str, dict[str, str]]:
        """The actions that the core calls: {"events": {"snippet.created": "changed"}, "filters": …, "schedules": …}."""
        filters = {event: each.action for event, each in self.filters.items()}
        schedules = {name: each.action for name, each in self.schedules.items()}
        return {"events": self.events, "filters": filters, "schedules": schedules}


def load(folder: Path) -> Manifest:
    """Raises ManifestError."""
    path = folder / FILE_NAME
    if not path.is_file():
        raise ManifestError(str(path), "no such file", hint="every plugin needs one, with at least name and version")
    root = document.read(path, ManifestError)
    manifest = record(Manifest)(root)
    _check_ids(root, manifest)
    for section, known in (("events", EVENTS), ("filters", FILTERS)):
        if section in root.mapping:
            _check_handlers(root.mapping[section], known, manifest)
    for name, schedule in manifest.schedules.items():
        _check_schedule(root.mapping["schedules"].mapping[name].mapping["action"], schedule, manifest)
    return manifest


class Manifests:
    """A cache, by folder, until the file changes."""

    def __init__(self) -> None:
        self._read: dict[Path, tuple[tuple[int, int, int], Manifest]] = {}

    def load(self, folder: Path) -> Manifest:
        """Raises ManifestError."""
        try:
            stat = (folder / FILE_NAME).stat()
        except OSError:
            return load(folder)  # raises the error
        seen = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        known = self._read.get(folder)
        if known is None or known[0] != seen:
            known = self._read[folder] = (seen, load(folder))
        return known[1]


def check_row(manifest: Manifest, folder: Path, row: Row, registry: Path) -> None:
    """Raises ManifestError unless row and manifest have the same name and version."""
    path = folder / FILE_NAME
    if manifest.name != row.plugin_name:
        raise ManifestError(
            str(path),
            f"the name is {manifest.name!r}, but its row ({registry}:{row.line}) has {row.plugin_name!r}",
            hint="folder, manifest and row must have the same name",
        )
    if manifest.version != row.version:
        raise ManifestError(
            str(path),
            f"the version is {manifest.version}, but its row ({registry}:{row.line}) has {row.version}",
            hint="correct one of the two files",
        )


def check_stated_versions(manifest: Manifest, folder: Path, plugin_type: PluginType) -> list[str]:
    """Return the files that state the version as well. Raises ManifestError if one differs from plugin.yaml."""
    found = []
    for path, line, version in plugin_type.stated_versions(folder, manifest.name, manifest.entry):
        if version != manifest.version:
            raise ManifestError(
                str(path),
                f"the version is {version}, but {FILE_NAME} has {manifest.version}",
                line=line,
                hint="correct one of the two files",
            )
        found.append(path.name)
    return found


def _check_ids(root: Node, manifest: Manifest) -> None:
    first: dict[int, str] = {}
    for name, action in manifest.actions.items():
        if action.command_id in first:
            node = root.mapping["actions"].mapping[name].mapping["command_id"]
            raise node.wrong(f"{action.command_id} is already the action {first[action.command_id]!r}")
        first[action.command_id] = name


def _check_handlers(section: Node, known: tuple[str, ...], manifest: Manifest) -> None:
    for key, node in section.mapping.items():
        if key not in known:
            raise node.wrong_key("unknown key", nearest(key, known) or f"there are: {', '.join(known)}")
        _check_action(node.mapping["action"] if isinstance(node.value, dict) else node, manifest)


def _check_action(named: Node, manifest: Manifest) -> None:
    action = text(named)
    if action not in manifest.actions:
        actions = ", ".join(manifest.actions) or "none"
        raise named.wrong(f"no action {action!r} here", nearest(action, manifest.actions) or f"there are: {actions}")


def _check_schedule(named: Node, schedule: Schedule, manifest: Manifest) -> None:
    _check_action(named, manifest)
    if manifest.actions[schedule.action].input == "snippet":
        raise named.wrong(f"the action {schedule.action!r} takes a snippet", "a schedule calls an action with JSON")
