"""The settings of the core as one frozen Config; configuration.md describes each.

    flags  >  REED_… variables  >  reed.yaml  >  the defaults below

Variables and flags are merged into the file's tree first, so that the same readers check all three.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from reed.document import Node, read
from reed.errors import ConfigError, ReedError, nearest
from reed.readers import (
    boolean,
    entries,
    interval,
    items,
    one_of,
    path,
    plain,
    record,
    seconds,
    size,
    text,
    text_node,
    whole,
)
from reed.store.setting import SQLITE, StoreSetting
from reed.store.setting import parse as parse_store

__all__ = ["Config", "Group", "Limits", "PluginConfig", "PluginLimits", "Setting", "Timing"]
__all__ += ["config_file", "load", "load_explained", "unknown_variables"]

KB = 1024
MB = 1024 * KB
DEFAULT_FILE = "reed.yaml"
OTHER_VARIABLES = frozenset(  # of plugin processes and of the project's own tests
    {
        *("REED_CONFIG", "REED_HANDED_OVER"),
        *("REED_SOCKET", "REED_SETTINGS", "REED_PLUGIN_NAME", "REED_PLUGIN_VERSION"),
        *("REED_PAGES", "REED_SLOW_TESTS", "REED_TESTS_TARGET", "REED_FAULTS", "REED_FAULTS_P99", "REED_VECTORS"),
        *("REED_BENCH", "REED_STALLS", "REED_HISTORIES", "REED_AXE", "REED_BASE_IMAGE"),
    }
)
BUNDLED_PLUGINS = Path(__file__).parent / "plugins"  # contrib/plugins, in the installed package


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes are bytes; see limits.md for what happens beyond each."""

    payload: Annotated[int, size(KB, 1024 * MB)] = 16 * MB
    connections: Annotated[int, whole(1, 1_000_000)] = 4096
    frames_per_turn: Annotated[int, whole(1, 100_000)] = 64
    queued_bytes: Annotated[int, size(64 * KB, 4096 * MB)] = 64 * MB
    queued_calls: Annotated[int, whole(1, 1_000_000)] = 1000
    user_connections: Annotated[int, whole(1, 1_000_000)] = 2048
    user_connects: Annotated[int, whole(1, 1_000_000)] = 2000  # per second
    user_bytes: Annotated[int, size(MB, 1024 * 1024 * MB)] = 512 * MB
    user_calls: Annotated[int, whole(1, 1_000_000)] = 500
    plugin_connections: Annotated[int, whole(1, 1_000_000)] = 64
    plugin_connects: Annotated[int, whole(1, 1_000_000)] = 500  # per second
    plugin_bytes: Annotated[int, size(MB, 1024 * 1024 * MB)] = 128 * MB
    plugin_calls: Annotated[int, whole(1, 1_000_000)] = 500
    queued_events: Annotated[int, whole(1, 100_000_000)] = 100_000
    kept_changes: Annotated[int, whole(1, 100_000_000)] = 100_000  # for watchers
    worker_memory: Annotated[int, size(64 * MB, 1024 * 1024 * MB)] = 1024 * MB
    log_lines: Annotated[int, whole(1, 1_000_000)] = 10  # per second
    log_bytes: Annotated[int, size(64 * KB, 4096 * MB)] = 8 * MB


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds."""

    start_deadline: Annotated[float, seconds()] = 5.0
    call_timeout: Annotated[float, seconds()] = 30.0
    health_interval: Annotated[float, seconds()] = 10.0
    health_misses: Annotated[int, whole(1, 1000)] = 3  # in a row
    stop_grace: Annotated[float, seconds()] = 5.0
    term_grace: Annotated[float, seconds()] = 2.0
    restart_limit: Annotated[int, whole(0, 1000)] = 5
    restart_window: Annotated[float, seconds()] = 60.0
    search_timeout: Annotated[float, seconds()] = 2.0
    job_timeout: Annotated[float, seconds()] = 10.0


@dataclass(frozen=True, slots=True)
class Group:
    """Holds Nodes, so that later errors can name line and column."""

    users: Annotated[tuple[Node, ...], items(text_node)] = ()
    unix_groups: Annotated[tuple[Node, ...], items(text_node)] = ()
    permissions: Annotated[tuple[Node, ...], items(text_node)] = ()


@dataclass(frozen=True, slots=True)
class PluginLimits:
    """None: the default of the plugin's type."""

    memory: Annotated[int | None, size(256 * KB, 1024 * 1024 * MB)] = None
    cpu: Annotated[float | None, seconds()] = None  # processor time of one call
    calls: Annotated[int | None, whole(1, 1_000_000)] = None

    def over(self, other: PluginLimits) -> PluginLimits:
        """These limits, with those of `other` where one is None."""
        return PluginLimits(
            memory=other.memory if self.memory is None else self.memory,
            cpu=other.cpu if self.cpu is None else self.cpu,
            calls=other.calls if self.calls is None else self.calls,
        )


_NO_NODE = Node("", "", "", ConfigError)


@dataclass(frozen=True, slots=True)
class ScheduleConfig:
    """Changes a schedule of plugin.yaml. `cron` is read only where the plugin runs, because that takes a library."""

    cron: Annotated[Node | None, text_node] = None
    every: Annotated[float | None, interval] = None
    enabled: Annotated[bool, boolean] = True
    node: Node = _NO_NODE  # for errors


def _schedule(node: Node) -> ScheduleConfig:
    """`off`, `on`, or a mapping."""
    if isinstance(node.value, str):
        return ScheduleConfig(enabled=boolean(node), node=node)
    found = record(ScheduleConfig)(node)
    if found.cron is not None and found.every is not None:
        raise node.wrong("expected `cron` or `every`, found both")
    return replace(found, node=node)


@dataclass(frozen=True, slots=True)
class PluginConfig:
    """Overrides the plugin's manifest."""

    settings: Annotated[dict[str, Any], entries(plain)] = field(default_factory=dict)
    limits: Annotated[PluginLimits, record(PluginLimits)] = PluginLimits()
    network: Annotated[tuple[int, ...], items(whole(1, 65535))] = ()  # TCP ports
    paths: Annotated[tuple[Path, ...], items(path)] = ()
    schedules: Annotated[dict[str, ScheduleConfig], entries(_schedule)] = field(default_factory=dict)


def _store(node: Node) -> StoreSetting:
    value = text(node)
    try:
        return parse_store(value)
    except ReedError as error:
        raise node.wrong(error.message, error.hint) from None


_GROUP = (r"[a-z][a-z0-9_-]{0,30}", "the name of a group: a-z, then a-z 0-9 _ -")
_PLUGIN = (r"[a-z][a-z0-9-]{0,30}", "the name of a plugin: a-z, then a-z 0-9 -")


@dataclass(frozen=True, slots=True)
class Config:
    """Paths are absolute."""

    runtime_dir: Annotated[Path, path] = Path("/tmp/reed-cms")
    data_dir: Annotated[Path, path] = field(default_factory=Path("data").absolute)
    store: Annotated[StoreSetting, _store] = SQLITE
    registry: Annotated[Path, path] = field(default_factory=Path("plugin-registry.csv").absolute)
    plugin_dirs: Annotated[tuple[Path, ...], items(path)] = field(
        default_factory=lambda: (Path("plugins").absolute(), Path("contrib/plugins").absolute())
    )  # `load` adds BUNDLED_PLUGINS
    log_level: Annotated[str, one_of("debug", "info", "warning", "error")] = "info"
    log_file: Annotated[Path | None, path] = None  # None: stderr
    sandbox: Annotated[str, one_of("auto", "strict", "off")] = "auto"
    workers: Annotated[int, whole(0, 64)] = 0  # 0: `max_workers` decides
    socket_group: Annotated[str | None, text] = None
    groups: Annotated[dict[str, Group], entries(record(Group), *_GROUP)] = field(default_factory=dict)
    limits: Annotated[Limits, record(Limits)] = Limits()
    plugins: Annotated[dict[str, PluginConfig], entries(record(PluginConfig), *_PLUGIN)] = field(default_factory=dict)
    timing: Annotated[Timing, record(Timing)] = Timing()

    @property
    def max_workers(self) -> int:
        return self.workers or min(len(os.sched_getaffinity(0)), 2)

    def plugin(self, name: str) -> PluginConfig:
        return self.plugins.get(name) or PluginConfig()


Source = Literal["default", "file", "variable", "option"]


class Setting(NamedTuple):
    """A value of the settings, with where it comes from."""

    name: str  # "limits.payload", "groups.editor.users"
    value: Any  # as JSON; sizes are bytes, times seconds
    source: Source
    place: str  # "/srv/site/reed.yaml:3", "REED_DATA_DIR", "--data-dir"; "" for a default


def load(
    config_path: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
) -> Config:
    """The settings of `reed serve`: reed.yaml, REED_ variables (by default of this process), and flags by field.

    `overrides`: {"limits.payload": …}; None: not given. Raises ConfigError.
    """
    return _config(_merged(config_path, os.environ if environ is None else environ, overrides or {}))


def load_explained(
    config_path: str | os.PathLike[str] | None, environ: Mapping[str, str], overrides: Mapping[str, object]
) -> list[Setting]:
    """What `load` returns, setting by setting in the order of the reference. Raises ConfigError."""
    tree = _merged(config_path, environ, overrides)
    return list(_settings(_config(tree), tree, ""))


def config_file(config_path: str | os.PathLike[str] | None, environ: Mapping[str, str]) -> str | None:
    """The absolute path of the file; None: there is none."""
    file = config_path or environ.get("REED_CONFIG") or (DEFAULT_FILE if os.path.exists(DEFAULT_FILE) else None)
    return os.path.abspath(file) if file else None


def _merged(
    config_path: str | os.PathLike[str] | None, environ: Mapping[str, str], overrides: Mapping[str, object]
) -> Node:
    """The file's tree, with the values of variables and flags in place of its own."""
    file = config_file(config_path, environ)
    tree = read(file, ConfigError) if file else Node({}, "", "", ConfigError)
    for name in _names(Config):
        if value := environ.get(_variable(name)):
            tree = _override(tree, name, value.split(os.pathsep) if name == "plugin_dirs" else value, _variable(name))
    for name, given in overrides.items():
        if given is not None:
            tree = _override(tree, name, given, _flag(name))
    return tree


def _config(tree: Node) -> Config:
    found = record(Config)(tree)
    own = [folder for folder in found.plugin_dirs if folder != BUNDLED_PLUGINS]
    for each in filter(None, (found.runtime_dir, found.data_dir, found.registry, found.log_file, *own)):
        _check_utf8(each)
    return replace(found, plugin_dirs=(*own, BUNDLED_PLUGINS))


def _check_utf8(path: Path) -> None:
    """Paths are parts of answers and URIs, which are UTF-8."""
    if not (name := os.fsencode(path)).isascii():
        try:
            name.decode()
        except UnicodeDecodeError:
            shown = name.decode("utf-8", "backslashreplace")
            raise ConfigError(shown, "this path is not UTF-8", hint="rename the folder, or choose another") from None


def _settings(value: Any, tree: Node | None, above: str) -> Iterator[Setting]:
    """The settings in a dataclass, or in a mapping by name; `tree` has those that were given, with their places."""
    given = tree.mapping if tree is not None else {}
    if isinstance(value, dict):
        pairs = list(value.items())
    else:
        pairs = [(each.name, getattr(value, each.name)) for each in fields(value)]
    for name, found in pairs:
        if isinstance(value, ScheduleConfig) and name == "node":
            continue
        path, node = above + name, given.get(name)
        is_mapping = isinstance(found, dict) and name in {"groups", "plugins", "settings", "schedules"} and found
        if is_mapping or isinstance(found, (Limits, Timing, Group, PluginConfig, PluginLimits, ScheduleConfig)):
            yield from _settings(found, node, f"{path}.")
        else:
            yield Setting(path, _shown(found), *_source(node))


def _source(node: Node | None) -> tuple[Source, str]:
    if node is None:
        return "default", ""
    if not node.line and not node.key_line:  # it is not from the file: its path is the variable or flag
        return ("option" if node.path.startswith("-") else "variable"), node.path
    return "file", f"{node.path}:{node.key_line or node.line}"


def _shown(value: Any) -> Any:
    """As JSON."""
    if isinstance(value, Node):
        return value.value
    if isinstance(value, (Path, StoreSetting)):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [_shown(each) for each in value]
    return value


def unknown_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """The REED_ variables that nothing reads, each with a hint."""
    known = {_variable(name) for name in _names(Config)} | OTHER_VARIABLES
    given = sorted(name for name in environ if name.startswith("REED_") and name not in known)
    return {name: nearest(name, known) or "`reed serve --help` and reed's README name them" for name in given}


def _names(cls: type[Any], above: str = "") -> Iterator[str]:
    """The fields that a variable or flag can set: "data_dir", "limits.payload", …"""
    for each in fields(cls):
        if isinstance(each.default, (Limits, Timing)):
            yield from _names(type(each.default), f"{each.name}.")
        elif each.name not in {"groups", "plugins"}:
            yield above + each.name


def _variable(name: str) -> str:
    return "REED_PLUGIN_DIR" if name == "plugin_dirs" else "REED_" + name.replace(".", "_").upper()


def _flag(name: str) -> str:
    return "--plugin-dir" if name == "plugin_dirs" else "--" + name.replace("_", "-").replace(".", "-")


def _override(tree: Node, name: str, value: object, source: str) -> Node:
    """Errors about the new value name `source`, the variable or flag."""
    head, _, rest = name.partition(".")
    entries = dict(tree.mapping)
    if rest:
        below = entries.get(head) or Node({}, head, tree.path, ConfigError)
        entries[head] = _override(below, rest, value, source)
    elif isinstance(value, (list, tuple)):
        entries[head] = Node([_node(str(each), source) for each in value], "", source, ConfigError)
    else:
        entries[head] = _node(str(value), source)
    return tree._replace(value=entries)


def _node(value: str, source: str) -> Node:
    return Node(value, "", source, ConfigError, quoted=True)
