"""Several real cores on one database, each with folders of its own.

cores = Cores(tmp_path)
core = cores.add(conninfo, row, …)     a Site (tests/conftest.py), which runs; `start=False`: it does not yet
cores.plugin("hear", code, manifest)   a Lua plugin, for the cores that are added afterwards; gives its row
freeze(core) thaw(core)                SIGSTOP and SIGCONT of the core's process, not of its plugins
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from pathlib import Path
from typing import Any

from reed.client import Client
from tests.conftest import Site

MAIN = """
local reed = require "reed"
local plugin = reed.create_plugin{{name = "{name}", version = "1.0.0"}}
{code}
plugin.run()
"""


def freeze(core: Site) -> None:
    assert core.process is not None
    os.kill(core.process.pid, signal.SIGSTOP)


def thaw(core: Site) -> None:
    assert core.process is not None
    os.kill(core.process.pid, signal.SIGCONT)


class Cores:
    """See the module."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._plugins: list[tuple[str, str, str]] = []
        self._rows: list[str] = []
        self._clients: list[Client] = []
        self.all: list[Site] = []

    def plugin(self, name: str, code: str, manifest: str, permissions: str = "snippet_read,snippet_write") -> None:
        self._plugins.append((name, MAIN.format(name=name, code=code), manifest))
        self._rows.append(f'{name},lua,{{}},1.0.0,"{permissions},file_write","admin",true,"a test"')

    def add(self, conninfo: str, *, start: bool = True, **settings: Any) -> Site:
        core = Site(self._root / f"core{len(self.all) + 1}")
        core.config.write_text(json.dumps({"store": f"postgres:{conninfo}", **settings}) + "\n")
        for plugin in self._plugins:
            core.add_lua_plugin(*plugin)
        core.set_rows(*self._rows)
        self.all.append(core)
        if start:
            core.start()
        return core

    def client(self, core: Site, timeout: float = 60) -> Client:
        """Closed at the end."""
        self._clients.append(Client(core.socket_path, timeout=timeout))
        return self._clients[-1]

    def close(self) -> None:
        for client in self._clients:
            client.close()
        for core in self.all:
            if core.process is None:
                continue
            with contextlib.suppress(ProcessLookupError):
                os.kill(core.process.pid, signal.SIGCONT)
                core.process.send_signal(signal.SIGTERM)
        for core in self.all:
            if core.process is not None:
                core.process.wait(timeout=30)

    def no_tracebacks(self) -> None:
        for core in self.all:
            core.no_tracebacks()
