"""Programs that embed a core, each in a process of its own, and what they leave behind."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reed.config import Config
from reed.import_path import importing_reed
from reed.process_handle import start_time
from reed.testing.rows import registry_text, row_of
from tests.waiting import until

DEADLINE = 30.0  # seconds
ECHO = """
local reed = require "reed"
local plugin = reed.create_plugin { name = "echo", version = "1.0.0" }
plugin.action("echo", function(text) return text end)
plugin.run()
"""
MANIFEST = "name: echo\nversion: 1.0.0\nactions:\n  echo: {command_id: 1, input: bytes}\n"
PREAMBLE = """
import os, signal, sys, threading, time
from pathlib import Path
from reed.client import Client
from reed.config import Config
from reed.daemon import Daemon

def config(name="site"):
    folder = Path.cwd() / name
    return Config(folder / "run", folder / "data", registry=folder / "rows.csv", plugin_dirs=(folder / "plugins",))

def start_plugin(core):
    with Client(core.socket) as client:
        client.plugin_start("echo")
        assert bytes(client.plugin_send("echo", "echo", b"hello").body) == b"hello"
        return client.plugin_list()[0]["pid"]

def children():
    found = []
    while len(found) < 3:  # the plugin, the zygote, and its next spare
        found = [path.name for path in Path("/proc").glob("[0-9]*") if is_ours(path)]
    return found

def is_ours(path):
    try:
        return (path / "stat").read_text().rpartition(")")[2].split()[1] == str(os.getpid())
    except OSError:
        return False

def say(*words):
    print(*words, flush=True)
"""


def write_site(folder: Path) -> Config:
    """A site with the plugin echo."""
    plugin = folder / "plugins" / "echo"
    plugin.mkdir(parents=True)
    (plugin / "main.lua").write_text(ECHO)
    (plugin / "plugin.yaml").write_text(MANIFEST)
    (folder / "rows.csv").write_text(registry_text([row_of(plugin)]))
    return Config(
        folder / "run", folder / "data", registry=folder / "rows.csv", plugin_dirs=(folder / "plugins",), workers=1
    )


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return write_site(tmp_path / "site")


class Program:
    """A program below the preamble, in the folder of the test. It prints words, which the test waits for."""

    def __init__(self, folder: Path, code: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PREAMBLE + textwrap.dedent(code)],
            cwd=folder,
            env=importing_reed(os.environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def words(self) -> list[str]:
        """The next line; fails with what the program wrote to stderr."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate(timeout=DEADLINE)[1]
        return line.split()

    def end(self) -> tuple[int, str]:
        """Exit status and stderr."""
        _, err = self.process.communicate(timeout=DEADLINE)
        return self.process.returncode, err


@pytest.fixture
def program(config: Config, tmp_path: Path) -> Iterator[Callable[[str], Program]]:
    started: list[Program] = []

    def start(code: str) -> Program:
        started.append(Program(tmp_path, code))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
        each.process.communicate()


def wait_until_gone(*pids: int) -> None:
    for pid in pids:
        until(lambda pid=pid: start_time(pid) is None or is_zombie(pid), f"process {pid} still runs")


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] == "Z"
    except OSError:
        return True
