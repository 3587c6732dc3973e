"""The settings of the core: reed.yaml, REED_ variables and flags as one frozen Config (configuration.md).

    flags  >  REED_… variables  >  reed.yaml  >  the defaults below

All are read by the same readers (`reed.readers`): a variable or flag is laid over the file's tree before it is read.
`limits.payload` is REED_LIMITS_PAYLOAD. Paths in a file are relative to its folder. The plugins that come with reed are
found whatever `plugin_dirs` says, and last: a folder of one's own with the same name is taken instead. Everything that
is wrong raises ConfigError with file, line, column, field, what was expected, and the nearest key where one was
mistyped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any

from reed.document import Node, read
from reed.errors import ConfigError, nearest
from reed.readers import entries, items, one_of, path, plain, record, seconds, size, text, text_node, whole

__all__ = ["Config", "Group", "Limits", "PluginConfig", "PluginLimits", "Timing", "load", "unknown_variables"]

KB = 1024
MB = 1024 * KB
DEFAULT_FILE = "reed.yaml"  # read if it is there
# REED_ variables that are no settings: of plugin processes and of the project's own tests.
OTHER_VARIABLES = frozenset(
    {
        *("REED_CONFIG", "REED_HANDED_OVER"),
        *("REED_SOCKET", "REED_SETTINGS", "REED_PLUGIN_NAME", "REED_PLUGIN_VERSION"),
        *("REED_PAGES", "REED_SLOW_TESTS", "REED_TESTS_TARGET", "REED_FAULTS", "REED_FAULTS_P99", "REED_VECTORS"),
        "REED_BENCH",
    }
)
BUNDLED_PLUGINS = Path(__file__).parent / "plugins"  # contrib/plugins, as the installed package has them


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds the core, so that no client and no plugin can take all of it."""

    payload: Annotated[int, size(KB, 1024 * MB)] = 16 * MB  # bytes of one frame (protocol.md#frames)
    connections: Annotated[int, whole(1, 1_000_000)] = 4096
    frames_per_turn: Annotated[int, whole(1, 100_000)] = 64  # of one connection, for fairness
    queued_bytes: Annotated[int, size(64 * KB, 4096 * MB)] = 64 * MB  # to a slow reader; then it is closed
    queued_calls: Annotated[int, whole(1, 1_000_000)] = 1000  # to one plugin; then ERR_PLUGIN_BUSY
    user_connections: Annotated[int, whole(1, 1_000_000)] = 2048  # of one user
    user_connects: Annotated[int, whole(1, 1_000_000)] = 2000  # a second, of one user who is no admin
    user_bytes: Annotated[int, size(MB, 1024 * 1024 * MB)] = 512 * MB  # on their way from and to one user
    user_calls: Annotated[int, whole(1, 1_000_000)] = 500  # of plugins, under way for one user
    plugin_connections: Annotated[int, whole(1, 1_000_000)] = 64  # of one plugin, on all sockets
    plugin_connects: Annotated[int, whole(1, 1_000_000)] = 500  # a second, of one plugin
    plugin_bytes: Annotated[int, size(MB, 1024 * 1024 * MB)] = 128 * MB  # on their way from and to one plugin
    plugin_calls: Annotated[int, whole(1, 1_000_000)] = 500  # of other plugins, under way for one plugin
    queued_events: Annotated[int, whole(1, 100_000_000)] = 100_000  # for one plugin; then the oldest are lost
    log_lines: Annotated[int, whole(1, 1_000_000)] = 10  # a second in the core's log, of one plugin or user
    log_bytes: Annotated[int, size(64 * KB, 4096 * MB)] = 8 * MB  # of the log file; then it is put aside


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds, unless named otherwise (configuration.md#timing)."""

    start_deadline: Annotated[float, seconds()] = 5.0  # from the launch to READY
    call_timeout: Annotated[float, seconds()] = 30.0  # of an action whose manifest names none
    health_interval: Annotated[float, seconds()] = 10.0
    health_misses: Annotated[int, whole(1, 1000)] = 3  # then the process is killed
    stop_grace: Annotated[float, seconds()] = 5.0  # from SHUTDOWN_GRACEFUL to SIGTERM
    term_grace: Annotated[float, seconds()] = 2.0  # from SIGTERM to SIGKILL
    restart_limit: Annotated[int, whole(0, 1000)] = 5  # restarts within the window; then the plugin is failed
    restart_window: Annotated[float, seconds()] = 60.0


@dataclass(frozen=True, slots=True)
class Group:
    """Who belongs to a group of people, and what they may do. Each word keeps its place, for `registry.groups`."""

    users: Annotated[tuple[Node, ...], items(text_node)] = ()  # names or numbers of Unix users
    unix_groups: Annotated[tuple[Node, ...], items(text_node)] = ()
    permissions: Annotated[tuple[Node, ...], items(text_node)] = ()


@dataclass(frozen=True, slots=True)
class PluginLimits:
    """What bounds one plugin. None: as its kind has it."""

    memory: Annotated[int | None, size(256 * KB, 1024 * 1024 * MB)] = None  # bytes; a Lua plugin has 8 MB
    cpu: Annotated[float | None, seconds()] = None  # processor seconds that one call may take
    calls: Annotated[int | None, whole(1, 1_000_000)] = None  # calls that may wait for it

    def over(self, other: PluginLimits) -> PluginLimits:
        """These limits, and where one is not set, the other's."""
        return PluginLimits(
            memory=other.memory if self.memory is None else self.memory,
            cpu=other.cpu if self.cpu is None else self.cpu,
            calls=other.calls if self.calls is None else self.calls,
        )


@dataclass(frozen=True, slots=True)
class PluginConfig:
    """What reed.yaml says about one plugin, over its manifest."""

    settings: Annotated[dict[str, Any], entries(plain)] = field(default_factory=dict)
    limits: Annotated[PluginLimits, record(PluginLimits)] = PluginLimits()
    network: Annotated[tuple[int, ...], items(whole(1, 65535))] = ()  # TCP ports, if its manifest asks for the network
    paths: Annotated[tuple[Path, ...], items(path)] = ()  # that it may read too, and a native one run programs from


_GROUP = (r"[a-z][a-z0-9_-]{0,30}", "the name of a group: a-z, then a-z 0-9 _ -")
_PLUGIN = (r"[a-z][a-z0-9-]{0,30}", "the name of a plugin: a-z, then a-z 0-9 -")


@dataclass(frozen=True, slots=True)
class Config:
    """All settings of a core. Paths are absolute."""

    runtime_dir: Annotated[Path, path] = Path("/tmp/reed-cms")
    data_dir: Annotated[Path, path] = field(default_factory=Path("data").absolute)
    registry: Annotated[Path, path] = field(default_factory=Path("plugin-registry.csv").absolute)
    plugin_dirs: Annotated[tuple[Path, ...], items(path)] = field(
        default_factory=lambda: (Path("plugins").absolute(), Path("contrib/plugins").absolute())
    )  # `load` adds BUNDLED_PLUGINS
    log_level: Annotated[str, one_of("debug", "info", "warning", "error")] = "info"
    log_file: Annotated[Path | None, path] = None  # None: stderr
    sandbox: Annotated[str, one_of("auto", "strict", "off")] = "auto"  # strict: a plugin starts with every layer or not
    socket_group: Annotated[str | None, text] = None  # a Unix group that may open core.sock too
    groups: Annotated[dict[str, Group], entries(record(Group), *_GROUP)] = field(default_factory=dict)
    limits: Annotated[Limits, record(Limits)] = Limits()
    plugins: Annotated[dict[str, PluginConfig], entries(record(PluginConfig), *_PLUGIN)] = field(default_factory=dict)
    timing: Annotated[Timing, record(Timing)] = Timing()

    def plugin(self, name: str) -> PluginConfig:
        return self.plugins.get(name) or PluginConfig()


def load(
    config_path: str | os.PathLike[str] | None, environ: Mapping[str, str], overrides: Mapping[str, object]
) -> Config:
    """The settings. `overrides` are the flags that were given, by field: {"runtime_dir": …, "limits.payload": …};
    None means not given. Without `config_path`, REED_CONFIG names the file, or reed.yaml is taken if it is there.
    """
    file = config_path or environ.get("REED_CONFIG") or (DEFAULT_FILE if os.path.exists(DEFAULT_FILE) else None)
    tree = read(os.path.abspath(file), ConfigError) if file else Node({}, "", "", ConfigError)
    for name in _names(Config):
        if value := environ.get(_variable(name)):
            tree = _lay(tree, name, value.split(os.pathsep) if name == "plugin_dirs" else value, _variable(name))
    for name, given in overrides.items():
        if given is not None:
            tree = _lay(tree, name, given, _flag(name))
    found = record(Config)(tree)
    own = (folder for folder in found.plugin_dirs if folder != BUNDLED_PLUGINS)
    return replace(found, plugin_dirs=(*own, BUNDLED_PLUGINS))


def unknown_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """The REED_ variables that nothing reads, each with a hint: a mistyped one would go unnoticed."""
    known = {_variable(name) for name in _names(Config)} | OTHER_VARIABLES
    given = sorted(name for name in environ if name.startswith("REED_") and name not in known)
    return {name: nearest(name, known) or "`reed serve --help` and reed's README name them" for name in given}


def _names(cls: type[Any], above: str = "") -> Iterator[str]:
    """The settings that a variable may give: "data_dir", "limits.payload", …"""
    for each in fields(cls):
        if isinstance(each.default, (Limits, Timing)):
            yield from _names(type(each.default), f"{each.name}.")
        elif each.name not in {"groups", "plugins"}:
            yield above + each.name


def _variable(name: str) -> str:
    """REED_LIMITS_PAYLOAD of limits.payload; that of the plugin folders is named as their flag, --plugin-dir."""
    return "REED_PLUGIN_DIR" if name == "plugin_dirs" else "REED_" + name.replace(".", "_").upper()


def _flag(name: str) -> str:
    return "--plugin-dir" if name == "plugin_dirs" else "--" + name.replace("_", "-").replace(".", "-")


def _lay(tree: Node, name: str, value: object, giver: str) -> Node:
    """The tree with a value laid over what the file says. Its errors name the variable or flag that gave it."""
    head, _, rest = name.partition(".")
    entries = dict(tree.mapping)
    if rest:
        below = entries.get(head) or Node({}, head, tree.path, ConfigError)
        entries[head] = _lay(below, rest, value, giver)
    elif isinstance(value, (list, tuple)):
        entries[head] = Node([_given(str(each), giver) for each in value], "", giver, ConfigError)
    else:
        entries[head] = _given(str(value), giver)
    return replace(tree, value=entries)


def _given(value: str, giver: str) -> Node:
    return Node(value, "", giver, ConfigError, quoted=True)
