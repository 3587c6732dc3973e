"""Two plugins, writer and reader, each in Lua or Rust, that exchange numbered messages."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from reed.client import Client
from reed.wire.codes import Signal
from tests.waiting import until

LUA = """
local reed = require "reed"
while true do -- in the state starting
  local hold = io.open("hold")
  if not hold then break end
  hold:close()
end
local function touch(name) assert(io.open(name, "w")):close() end
local function pass_the_gate()
  local gate = io.open("gate")
  if gate then touch("at-gate") end
  while gate do
    gate:close()
    gate = io.open("gate")
  end
end
local plugin = reed.create_plugin { name = "%s", version = "1.0.0" }
plugin.action("post", function(input)
  pass_the_gate()
  input = json.decode(input)
  local padding = ("x"):rep(input.padding or 0)
  local answer = { sent = input.to - input.from + 1 }
  for number = input.from, input.to do
    local ok, failure = pcall(plugin.send_plugin_message, reed.settings.target, 1, { number, padding })
    if not ok then
      answer = { sent = number - input.from, status = failure.status }
      break
    end
  end
  local file <close> = assert(io.open("posted", "w"))
  assert(file:write(json.encode(answer)))
  return answer
end)
plugin.action("ask", function(input) return json.encode(plugin.request(reed.settings.target, 2, input, 10)) end)
plugin.action("say", function(input)
  plugin.send_signal(input == '"busy"' and reed.signals.BUSY or reed.signals.SLEEPING)
  return "null"
end)
plugin.register_message_handler(1, function(payload)
  pass_the_gate()
  local file <close> = assert(io.open("got", "a"))
  assert(file:write(json.decode(payload)[1] .. "\\n"))
end)
plugin.register_message_handler(2, function(payload) return json.decode(payload) * 2 end)
plugin.run()
"""
MANIFEST = """
actions:
  post: {command_id: 1, timeout: 60s}
  ask: {command_id: 2, timeout: 30s}
  say: {command_id: 3}
limits: {cpu: 60s}
settings: {target: %s}
"""
CONFIG = "timing: {restart_limit: 1000, restart_window: 100ms, start_deadline: 30s, stop_grace: 30s}\n"


class Pair:
    """The plugins `writer` and `reader` of one core."""

    def __init__(self, site) -> None:
        self.site = site
        self.core = Client(site.socket_path)

    def call(self, name: str, action: str, payload: object = None):
        return json.loads(bytes(self.core.plugin_send(name, action, payload).body))

    def post(self, first: int, last: int) -> None:
        """Have the writer send these numbers."""
        assert self.call("writer", "post", {"from": first, "to": last}) == {"sent": last - first + 1}

    def figures(self, name: str) -> dict:
        return self.core.plugin_health(name)[0]

    def data(self, name: str) -> Path:
        return Path(self.site.data_dir) / "plugins" / name

    def got(self) -> list[int]:
        """The numbers that the reader has handled, in order."""
        path = self.data("reader") / "got"
        return [int(line) for line in path.read_text().splitlines()] if path.exists() else []

    def gets(self, expected: list[int], what: str = "") -> None:
        self.until(lambda: len(self.got()) >= len(expected), f"{what}: {len(expected)} numbers, not {self.got()[-9:]}")
        assert self.got() == expected, what

    def until(self, reached: Callable[[], bool], what: str) -> None:
        until(reached, lambda: f"{what}\n{self.site.log.read_text()[-2000:]}")

    def state(self, name: str, *wanted: str) -> None:
        self.until(lambda: self.figures(name)["state"] in wanted, f"{name} never {wanted}")

    def shut_gate(self, name: str) -> None:
        """Make the plugin's next `post`, or its handler of a number, wait."""
        (self.data(name) / "posted").unlink(missing_ok=True)
        (self.data(name) / "gate").touch()

    def at_gate(self, name: str) -> None:
        self.until((self.data(name) / "at-gate").exists, f"{name} does not come to the gate")

    def open_gate(self, name: str) -> None:
        (self.data(name) / "gate").unlink()

    def posted(self) -> dict:
        """The writer's answer to `post`, even without a core to send it to."""
        path = self.data("writer") / "posted"
        self.until(lambda: path.exists() and path.read_text().endswith("}"), "the writer is still posting")
        return json.loads(path.read_text())

    def suspend(self, name: str) -> None:
        """SIGSTOP."""
        os.kill(self.figures(name)["pid"], signal.SIGSTOP)

    def resume(self, name: str) -> None:
        os.kill(self.figures(name)["pid"], signal.SIGCONT)

    def kill(self, name: str) -> None:
        """Kill -9, and wait until the core knows."""
        pid = self.figures(name)["pid"]
        os.kill(pid, signal.SIGKILL)
        self.until(lambda: self.figures(name)["pid"] != pid, f"the end of {name} was not seen")

    def bring_to(self, name: str, state: str) -> None:
        """Bring a ready plugin to that state and, unless it has no process then, stop it there with SIGSTOP."""
        if state == "backoff":
            self.kill(name)
            return
        hold = self.data(name) / "hold"
        if state == "starting":
            hold.touch()
            self.kill(name)
            self.until(lambda: self.figures(name)["state"] == state and self.figures(name)["pid"], f"{name}: no start")
        elif state in ("busy", "sleeping"):
            self.call(name, "say", state)
            self.state(name, state)
        self.suspend(name)
        hold.unlink(missing_ok=True)
        if state == "stopping":
            self.core.plugin_signal(name, Signal.SHUTDOWN_GRACEFUL)
        assert self.figures(name)["state"] == state

    def kill_and_wait(self, name: str, state: str) -> None:
        """Kill -9 in that state, and wait until the next process is ready."""
        if state != "backoff":
            self.kill(name)
        if state == "stopping":
            self.core.plugin_start(name)
        self.state(name, "ready")


@pytest.fixture(scope="session")
def numbers(plugin_build) -> Path:
    """The Rust plugin of these tests, built once."""
    return plugin_build(Path(__file__).parent / "numbers")


@pytest.fixture
def pair_of(site, request):
    """pair_of("lua", "rust") starts a writer in Lua and a reader in Rust; `reader` is added to its manifest."""
    made: list[Pair] = []

    def make(*languages: str, reader: str = "") -> Pair:
        rows = []
        for name, other, language in zip(("writer", "reader"), ("reader", "writer"), languages, strict=True):
            kind = "lua" if language == "lua" else "native"
            rows.append(f'{name},{kind},{{}},1.0.0,"file_write","admin",true,{name}')
            more = reader if name == "reader" else ""
            folder = site.add_lua_plugin(name, LUA % name, MANIFEST % other + more)
            if language == "rust":
                (folder / "main.lua").unlink()
                shutil.copy2(request.getfixturevalue("numbers"), folder / name)
        site.set_rows(*rows)
        site.config.write_text(CONFIG)
        site.start()
        pair = Pair(site)
        made.append(pair)
        for name in ("writer", "reader"):
            pair.state(name, "ready", "sleeping")
        return pair

    yield make
    for pair in made:
        pair.core.close()
        site.no_tracebacks()
