"""`reed plugin dev FOLDER`: reloads a plugin and runs its tests whenever one of its files changes.

    round:   manifest ── build ── reload in a core ── own tests ── summary ──▶ wait
    wait:    the plugin's log is shown; a changed file begins the next round; Ctrl-C ends

An error ends its round, not the command. If the build fails, the plugin that runs is kept.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from reed.cli.author.checks import FAILED, OK, Check
from reed.cli.author.dev_core import DevCore
from reed.cli.author.project import folder_of, load_manifest, project
from reed.cli.author.report import CheckReport
from reed.cli.options import config
from reed.cli.output import Output, paint, short_path
from reed.cli.parse import Args
from reed.config import Config
from reed.errors import ReedError
from reed.figures import plural
from reed.followed_log import lines
from reed.plugin_types import type_of
from reed.supervision.manifest import FILE_NAME, Manifest
from reed.text import safe_lines

_INTERVAL = 0.2  # seconds between two looks at the files
_IGNORED_FOLDERS = {"target", "__pycache__", "node_modules"}
_IGNORED_ENDINGS = ("~", ".swp", ".swx", ".tmp", ".pyc")
_CLEAR = "\x1b[H\x1b[2J\x1b[3J"
_NAMED_CHANGES = 3


def dev(args: Args, output: Output) -> int:
    """With --once the exit code is 1 if the round failed; else 0, after Ctrl-C."""
    site = config(args)
    folder = folder_of(args.arg("FOLDER"), site)
    with closing(DevCore(site, folder)) as core:
        try:
            return _rounds(PluginRound(folder, site, core, output), output, once=args.has("--once"))
        except KeyboardInterrupt:
            output.info("")
            return 0


def _rounds(plugin: PluginRound, output: Output, *, once: bool) -> int:
    watch = FileWatch(plugin.folder)
    changed: list[str] = []
    while True:
        if output.is_interactive:
            output.stream.write(_CLEAR)
        code = plugin.run(changed)
        if once:
            return code
        output.info(f"\nwaiting for changes in {short_path(plugin.folder)}; Ctrl-C ends")
        changed = _wait(watch, plugin.log, output)


def _wait(watch: FileWatch, log: Path | None, output: Output) -> list[str]:
    """Show what the plugin logs until a file changes; the changed paths."""
    output.stream.flush()
    new_lines = _log_lines(log)
    while True:
        if changed := watch.changes():
            return changed
        if output.is_interactive:
            for line in next(new_lines):
                output.stream.write(f"{paint(output.stream, safe_lines(line), 'dim')}\n")
            output.stream.flush()
        time.sleep(_INTERVAL)


def _log_lines(log: Path | None) -> Iterator[list[str]]:
    """Yields the whole lines that were added to the log since the last time."""
    if log is None or not log.is_file():
        while True:
            yield []
    file = log.open("rb")
    file.seek(0, 2)
    found: list[str] = []
    for line in lines(file, str(log)):
        if line is None:
            yield found
            found = []
        else:
            found.append(line.decode("utf-8", "replace"))


class PluginRound:
    def __init__(self, folder: Path, site: Config, core: DevCore, output: Output) -> None:
        self.folder = folder
        self._site = site
        self._core = core
        self._output = output
        self._step = ""  # what an error belongs to
        self._about: dict[str, Any] = {}

    @property
    def log(self) -> Path | None:
        return self._core.log

    def run(self, changed: list[str]) -> int:
        """The exit code. `changed`: the paths that began this round."""
        report = CheckReport(self._output)
        if changed and self._output.is_interactive:
            more = len(changed) - _NAMED_CHANGES
            names = ", ".join(changed[:_NAMED_CHANGES]) + (f" and {plural(more, 'more file')}" if more > 0 else "")
            self._output.info(f"changed: {names}\n")
        self._about = {"plugin": self.folder.name, "version": "", "type": "", "changed": changed}
        try:
            for check in self._checks():
                report.add(check)
        except (ReedError, OSError) as error:
            report.add(Check(self._step, FAILED, str(error)))
        return report.end(self._about)

    def _checks(self) -> Iterator[Check]:
        self._step = "manifest"
        found = load_manifest(self.folder)
        kind = type_of(self.folder, found.name, found.entry)
        self._about |= {"version": found.version, "type": kind.name}
        yield Check("manifest", OK, short_path(self.folder / FILE_NAME))
        permissions = self._core.row(found).required_permissions
        under_test = project(self.folder, found, self._site, self._output.info, permissions)
        self._step = "build"
        if built := kind.build(under_test):
            check = Check("build", *built)
            yield check
            if check.result == FAILED:
                return
        yield self._reload(found)
        self._step = "tests"
        for own in kind.tests(under_test):
            yield Check(*own)

    def _reload(self, found: Manifest) -> Check:
        """The tests run even if it fails."""
        try:
            return Check("reload", OK, self._core.reload(found))
        except ReedError as error:
            return Check("reload", FAILED, str(error).removesuffix(f"; see `reed plugin logs {found.name}`"))


class FileWatch:
    """Notices changes of a folder's files by their inode, size and time: an editor may replace a file by a rename.

    A stat for each file is enough; inotify would need a library, and does not work on every file system.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known = self._snapshot()

    def changes(self) -> list[str]:
        """The paths that were added, changed or removed since the last call, once nothing changes any more."""
        found = self._snapshot()
        if found == self._known:
            return []
        while True:  # an editor, or a version control system, writes several files
            time.sleep(_INTERVAL)
            later = self._snapshot()
            if later == found:
                break
            found = later
        before, self._known = self._known, found
        return sorted(path for path in before.keys() | found.keys() if before.get(path) != found.get(path))

    def _snapshot(self) -> dict[str, tuple[int, int, int]]:
        """Inode, size and time in nanoseconds by path."""
        found: dict[str, tuple[int, int, int]] = {}
        for folder, folders, files in os.walk(self._folder):
            folders[:] = [name for name in folders if name not in _IGNORED_FOLDERS and not name.startswith(".")]
            for name in files:
                if name.startswith(".") or name.endswith(_IGNORED_ENDINGS):
                    continue
                path = os.path.join(folder, name)
                try:
                    status = os.stat(path)
                except OSError:  # removed meanwhile, or a link to nothing
                    continue
                found[os.path.relpath(path, self._folder)] = status.st_ino, status.st_size, status.st_mtime_ns
        return found
