"""The nursery: a process that has everything a Lua plugin needs in memory, and forks (DESIGN.md, Lua).

    core ══ {"ticket", "spec"} + output fd ══> middle ── fork ──> the plugin: confined, then host.py
                                                 ↑ fork  └─ exits: the core, a child subreaper, becomes the parent
    core <═ {"ticket", "pid" | "error"} ═════ nursery

What the nursery changes after a fork becomes the plugin's alone, page by page (heap.py). So it does nearly nothing:
a request is read by the process in the middle, which then ends. The nursery was started before the core opened
anything; it ends when the core's end of the socket closes. A runtime of Lua 5.4 is made in the
plugin's own process.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import traceback
from typing import NoReturn

from reed.lua import heap
from reed.lua.confine import Confinement
from reed.lua.host import Host
from reed.lua.launch import LaunchSpec
from reed.lua.rehearsal import rehearse
from reed.lua.sandbox import Sandbox
from reed.wire import strict_json

MAX_REQUEST = 131072  # bytes of one launch request
_MAX_ANSWER = 4096
_CONTROL = socket.CMSG_SPACE(4)  # room for one descriptor


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
    """A confinement and a host with Lua 5.5, ready to be used once in each fork."""

    def __init__(self, core: socket.socket) -> None:
        self._core = core
        self._confinement = Confinement()
        rehearse()
        heap.fill_holes()
        self._host = Host(Sandbox())
        heap.freeze()
        heap.fill_holes()

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
        if not answer:
            raise RuntimeError("the process in the middle died: see above")
        self._core.send(answer)

    def _in_the_middle(self, writing: int) -> NoReturn:
        """Forks the plugin at once, for what is changed before becomes the plugin's; then tells its pid."""
        try:
            message, control, _, _ = self._core.recvmsg(MAX_REQUEST, _CONTROL)
            try:
                pid = os.fork()
            except OSError as error:
                told: dict[str, object] = {"error": f"no process could be made: {error.strerror}"}
            else:
                if pid == 0:
                    self._be_the_plugin(message, int.from_bytes(control[0][2], sys.byteorder))
                told = {"pid": pid}
            ticket, _ = LaunchSpec.unpack(message)
            os.write(writing, strict_json.dumps({"ticket": ticket, **told}))
            os._exit(0)
        except BaseException:  # noqa: BLE001 - nothing of the nursery runs on in a fork
            traceback.print_exc()
        finally:
            os._exit(1)

    def _be_the_plugin(self, message: bytes, output: int) -> NoReturn:
        try:
            _, spec = LaunchSpec.unpack(message)
            host = self._host if spec.lua == "5.5" else Host(Sandbox(spec.lua))
            self._confinement.confine(spec, output)
            host.run(spec)
        except BaseException:  # noqa: BLE001 - whatever it is, the core reads it
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(1)
