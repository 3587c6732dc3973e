"""The settings of the core: reed.yaml, REED_ variables and flags as one frozen Config (configuration.md).

    flags  >  REED_… variables  >  reed.yaml  >  the defaults below

Variables and flags are merged into the file's tree before it is read, so that the same readers check all three
(`reed.readers`). `limits.payload` is REED_LIMITS_PAYLOAD. Paths in a file are relative to its folder. Every error is a
ConfigError with file, line, column, field, what was expected, and the nearest key if one was mistyped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any

from reed.document import Node, read
from reed.errors import ConfigError, ReedError, nearest
from reed.readers import entries, items, one_of, path, plain, record, seconds, size, text, text_node, whole
from reed.store.setting import SQLITE, StoreSetting
from reed.store.setting import parse as parse_store

__all__ = ["Config", "Group", "Limits", "PluginConfig", "PluginLimits", "Timing", "load", "unknown_variables"]

KB = 1024
MB = 1024 * KB
DEFAULT_FILE = "reed.yaml"  # read if it exists
# REED_ variables that are not settings: those of plugin processes and of the project's own tests.
OTHER_VARIABLES = frozenset(
    {
        *("REED_CONFIG", "REED_HANDED_OVER"),
        *("REED_SOCKET", "REED_SETTINGS", "REED_PLUGIN_NAME", "REED_PLUGIN_VERSION"),
        *("REED_PAGES", "REED_SLOW_TESTS", "REED_TESTS_TARGET", "REED_FAULTS", "REED_FAULTS_P99", "REED_VECTORS"),
        *("REED_BENCH", "REED_STALLS"),
    }
)
BUNDLED_PLUGINS = Path(__file__).parent / "plugins"  # contrib/plugins, in the installed package


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits that keep one client or plugin from using up the core."""

    payload: Annotated[int, size(KB, 1024 * MB)] = 16 * MB  # bytes of one frame (protocol.md#frames)
    connections: Annotated[int, whole(1, 1_000_000)] = 4096
    frames_per_turn: Annotated[int, whole(1, 100_000)] = 64  # read from one connection
    queued_bytes: Annotated[int, size(64 * KB, 4096 * MB)] = 64 * MB  # unread by one peer; then it is disconnected
    queued_calls: Annotated[int, whole(1, 1_000_000)] = 1000  # for one plugin; then ERR_PLUGIN_BUSY
    user_connections: Annotated[int, whole(1, 1_000_000)] = 2048  # of one user
    user_connects: Annotated[int, whole(1, 1_000_000)] = 2000  # per second, of one user who is not an admin
    user_bytes: Annotated[int, size(MB, 1024 * 1024 * MB)] = 512 * MB  # buffered from and to one user
    user_calls: Annotated[int, whole(1, 1_000_000)] = 500  # to plugins, in flight for one user
    plugin_connections: Annotated[int, whole(1, 1_000_000)] = 64  # of one plugin, on all sockets
    plugin_connects: Annotated[int, whole(1, 1_000_000)] = 500  # per second, of one plugin
    plugin_bytes: Annotated[int, size(MB, 1024 * 1024 * MB)] = 128 * MB  # buffered from and to one plugin
    plugin_calls: Annotated[int, whole(1, 1_000_000)] = 500  # to other plugins, in flight for one plugin
    queued_events: Annotated[int, whole(1, 100_000_000)] = 100_000  # for one plugin; then the oldest are dropped
    worker_memory: Annotated[int, size(64 * MB, 1024 * 1024 * MB)] = 1024 * MB  # of one worker process
    log_lines: Annotated[int, whole(1, 1_000_000)] = 10  # per second in the core's log, of one plugin or user
    log_bytes: Annotated[int, size(64 * KB, 4096 * MB)] = 8 * MB  # of the log file; then it is rotated


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds, unless stated otherwise (configuration.md#timing)."""

    start_deadline: Annotated[float, seconds()] = 5.0  # from the launch to READY
    call_timeout: Annotated[float, seconds()] = 30.0  # unless the manifest sets one for the action
    health_interval: Annotated[float, seconds()] = 10.0
    health_misses: Annotated[int, whole(1, 1000)] = 3  # missed in a row; then the process is killed
    stop_grace: Annotated[float, seconds()] = 5.0  # from SHUTDOWN_GRACEFUL to SIGTERM
    term_grace: Annotated[float, seconds()] = 2.0  # from SIGTERM to SIGKILL
    restart_limit: Annotated[int, whole(0, 1000)] = 5  # restarts within the window; then the plugin has failed
    restart_window: Annotated[float, seconds()] = 60.0
    search_timeout: Annotated[float, seconds()] = 2.0  # of a search in a worker; then ERR_JOB_TIMEOUT
    job_timeout: Annotated[float, seconds()] = 10.0  # of any other job in a worker


@dataclass(frozen=True, slots=True)
class Group:
    """A group of users and its permissions. Nodes, so that later errors can name line and column."""

    users: Annotated[tuple[Node, ...], items(text_node)] = ()  # names or numbers of Unix users
    unix_groups: Annotated[tuple[Node, ...], items(text_node)] = ()
    permissions: Annotated[tuple[Node, ...], items(text_node)] = ()


@dataclass(frozen=True, slots=True)
class PluginLimits:
    """The limits of one plugin. None: the default of its type."""

    memory: Annotated[int | None, size(256 * KB, 1024 * 1024 * MB)] = None  # bytes; 8 MB for a Lua plugin
    cpu: Annotated[float | None, seconds()] = None  # processor seconds for one call
    calls: Annotated[int | None, whole(1, 1_000_000)] = None  # queued calls

    def over(self, other: PluginLimits) -> PluginLimits:
        """These limits, with those of `other` where one is None."""
        return PluginLimits(
            memory=other.memory if self.memory is None else self.memory,
            cpu=other.cpu if self.cpu is None else self.cpu,
            calls=other.calls if self.calls is None else self.calls,
        )


@dataclass(frozen=True, slots=True)
class PluginConfig:
    """The settings of one plugin in reed.yaml, which override its manifest."""

    settings: Annotated[dict[str, Any], entries(plain)] = field(default_factory=dict)
    limits: Annotated[PluginLimits, record(PluginLimits)] = PluginLimits()
    network: Annotated[tuple[int, ...], items(whole(1, 65535))] = ()  # TCP ports, if its manifest requests the network
    paths: Annotated[tuple[Path, ...], items(path)] = ()  # folders it may also read; a native one also executes


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
    """All settings of a core. Paths are absolute."""

    runtime_dir: Annotated[Path, path] = Path("/tmp/reed-cms")
    data_dir: Annotated[Path, path] = field(default_factory=Path("data").absolute)
    store: Annotated[StoreSetting, _store] = SQLITE
    registry: Annotated[Path, path] = field(default_factory=Path("plugin-registry.csv").absolute)
    plugin_dirs: Annotated[tuple[Path, ...], items(path)] = field(
        default_factory=lambda: (Path("plugins").absolute(), Path("contrib/plugins").absolute())
    )  # `load` adds BUNDLED_PLUGINS
    log_level: Annotated[str, one_of("debug", "info", "warning", "error")] = "info"
    log_file: Annotated[Path | None, path] = None  # None: stderr
    sandbox: Annotated[str, one_of("auto", "strict", "off")] = "auto"  # strict: every layer, or no plugin starts
    workers: Annotated[int, whole(0, 64)] = 0  # processes for long jobs, at most; 0: one, or two with two processors
    socket_group: Annotated[str | None, text] = None  # a Unix group that may also open core.sock
    groups: Annotated[dict[str, Group], entries(record(Group), *_GROUP)] = field(default_factory=dict)
    limits: Annotated[Limits, record(Limits)] = Limits()
    plugins: Annotated[dict[str, PluginConfig], entries(record(PluginConfig), *_PLUGIN)] = field(default_factory=dict)
    timing: Annotated[Timing, record(Timing)] = Timing()

    @property
    def max_workers(self) -> int:
        return self.workers or min(len(os.sched_getaffinity(0)), 2)

    def plugin(self, name: str) -> PluginConfig:
        return self.plugins.get(name) or PluginConfig()


def load(
    config_path: str | os.PathLike[str] | None, environ: Mapping[str, str], overrides: Mapping[str, object]
) -> Config:
    """`overrides` are the flags by field, {"runtime_dir": …, "limits.payload": …}; None: not given.

    Without `config_path` the file is that of REED_CONFIG, or reed.yaml if it exists. Bundled plugins are always found,
    after those of `plugin_dirs`.
    """
    file = config_path or environ.get("REED_CONFIG") or (DEFAULT_FILE if os.path.exists(DEFAULT_FILE) else None)
    tree = read(os.path.abspath(file), ConfigError) if file else Node({}, "", "", ConfigError)
    for name in _names(Config):
        if value := environ.get(_variable(name)):
            tree = _override(tree, name, value.split(os.pathsep) if name == "plugin_dirs" else value, _variable(name))
    for name, given in overrides.items():
        if given is not None:
            tree = _override(tree, name, given, _flag(name))
    found = record(Config)(tree)
    own = (folder for folder in found.plugin_dirs if folder != BUNDLED_PLUGINS)
    return replace(found, plugin_dirs=(*own, BUNDLED_PLUGINS))


def unknown_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """The REED_ variables that nothing reads, each with a hint; they are probably mistyped."""
    known = {_variable(name) for name in _names(Config)} | OTHER_VARIABLES
    given = sorted(name for name in environ if name.startswith("REED_") and name not in known)
    return {name: nearest(name, known) or "`reed serve --help` and reed's README name them" for name in given}


def _names(cls: type[Any], above: str = "") -> Iterator[str]:
    """The fields that a variable can set: "data_dir", "limits.payload", …"""
    for each in fields(cls):
        if isinstance(each.default, (Limits, Timing)):
            yield from _names(type(each.default), f"{each.name}.")
        elif each.name not in {"groups", "plugins"}:
            yield above + each.name


def _variable(name: str) -> str:
    """REED_LIMITS_PAYLOAD for limits.payload; REED_PLUGIN_DIR follows its flag, --plugin-dir."""
    return "REED_PLUGIN_DIR" if name == "plugin_dirs" else "REED_" + name.replace(".", "_").upper()


def _flag(name: str) -> str:
    return "--plugin-dir" if name == "plugin_dirs" else "--" + name.replace("_", "-").replace(".", "-")


def _override(tree: Node, name: str, value: object, source: str) -> Node:
    """The tree with one value replaced. Errors about it name `source`, the variable or flag."""
    head, _, rest = name.partition(".")
    entries = dict(tree.mapping)
    if rest:
        below = entries.get(head) or Node({}, head, tree.path, ConfigError)
        entries[head] = _override(below, rest, value, source)
    elif isinstance(value, (list, tuple)):
        entries[head] = Node([_node(str(each), source) for each in value], "", source, ConfigError)
    else:
        entries[head] = _node(str(value), source)
    return replace(tree, value=entries)


def _node(value: str, source: str) -> Node:
    return Node(value, "", source, ConfigError, quoted=True)
