"""A site in a folder of its own, and `reed serve` on it.

FOLDER/  reed.yaml  plugin-registry.csv  plugins/      what a site has; written only if missing, or if asked for
         run/  data/  core.log                         what the core makes
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from reed import core_process
from reed.client import Client, core_socket
from reed.core_process import STOP_TIMEOUT, CoreProcess
from reed.errors import ReedError
from reed.import_path import importing_reed
from reed.supervision.registry_csv import Row
from reed.testing.given import Content, Folder, Plugins, Types, define_and_create, rows_of
from reed.testing.rows import registry_text


@contextlib.contextmanager
def core(
    folder: Folder | None = None,
    *,
    types: Types | None = None,
    content: Content = (),
    plugins: Plugins | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Iterator[Core]:
    """A running core: it serves when the block begins, and has exited when it ends.

        with core(types={"page": {}}, content=[{"type": "page", "name": "intro", "content": {}}]) as site:
            site.client().snippet_get("intro")

    folder     of the site; without it, a temporary one
    types      definitions by name
    content    snippets: type and content, and perhaps name and parent; they are created in this order
    plugins    folders of plugins, or names of bundled ones, whose rows have the permissions that plugin.yaml asks for;
               or a mapping from these to permissions. They are started after the content is there, so they have
               neither filtered it nor got events of it
    settings   the content of reed.yaml

    Raises ReedError with the end of the core's log if the core does not start, or if within the block it is killed or
    exits with an error. An exception of the block is raised as it is, with that as a note. CallError: a type or a
    snippet was rejected, or a plugin did not start. ManifestError: there is no plugin in that folder.
    """
    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="reed-core-"))
        yield stack.enter_context(Core(folder, types=types, content=content, plugins=plugins, settings=settings))


class Core:
    """A site's folders, and its core between `start` and `stop`. As a context manager it runs for the block.

    The environment of the core is that of the caller without REED_ variables; `environ` may be changed before `start`.
    """

    def __init__(
        self,
        folder: Folder,
        *,
        runtime_dir: Folder | None = None,
        types: Types | None = None,
        content: Content = (),
        plugins: Plugins | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = Path(folder).absolute()
        self.runtime_dir = Path(runtime_dir).absolute() if runtime_dir else self.folder / "run"
        self.data_dir = self.folder / "data"
        self.registry = self.folder / "plugin-registry.csv"
        self.config = self.folder / "reed.yaml"
        self.plugins = self.folder / "plugins"
        self.plugin_dirs = [self.plugins]
        self.log = self.folder / "core.log"
        own = {name: value for name, value in os.environ.items() if not name.startswith("REED_")}
        self.environ = importing_reed(own)
        self.process: CoreProcess | None = None
        self._clients: list[Client] = []
        self._types = types or {}
        self._content = list(content)
        self._rows: list[Row] = []
        self._is_killed = False
        self.plugins.mkdir(parents=True, exist_ok=True)
        if settings is not None:
            self.config.write_text(json.dumps(settings, default=os.fspath) + "\n", encoding="utf-8")  # JSON is YAML
        if plugins is not None or not self.registry.exists():
            found = rows_of(plugins or ())
            self._rows = [row for _, row in found]
            self.plugin_dirs += dict.fromkeys(each.parent for each, _ in found)
            self._write_rows(self._rows)

    @property
    def socket(self) -> Path:
        """core.sock"""
        return Path(core_socket(self.runtime_dir))

    @property
    def pid(self) -> int:
        return self._process().pid

    def command(self, *flags: str) -> list[str]:
        """The command line of the core."""
        paths = {"runtime-dir": self.runtime_dir, "data-dir": self.data_dir, "registry": self.registry}
        if self.config.exists():
            paths["config"] = self.config
        given = [f"--{name}={path}" for name, path in paths.items()]
        return core_process.command(*given, *(f"--plugin-dir={each}" for each in self.plugin_dirs), *flags)

    def start(self, *flags: str, wrapper: Sequence[str] = ()) -> None:
        """Start the core; returns when it serves. Raises ReedError with the end of its log if it does not.

        `flags` are those of `reed serve`. `wrapper` is a command that executes the core, such as strace.
        """
        self._is_killed = False
        self.process = core_process.start(
            [*wrapper, *self.command(*flags)], log=self.log, folder=self.folder, environ=self.environ
        )

    def client(self, timeout: float | None = 60.0) -> Client:
        """A new connection to the core; it is closed with the core at the latest."""
        self._clients.append(Client(self.socket, timeout))
        return self._clients[-1]

    def stop(self, timeout: float = STOP_TIMEOUT) -> int:
        """Stop the core and its plugins, with SIGKILL after the timeout; the return code."""
        for client in self._clients:
            client.close()
        self._clients.clear()
        return self._process().stop(timeout)

    def kill(self) -> int:
        """Kill the core as a crash would, by SIGKILL; it can be started again."""
        self._is_killed = True
        return self._process().kill()

    def _process(self) -> CoreProcess:
        if self.process is None:
            raise ReedError("the core was not started")
        return self.process

    def __enter__(self) -> Core:
        is_given = bool(self._types or self._content)
        if is_given and self._rows:
            self._write_rows([])
        self.start()
        try:
            with Client(self.socket) as client:
                define_and_create(client, self._types, self._content)
                if is_given and self._rows:
                    self._write_rows(self._rows)
                    client.plugin_reload()
                for row in self._rows:
                    client.plugin_start(row.plugin_name)
        except BaseException:
            self.stop()
            raise
        return self

    def _write_rows(self, rows: Iterable[Row]) -> None:
        self.registry.write_text(registry_text(rows), encoding="utf-8")

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self.stop() == 0 or self._is_killed:
            return
        failure = self._process().exit_error()
        if error is None:
            raise failure
        error.add_note(str(failure))
