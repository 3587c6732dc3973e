"""Checks of a site for `reed doctor`: settings, core, store, registry, and its folders."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reed.cli.background import find_process
from reed.cli.doctor import Finding, Level, error, ok, warning
from reed.cli.doctor.folders import check_file_system, check_folder
from reed.cli.options import config as load_config
from reed.cli.options import connect, runtime_dir
from reed.cli.parse import Args
from reed.config import Config, config_file, unknown_variables
from reed.errors import CallError, ConfigError, CoreNotRunning, ManifestError, ReedError
from reed.figures import duration, plural, size
from reed.runtime_paths import used_folder

_LONG_LOG = 128 * 1024 * 1024  # bytes
_TIMEOUT = 5.0


class Site:
    def __init__(self, args: Args) -> None:
        self._args = args
        self.pid: int | None = None  # of the core's process, if it is visible here
        self.core_version = ""
        self.config = Config()  # until `settings` has read them; they may be invalid
        self._stats: dict[str, Any] = {}
        self._reasons: set[str] = set()  # why plugins are not running, as the core reports

    def settings(self) -> Iterator[Finding]:
        try:
            self.config = load_config(self._args)
        except ConfigError as caught:
            yield error(str(caught), "the core does not start", "correct it; the defaults are checked below")
            return
        file = config_file(self._args.text("--config"), os.environ)
        yield ok(f"settings: {file}" if file else "settings: the defaults (no reed.yaml in this folder)")
        for name, hint in unknown_variables(os.environ).items():
            yield warning(f"unknown variable {name}", "it has no effect, and reed restart is refused", hint)

    # The core.

    def core(self) -> Iterator[Finding]:
        folder = runtime_dir(self._args)
        found = find_process(folder)
        self.pid = found[0] if found else None
        try:
            with connect(self._args, _TIMEOUT) as core:
                self._stats = core.stats()
                plugins = core.plugin_health()
        except CoreNotRunning:
            if self.pid is None:
                yield ok(f"no core runs on {folder}; what only a core knows is left out")
            else:
                yield error(
                    f"the core (pid {self.pid}) does not accept connections",
                    "its socket is gone",
                    "reed logs; then reed stop and reed start",
                )
            return
        except CallError as caught:
            yield warning(str(caught), "its figures are left out", "run this as the core's user or root")
            return
        except OSError as caught:
            yield error(f"the core does not answer: {caught}", "it is busy or hangs", "reed logs")
            return
        self.core_version = str(self._stats["version"])
        yield ok(f"the core runs (pid {self._stats['pid']}, up {duration(self._stats['uptime_s'])})")
        yield from self._core_findings(plugins)

    def _core_findings(self, plugins: list[dict[str, Any]]) -> Iterator[Finding]:
        if self.pid is None:
            yield warning(
                "its process is not visible here: another PID namespace, such as a container's",
                "limits and capabilities below are those of this command",
                "run this inside",
            )
        if self._stats.get("restart_refused"):
            yield warning(
                f"a restart was refused: {self._stats['restart_refused']}",
                "the core still runs its old code and settings",
                "correct it, then reed restart",
            )
        there, here = str(self._stats["data_dir"]), str(self.config.data_dir)
        if there != here:
            yield warning(
                f"the core's data folder is {there}, that of these settings {here}",
                "the core was started with other settings; its folder is checked below",
                "run this in the folder of the site, with the options of reed start",
            )
        for plugin in plugins:
            if plugin["state"] in {"failed", "backoff"}:
                self._reasons.add(plugin.get("reason") or "")
                yield Finding(
                    "error" if plugin["state"] == "failed" else "warning",
                    f"plugin {plugin['name']} is {plugin['state']}: {plugin.get('reason') or 'no reason'}",
                    "its actions, filters and events do not work",
                    f"reed plugin logs {plugin['name']}",
                )
            for schedule in plugin.get("schedules", ()):
                if schedule["last_error"]:
                    yield warning(
                        f"the schedule {schedule['name']} of {plugin['name']} failed: {schedule['last_error']}",
                        "its last run did nothing, or only a part",
                        f"reed plugin run-schedule {plugin['name']} {schedule['name']}",
                    )

    @property
    def _data_dir(self) -> Path:
        return Path(self._stats["data_dir"]) if self._stats else self.config.data_dir

    # Folders.

    def folders(self) -> Iterator[Finding]:
        user = os.stat(f"/proc/{self.pid}").st_uid if self.pid else os.geteuid()
        runtime = runtime_dir(self._args)
        runtime = used_folder(runtime) if user else runtime
        for name, path, is_private in (("runtime folder", Path(runtime), True), ("data folder", self._data_dir, False)):
            yield from check_folder(name, path, user, is_private=is_private)
        yield from check_file_system(self._data_dir, is_sqlite=self.config.store.kind == "sqlite")
        meanings = dict.fromkeys(self.config.plugin_dirs, "anybody can change the code of plugins")
        meanings[self.config.registry] = "anybody can give a plugin permissions"
        for path, meaning in meanings.items():
            if path.exists() and os.stat(path).st_mode & stat.S_IWOTH:
                yield error(f"{path} is writable by everybody", meaning, f"chmod o-w {path}")

    # The store.

    def store(self) -> Iterator[Finding]:
        if self.config.store.kind == "postgres":
            yield from _postgres(self.config)
            return
        from reed.store.sqlite.inspect import inspect

        found = inspect(os.fspath(self._data_dir))
        if found is None:
            yield ok(f"{self._data_dir} has no content yet")
            return
        if found.is_log_unread:
            yield warning(
                f"{found.path} was left by a core that was killed, and has {size(found.size + found.log_size)}",
                "its log is read by the next start; it was not checked now, which would write into it",
                "reed start, then reed doctor",
            )
            return
        if not found.is_ours:
            yield error(
                f"{found.path} is a database of another program",
                "the core does not start",
                "use another data folder (--data-dir)",
            )
            return
        if found.problems:
            yield error(
                f"{found.path} is damaged: {'; '.join(found.problems)}",
                "some content cannot be read or written",
                "restore a backup, or save what is left: reed export FILE",
            )
        else:
            yield ok(f"{found.path} is sound: {plural(found.snippets, 'snippet')}, {size(found.size)}")
        if found.schema > found.schema_known:
            yield error(
                f"its tables have version {found.schema}; this reed knows {found.schema_known}",
                "it was written by a newer reed",
                "upgrade reed-cms",
            )
        else:
            older = f"; the next start makes version {found.schema_known} of it"
            yield ok(f"tables of version {found.schema}{older if found.schema < found.schema_known else ''}")
        if found.log_size > _LONG_LOG:
            yield warning(
                f"{found.path}-wal has {size(found.log_size)}",
                "a long read of another program, or a slow disk, holds it back",
                "end that program; the log is used again from its beginning then",
            )
        else:
            yield ok(f"log {size(found.log_size)}")

    # The registry.

    def registry(self) -> Iterator[Finding]:
        from reed.supervision import registry_csv
        from reed.supervision.launch_spec import specify
        from reed.supervision.manifest import FILE_NAME, Manifests
        from reed.supervision.schedule import problems

        config, manifests = self.config, Manifests()
        if not config.registry.exists():
            level: Level = "warning" if self._stats else "error"  # a running core has another one
            yield Finding(level, f"{config.registry} does not exist", "no core starts with these settings", "reed init")
            return
        try:
            rows = registry_csv.load(config.registry, config.runtime_dir)
        except ReedError as caught:
            yield error(str(caught), "the core does not start, and a reload is refused", "correct the row")
            return
        yield ok(f"{config.registry}: {plural(len(rows), 'row')}")
        for row in rows:
            try:
                for problem in problems(specify(row, config, manifests).schedules):
                    yield warning(
                        f"line {row.line}: {row.plugin_name}: {problem}",
                        "its action is called by hand only",
                        "install the library, or change the rule of the schedule",
                    )
            except ManifestError as caught:
                if str(caught) in self._reasons:  # it is a finding about the core
                    continue
                yield Finding(
                    "error" if row.auto_start else "warning",
                    f"line {row.line}: {caught}",
                    f"the plugin {row.plugin_name} cannot be started",
                    "correct it, or remove the row",
                )
        names = {row.plugin_name for row in rows}
        for folder in config.plugin_dirs[:-1]:  # all bundled plugins have no row
            for path in sorted(folder.glob(f"*/{FILE_NAME}")):
                if path.parent.name not in names:
                    yield warning(
                        f"{path.parent} has no row in the registry",
                        "it cannot be started",
                        "add a row, or remove the folder",
                    )
        for name in sorted(set(config.plugins) - names):
            yield warning(
                f"plugins.{name} in the settings has no row in the registry",
                "its settings have no effect",
                "correct the name, or add a row",
            )


def _postgres(config: Config) -> Iterator[Finding]:
    from reed.store.factory import check_driver

    check_driver(config.store)
    from reed.store.postgres.side import status

    found = status(config.store)
    yield ok(f"PostgreSQL {found['server']} answers, host {found['host']}, database {found['database']}")
    yield ok(f"{plural(found['snippets'], 'snippet')}, {plural(len(found['cores']), 'core')}")
    if found["schema"] > found["schema_known"]:
        yield warning(
            f"its tables have version {found['schema']}; this reed knows {found['schema_known']}",
            "newer cores use them too",
            "upgrade reed-cms",
        )
    elif found["schema"] < found["schema_known"]:
        yield warning(
            f"its tables have version {found['schema']}; this reed has {found['schema_known']}",
            "a core migrates them at its start, if its role may",
            "reed store migrate",
        )
    else:
        yield ok(f"tables of version {found['schema']}")
