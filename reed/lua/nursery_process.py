"""The nursery: a process that has everything a Lua plugin needs in memory, and forks (DESIGN.md, Lua).

    core ══ {"ticket", "spec"} + output fd ══> middle ── fork ──> the plugin: confined, then host.py
                                                 ↑ fork  └─ exits: the core, a child subreaper, becomes the parent
    core <═ {"ticket", "pid" | "error"} ═════ nursery

What the nursery changes after a fork becomes the plugin's alone, page by page (heap.py). So it does nearly nothing: a request
is read by the process in the middle, which then ends. The nursery was started before the core opened anything; it ends
when the core's end of the socket closes. A runtime of Lua 5.4 is made when the first plugin asks for it.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import tempfile
import traceback
from typing import NoReturn

from reed.lua import heap
from reed.lua.confine import Confinement
from reed.lua.host import Host
from reed.lua.launch import LaunchSpec
from reed.lua.sandbox import Sandbox
from reed.wire import strict_json

MAX_REQUEST = 131072  # bytes of one launch request
_MAX_ANSWER = 4096
_LUA_5_4 = b'"lua":"5.4"'  # in a request, which nursery.py packs without spaces
_MAKE_5_4 = b"5.4"  # the answer of a middle process that finds no runtime for its plugin

_NOWHERE = {"socket_path": "", "runtime_dir": "", "actions": {"try": 1}}
_REHEARSAL = """
local plugin = require("reed").create_plugin {}
plugin.action("try", function(payload) return json.decode(payload) end)
plugin.run()
"""


def main() -> None:
    """Serves launch requests on stdin, a SOCK_SEQPACKET socket, until the core's end closes."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.umask(0o077)
    os.chdir("/")
    gc.disable()
    with socket.socket(fileno=0) as core:
        nursery = NurseryProcess(core)
        while core.recv(1, socket.MSG_PEEK):
            nursery.launch()


class NurseryProcess:
    """The runtimes that are ready, one of each version of Lua."""

    def __init__(self, core: socket.socket) -> None:
        self._core = core
        self._confinement = Confinement()
        self._ready: dict[str, Sandbox] = {}
        _rehearse()
        self._make("5.5")

    def launch(self) -> None:
        """Launches the plugin of the request that waits in the socket, and answers it."""
        reading, writing = os.pipe()
        middle = os.fork()
        if middle == 0:
            self._in_the_middle(writing)
        os.close(writing)
        answer = os.read(reading, _MAX_ANSWER)
        os.close(reading)
        os.waitpid(middle, 0)  # from here on the core is the parent
        if answer == _MAKE_5_4:
            self._make("5.4")
        elif answer:
            self._core.send(answer)
        else:
            raise RuntimeError("the process in the middle died: see above")

    def _make(self, lua: str) -> None:
        heap.fill_holes()
        self._ready[lua] = Sandbox(lua)
        heap.freeze()
        heap.fill_holes()

    def _in_the_middle(self, writing: int) -> NoReturn:
        """Forks the plugin at once, for what is changed before becomes the plugin's; then tells its pid."""
        try:
            if "5.4" not in self._ready and _LUA_5_4 in self._core.recv(MAX_REQUEST, socket.MSG_PEEK):
                os.write(writing, _MAKE_5_4)
                os._exit(0)
            message, descriptors, _, _ = socket.recv_fds(self._core, MAX_REQUEST, 1)
            try:
                pid = os.fork()
            except OSError as error:
                told: dict[str, object] = {"error": f"no process could be made: {error.strerror}"}
            else:
                if pid == 0:
                    self._be_the_plugin(message, descriptors[0])
                told = {"pid": pid}
            ticket = strict_json.load_object(message)["ticket"]
            os.write(writing, strict_json.dumps({"ticket": ticket, **told}))
            os._exit(0)
        except BaseException:  # noqa: BLE001 - nothing of the nursery runs on in a fork
            traceback.print_exc()
        finally:
            os._exit(1)

    def _be_the_plugin(self, message: bytes, output: int) -> NoReturn:
        try:
            spec = LaunchSpec.of(strict_json.load_object(message)["spec"])
            self._confinement.confine(spec, output)
            Host(spec, self._ready[spec.lua]).run()
        except BaseException:  # noqa: BLE001 - whatever it is, the core reads it
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(1)


def _rehearse() -> None:
    """The life of a small plugin, so that a real one finds its code in use (heap.py)."""
    with tempfile.TemporaryDirectory() as folder:
        entry = os.path.join(folder, "main.lua")
        with open(entry, "w", encoding="utf-8") as file:
            file.write(_REHEARSAL)
        spec = LaunchSpec.of({"name": "rehearsal", "version": "0.0.0", "folder": folder, "entry": entry, **_NOWHERE})
        for _ in range(2):
            Host(spec, Sandbox()).rehearse()
