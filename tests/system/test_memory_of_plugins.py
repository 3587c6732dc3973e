"""Private memory of small plugins, through a reload, a crash, a restart, and the death of the zygote."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from reed.client import Client
from tests.waiting import until

MB = 1024 * 1024
MOST = (1.8 if sys.version_info >= (3, 12) else 3.2) * MB  # measured: 1.0 and 2.4
LUA = """
local reed = require "reed"
local plugin = reed.create_plugin{{ name = "small", version = "1.0.0" }}
plugin.action("say", function() return "{word} " .. _VERSION end)
plugin.run()
"""
PYTHON = """
from reed.plugin import plugin

@plugin.action("say")
def say(payload, decoded):
    return "Python"
"""
ACTIONS = "actions:\n  say: {command_id: 1}\n"
ROWS = (
    'small,lua,{},1.0.0,"","admin",true,x',
    'older,lua,{},1.0.0,"","admin",true,x',
    'python,python,{},1.0.0,"","admin",true,x',
)


def private_memory(pid: int) -> int:
    """Bytes."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return 1024 * sum(int(size) for size in re.findall(r"^Private_\w+: +(\d+) kB$", rollup, re.MULTILINE))


def zygotes(core: int) -> list[int]:
    found = []
    for pid in Path(f"/proc/{core}/task/{core}/children").read_text().split():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended since
            is_leader = os.getsid(int(pid)) == int(pid)  # not a spare that has not set its name yet
            if is_leader and Path(f"/proc/{pid}/comm").read_text() == "reed:zygote\n":
                found.append(int(pid))
    return found


def pid_of(client: Client, name: str) -> int:
    """0: it has no process."""
    return int(client.plugin_health(name)[0]["pid"] or 0)


def say(client: Client, name: str) -> str:
    return client.plugin_send(name, "say").body.decode()


@pytest.fixture
def client(site):
    """A core with a plugin in Lua 5.5, which the zygote has prepared, one in Lua 5.4, and one in Python."""
    site.add_lua_plugin("small", LUA.format(word="one"), ACTIONS)
    site.add_lua_plugin("older", LUA.format(word="older").replace('"small"', '"older"'), f"lua: '5.4'\n{ACTIONS}")
    folder = site.add_lua_plugin("python", "", ACTIONS)
    (folder / "main.lua").unlink()
    (folder / "main.py").write_text(PYTHON)
    site.set_rows(*ROWS)
    site.start()
    with Client(site.socket_path) as client:
        yield client


def test_the_private_memory_of_a_small_plugin(site, client) -> None:
    def holds_little() -> None:
        for _ in range(50):
            assert say(client, "small") == "one Lua 5.5"
        assert private_memory(pid_of(client, "small")) < MOST

    holds_little()
    (zygote,) = zygotes(site.pid)
    os.kill(zygote, signal.SIGKILL)
    client.plugin_stop("small")
    client.plugin_start("small")
    holds_little()
    assert zygotes(site.pid) != [zygote]


def test_plugins_go_on_working_through_everything_that_makes_a_process(site, client) -> None:
    def all_answer(word: str) -> None:
        assert [say(client, name) for name in ("small", "older", "python")] == [
            f"{word} Lua 5.5",
            "older Lua 5.4",
            "Python",
        ]

    all_answer("one")
    site.add_lua_plugin("small", LUA.format(word="two"), ACTIONS)
    client.plugin_reload()
    all_answer("two")
    crashed = [pid_of(client, name) for name in ("small", "older", "python")]
    for pid in crashed:
        os.kill(pid, signal.SIGKILL)
    until(lambda: not {pid_of(client, name) for name in ("small", "older", "python")} & {*crashed, 0})
    all_answer("two")
    os.kill(zygotes(site.pid)[0], signal.SIGKILL)
    for name in ("small", "older", "python"):
        client.plugin_stop(name)
        client.plugin_start(name)
    all_answer("two")
    site.no_tracebacks()
