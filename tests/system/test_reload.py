"""Reload without loss: new code under load for plugins in Lua, Rust and without an SDK, and invalid versions."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reed.client import Client
from reed.errors import Invalid, PluginCrashed, PluginOffline
from tests import bare_plugin
from tests.waiting import until

ROUNDS = 20
LUA = """
local reed = require "reed"
local plugin = reed.create_plugin{{ name = "counter", version = "1.0.0" }}
plugin.action("number", function() return "{number}" end)
plugin.run()
"""
MANIFEST = "actions:\n  number: {command_id: 1}\n"

NATIVE = """
register(number=1)
while True:
    command, flags, payload = receive()
    if command == 1:
        answer(1, b"{number}")
    elif payload[0] == 0x10:
        break
    else:
        ready()
"""


def number_of(client: Client, _before: int) -> int:
    answer = client.plugin_send("counter", "number")
    assert answer.status == 200, answer
    return int(answer.body)


def write_lua(folder: Path, number: int) -> None:
    (folder / "main.lua").write_text(LUA.format(number=number))


def write_native(folder: Path, number: int) -> None:
    new = folder / ".counter.new"
    bare_plugin.write(new, NATIVE.format(number=number))
    new.replace(folder / "counter")


def writes_rust(program: Path) -> Callable[[Path, int], None]:
    """Replaces the executable by a copy, and the number in the file beside it."""

    def write(folder: Path, number: int) -> None:
        (folder / "number").write_text(str(number))
        new = folder / ".counter.new"
        shutil.copy2(program, new)
        new.replace(folder / "counter")

    return write


@pytest.mark.parametrize("kind", ["lua", "native", "rust"])
def test_a_reload_under_load_loses_no_call(site, under_load, kind, request) -> None:
    write = {"lua": write_lua, "native": write_native}.get(kind) or writes_rust(request.getfixturevalue("counter"))
    folder = site.add_lua_plugin("counter", LUA.format(number=0), MANIFEST)
    write(folder, 0)
    site.config.write_text(f"plugins: {{counter: {{paths: [{sys.base_prefix}]}}}}\n")
    site.set_rows(f'counter,{"lua" if kind == "lua" else "native"},{{}},1.0.0,"","admin",true,x')
    site.start()
    with Client(site.socket_path) as admin:
        admin.plugin_start("counter")
        loads = under_load(number_of)
        for number in range(1, ROUNDS + 1):
            write(folder, number)
            admin.plugin_reload()
            assert int(admin.plugin_send("counter", "number").body) == number, "calls go to the new one now"
        for load in loads:
            load.end()
        [figures] = admin.plugin_health("counter")
        assert (figures["generation"], figures["restarts"], figures["errors"]) == (ROUNDS + 1, 0, 0)
    for load in loads:
        assert not load.errors
        assert load.answers == sorted(load.answers), "an answer of an older generation came after that of a newer one"
        assert len(set(load.answers)) > ROUNDS / 2
    site.no_tracebacks()


def test_an_invalid_new_version_is_refused_and_the_old_one_keeps_running(site) -> None:
    folder = site.add_lua_plugin("counter", LUA.format(number=1), MANIFEST + "settings: {limit: 1}\n")
    site.set_rows('counter,lua,{},1.0.0,"","admin",true,x')
    site.start()
    broken = {
        "unexpected symbol": ("main.lua", "local x = = 1"),
        "acions": ("plugin.yaml", "name: counter\nversion: 1.0.0\nacions: {}\n"),
        "sets no handler for other": (
            "plugin.yaml",
            "name: counter\nversion: 1.0.0\nactions:\n  number: {command_id: 1}\n  other: {command_id: 2}\n",
        ),
        "the name is": ("plugin.yaml", "name: another\nversion: 1.0.0\n"),
        "exit status 1": ("main.lua", LUA.format(number=2).replace("plugin.run()", "error('no')")),
    }
    with Client(site.socket_path) as admin:
        admin.plugin_start("counter")
        [before] = admin.plugin_health("counter")
        for reason, (name, text) in broken.items():
            was = (folder / name).read_text()
            (folder / name).write_text(text)
            with pytest.raises(Invalid, match=reason):
                admin.plugin_reload()
            (folder / name).write_text(was)
            [now] = admin.plugin_health("counter")
            assert reason in now["reason"]
            assert (now["pid"], now["state"]) == (before["pid"], "ready")
            assert admin.plugin_send("counter", "number").body == b"1"
        refused = site.reed("plugin", "reload", "nobody")
        assert refused.returncode == 1
        assert "no plugin nobody" in refused.stderr
        assert "`reed plugin reload` reads new rows" in refused.stderr
        reloaded = site.reed("plugin", "reload", "counter")
        assert reloaded.returncode == 0, reloaded.stderr
        [now] = admin.plugin_health("counter")
        assert now["pid"] != before["pid"]
        assert now["reason"] == ""


def test_the_old_process_finishes_its_call_in_flight(site) -> None:
    """The call waits for a lock that the test holds; the new process responds meanwhile."""
    folder = site.add_lua_plugin("counter", "", MANIFEST)
    write_native(folder, 1)
    blocked = NATIVE.replace("answer(", 'open(os.environ["REED_PLUGIN_DIR"] + "/gate").read(); answer(')
    bare_plugin.write(folder / "counter", blocked.format(number=1))
    os.mkfifo(folder / "gate")
    site.config.write_text(f"plugins: {{counter: {{paths: [{sys.base_prefix}]}}}}\n")
    site.set_rows('counter,native,{},1.0.0,"","admin",true,x')
    site.start()
    with Client(site.socket_path) as admin:
        admin.plugin_start("counter")
        held: list[bytes] = []
        asker = threading.Thread(
            target=lambda: held.append(Client(site.socket_path).plugin_send("counter", "number").body)
        )
        asker.start()
        gate = os.open(folder / "gate", os.O_WRONLY)  # returns when the call is there
        write_native(folder, 2)
        admin.plugin_reload()
        assert admin.plugin_send("counter", "number").body == b"2"
        assert not held
        os.close(gate)
        asker.join(30)
        assert held == [b"1"]


def test_a_failed_call_has_the_last_lines_of_its_own_process(site) -> None:
    """The old process has the call, and the new one has written lines since."""
    folder = site.add_lua_plugin("counter", "", MANIFEST)
    talks = NATIVE.replace("while True:", 'print("I am {number}", flush=True)\nwhile True:')
    holds = talks.replace("answer(", 'open(os.environ["REED_PLUGIN_DIR"] + "/gate").read(); answer(')
    bare_plugin.write(folder / "counter", holds.format(number=1))
    os.mkfifo(folder / "gate")
    site.config.write_text(f"plugins: {{counter: {{paths: [{sys.base_prefix}]}}}}\n")
    site.set_rows('counter,native,{},1.0.0,"","admin",true,x')
    site.start()
    with Client(site.socket_path) as admin, ThreadPoolExecutor(1) as others, Client(site.socket_path) as asker:
        admin.plugin_start("counter")
        old = admin.plugin_health("counter")[0]["pid"]
        held = others.submit(asker.plugin_send, "counter", "number")
        gate = os.open(folder / "gate", os.O_WRONLY)  # returns when the call is there
        bare_plugin.write(folder / ".new", talks.format(number=2))
        (folder / ".new").replace(folder / "counter")
        admin.plugin_reload()
        until(lambda: "I am 2" in admin.plugin_health("counter")[0]["last_lines"])
        os.kill(old, signal.SIGKILL)
        with pytest.raises(PluginCrashed, match="I am 1") as caught:
            held.result(30)
        assert "I am 2" not in str(caught.value)
        os.close(gate)


SENDER = """
local reed = require "reed"
local plugin = reed.create_plugin{ name = "sender", version = "1.0.0" }
plugin.action("send", function(payload)
  local range = json.decode(payload)
  for number = range.first, range.last do
    plugin.send_plugin_message("reader", 7, { number = number, padding = string.rep("x", range.padding) })
  end
  return "null"
end)
plugin.run()
"""
READER = """
local reed = require "reed"
local plugin = reed.create_plugin{ name = "reader", version = "1.0.0" }
plugin.register_message_handler(7, function(payload) reed.log.info("got " .. json.decode(payload).number) end)
plugin.run()
"""


@pytest.mark.parametrize("padding", [10, 3000], ids=["small", "large"])
def test_messages_are_read_once_and_in_order_across_a_reload(site, padding) -> None:
    site.add_lua_plugin("sender", SENDER, "actions:\n  send: {command_id: 1}\n")
    site.add_lua_plugin("reader", READER)
    site.set_rows('sender,lua,{},1.0.0,"","admin",true,x', 'reader,lua,{},1.0.0,"","admin",true,x')
    site.start()

    def got() -> list[int]:
        lines = (site.data_dir / "logs" / "reader.log").read_text().splitlines()
        return [int(line.rpartition("got ")[2]) for line in lines if " got " in line]

    count = 600
    with Client(site.socket_path) as admin:
        admin.plugin_start("sender")
        admin.plugin_start("reader")
        sending = threading.Thread(target=_send, args=(site.socket_path, count, padding, got))
        sending.start()
        for _ in range(5):
            admin.plugin_reload("reader")
        sending.join(60)
        until(lambda: len(got()) >= count)
    assert got() == list(range(count))
    site.no_tracebacks()


def _send(socket_path: Path, count: int, padding: int, got: Callable[[], list[int]]) -> None:
    """Stays so close to the reader that the sender's queue never fills."""
    with Client(socket_path) as client:
        for first in range(0, count, 10):
            until(lambda first=first: len(got()) >= first - 100)
            asked = {"first": first, "last": first + 9, "padding": padding}
            assert client.plugin_send("sender", "send", asked).status == 200


HEARER = """
local reed = require "reed"
local plugin = reed.create_plugin { name = "hearer", version = "1.0.0" }
local heard = json.array()
plugin.register_message_handler(1, function(text, source) heard[#heard + 1] = source end)
plugin.action("heard", function() return heard end)
plugin.run()
"""
TELLER = """
local reed = require "reed"
local plugin = reed.create_plugin { name = "teller", version = "1.0.0" }
plugin.action("tell", function() return { answer = plugin.request("hearer", 1, {}, 20) or "ACK" } end)
plugin.run()
"""


def test_running_plugins_learn_of_new_plugins_at_once(site) -> None:
    """Without waiting for the next health check, at which they look for new FIFOs anyway."""
    site.config.write_text("timing: {health_interval: 1h}\n")
    site.add_lua_plugin("hearer", HEARER, "actions:\n  heard: {command_id: 1}\n")
    site.add_lua_plugin("teller", TELLER, "actions:\n  tell: {command_id: 1}\n")
    rows = [f'{name},lua,{{}},1.0.0,"","admin",true,x' for name in ("hearer", "teller")]
    site.set_rows(rows[0])
    site.start()
    with Client(site.socket_path) as admin:
        admin.plugin_start("hearer")
        site.set_rows(*rows)
        admin.plugin_reload()
        admin.plugin_start("teller")
        assert admin.plugin_send("teller", "tell").body == b'{"answer":"ACK"}'
        assert admin.plugin_send("hearer", "heard").body == b'["teller"]'


def test_a_reload_reports_each_plugin(site) -> None:
    row = '{},lua,{{}},1.0.0,"","admin",{},{}'
    for name in ("counter", "gone", "same", "late", "quiet", "typed"):
        site.add_lua_plugin(name, LUA.format(number=1).replace("counter", name), MANIFEST)
    rows = {name: row.format(name, "true", "x") for name in ("counter", "gone", "same", "typed")}
    site.set_rows(*rows.values(), row.format("quiet", "false", "x"))
    site.start()
    with Client(site.socket_path) as admin:
        for name in rows:
            admin.plugin_start(name)
        assert admin.plugin_reload_report() == [], "nothing has changed"
        write_lua(site.root / "plugins/counter", 2)
        del rows["gone"]
        rows["typed"] = rows["typed"].replace("{}", "/tmp/reed-cms/plugins/another.sock")
        rows |= {name: row.format(name, "true", "x") for name in ("late", "missing", "broken")}
        site.add_lua_plugin("broken", "error('no database')", MANIFEST)
        site.set_rows(*rows.values(), row.format("quiet", "false", "described"), row.format("idle", "false", "x"))
        site.add_lua_plugin("idle", LUA.format(number=1).replace("counter", "idle"), MANIFEST)
        report = admin.plugin_reload_report()
        assert {each["name"]: each["result"] for each in report} == {
            "gone": "removed", "counter": "renewed", "late": "started", "missing": "failed", "broken": "failed",
            "quiet": "updated", "idle": "added", "typed": "started",
        }  # fmt: skip
        reasons = {each["name"]: each["reason"] for each in report if each["reason"]}
        assert set(reasons) == {"missing", "broken"}
        assert "no folder" in reasons["missing"]
        assert "main.lua:1: no database" in reasons["broken"]
        states = {plugin["name"]: plugin["state"] for plugin in admin.plugin_list()}
        assert (states["counter"], states["late"], states["typed"]) == ("ready", "ready", "ready")
        assert int(admin.plugin_send("counter", "number").body) == 2


def test_a_refused_version_is_exit_code_1(site) -> None:
    folder = site.add_lua_plugin("counter", LUA.format(number=1), MANIFEST)
    site.set_rows('counter,lua,{},1.0.0,"","admin",true,x')
    site.start()
    with Client(site.socket_path) as admin:
        admin.plugin_start("counter")
        (folder / "main.lua").write_text(
            "local function deep() error('no database') end\nlocal function f() deep() end\nf()"
        )
        ran = site.reed("plugin", "reload")
        result, name, reason = ran.stdout.rstrip("\n").split("\t")
        assert (ran.returncode, result, name) == (1, "failed", "counter")
        assert "no database" in reason
        assert "in main chunk" not in reason, "the error, not the end of its traceback"
        assert int(admin.plugin_send("counter", "number").body) == 1
        write_lua(folder, 3)
        ran = site.reed("plugin", "reload", "counter")
        assert (ran.returncode, ran.stdout) == (0, "renewed\tcounter\t\n")
        assert int(admin.plugin_send("counter", "number").body) == 3
        (folder / "plugin.yaml").write_text("name: [")
        site.registry.write_text("nonsense\n")
        ran = site.reed("plugin", "reload")
        assert (ran.returncode, ran.stdout) == (1, "")
        assert "plugin-registry.csv:1" in ran.stderr


def test_a_reload_restarts_a_plugin_in_backoff_at_once(site) -> None:
    """Somebody may have repaired it during the backoff."""
    folder = site.add_lua_plugin("counter", "error('no database')", MANIFEST)
    site.set_rows('counter,lua,{},1.0.0,"","admin",false,x')
    site.config.write_text("timing: {restart_limit: 100, restart_window: 1h}\n")
    site.start()
    with Client(site.socket_path) as admin:
        with pytest.raises(PluginOffline):
            admin.plugin_start("counter")
        [figures] = admin.plugin_health("counter")
        assert [line.partition("main.lua")[2] for line in figures["error_lines"]] == [":1: no database"]
        write_lua(folder, 7)
        (report,) = admin.plugin_reload_report()
        assert (report["name"], report["result"]) == ("counter", "started")
        assert int(admin.plugin_send("counter", "number").body) == 7
