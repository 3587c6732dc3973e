"""Several real cores on one database, each with folders of its own.

cores = Cores(tmp_path)
core = cores.add(conninfo, …)          a Site (tests/conftest.py), which runs, with these settings
cores.plugin("hear", code, manifest)   a Lua plugin, for the cores that are added afterwards; gives its row
freeze(core) thaw(core)                SIGSTOP and SIGCONT of the core's process, not of its plugins
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any, ClassVar

from reed import errors
from reed.client import Client
from tests.bare_plugin import HEAD
from tests.conftest import Site
from tests.faults.conftest import PLUGIN
from tests.postgres.cluster import wait_until

StoreUnavailable: type[errors.CallError] = getattr(errors, "StoreUnavailable", errors.CallError)
OutcomeUnknown: type[errors.CallError] = getattr(errors, "OutcomeUnknown", errors.CallError)

MAIN = """
local reed = require "reed"
local plugin = reed.create_plugin{{name = "{name}", version = "1.0.0"}}
{code}
plugin.run()
"""


def _row(name: str, kind: str) -> str:
    return f'{name},{kind},{{}},1.0.0,"snippet_read,snippet_write,file_write","admin",true,"a test"'


def freeze(core: Site) -> None:
    assert core.process is not None
    os.kill(core.process.pid, signal.SIGSTOP)


def thaw(core: Site) -> None:
    assert core.process is not None
    os.kill(core.process.pid, signal.SIGCONT)


class Cores:
    """See the module."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lua: list[tuple[str, str, str]] = []
        self._native: list[tuple[str, str, str]] = []
        self._rows: list[str] = []
        self._clients: list[Client] = []
        self.all: list[Site] = []

    def lua(self, name: str, code: str, manifest: str) -> None:
        self._lua.append((name, MAIN.format(name=name, code=code), manifest))
        self._rows.append(_row(name, "lua"))

    def native(self, name: str, code: str, manifest: str) -> None:
        self._native.append((name, f"#!{sys.executable} -IS\n{HEAD}\n{PLUGIN}\n{code}\n", manifest))
        self._rows.append(_row(name, "native"))

    def add(self, conninfo: str, *, start: bool = True, plugins: bool = True, **settings: Any) -> Site:
        """`plugins=False`: without those that others have."""
        core = Site(self.root / f"core{len(self.all) + 1}")
        core.config.write_text(json.dumps({"store": f"postgres:{conninfo}", **settings}) + "\n")
        if plugins:
            for each in self._lua:
                core.add_lua_plugin(*each)
            for name, code, manifest in self._native:
                folder = core.root / "plugins" / name
                folder.mkdir()
                (folder / "plugin.yaml").write_text(f"name: {name}\nversion: 1.0.0\n{manifest}")
                (folder / name).write_text(code)
                (folder / name).chmod(0o755)
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
                core.process.wait(timeout=75)  # a COMMIT in doubt is waited for

    def no_tracebacks(self) -> None:
        for core in self.all:
            core.no_tracebacks()


LISTENER = """
FOLDER = os.path.dirname(os.path.realpath(__file__))
CORE = os.path.basename(os.path.dirname(os.path.dirname(FOLDER)))
SHARED = os.path.dirname(os.path.dirname(os.path.dirname(FOLDER)))
def do(event):
    begin = time.monotonic_ns()
    while os.path.exists(os.path.join(SHARED, "hold-" + CORE)):
        time.sleep(0.005)
    line = json.dumps({"core": CORE, "begin": begin, "end": time.monotonic_ns(), **event}) + "\\n"
    with open(os.path.join(SHARED, "heard"), "a") as file:
        file.write(line)
    return {}
main(do)
"""


class Listener:
    """A plugin of several cores that notes each event in one file, with the core and the times at which it began and
    ended. It is native, without a sandbox: the cores need the setting sandbox: off (`SETTINGS`)."""

    SETTINGS: ClassVar[dict[str, Any]] = {"sandbox": "off"}

    def __init__(
        self, cores: Cores, name: str = "hear", kinds: Collection[str] = ("created", "updated", "deleted")
    ) -> None:
        """Before the cores are added."""
        self._root = cores.root
        events = ", ".join(f"snippet.{kind}: do" for kind in kinds)
        manifest = f"actions: {{do: {{command_id: 1, timeout: 30s}}}}\nevents: {{{events}}}\n"
        cores.native(name, LISTENER, manifest)

    def hold(self, core: Site) -> None:
        """The plugin of this core does not answer until `release`."""
        self._held(core).touch()

    def release(self, core: Site) -> None:
        self._held(core).unlink(missing_ok=True)

    def _held(self, core: Site) -> Path:
        return self._root / f"hold-{core.root.name}"

    @property
    def heard(self) -> list[dict[str, Any]]:
        """In the order in which they were answered."""
        path = self._root / "heard"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def wait_for(self, ids: Collection[str], timeout: float = 60) -> None:
        """Until an event was heard of each of these snippets."""
        wait_until(lambda: set(ids) <= {each["snippet_id"] for each in self.heard}, f"{len(ids)} events", timeout)

    def check_order(self, *, repeats: bool = False) -> None:
        """One at a time, in the order of their ids. `repeats`: a core ended, and what it had begun came again."""
        last, ended = 0, 0
        for each in self.heard:
            assert repeats or each["id"] > last, f"{each} after {last}"
            assert repeats or each["begin"] >= ended, f"{each} began before the one before it had ended"
            last, ended = max(last, each["id"]), max(ended, each["end"])
        if repeats:  # what was heard for the first time came in order
            seen: set[int] = set()
            first = [each["id"] for each in self.heard if not (each["id"] in seen or seen.add(each["id"]))]
            assert first == sorted(first)
