"""The nursery: a process that has everything a Lua plugin needs in memory, and forks (DESIGN.md, Lua).

    core ── {"ticket", "spec"} + output fd ──> nursery ── fork ── fork ──> the plugin, a child of the core
    core <── {"ticket", "pid" or "error"} ─────┘           └── exits: the core, a child subreaper, becomes the parent

It was started before the core opened anything, and its heap is frozen: a plugin costs the pages that it changes. It ends when
the core's end of the socket closes. A runtime of Lua 5.4 is made when the first plugin asks for it.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
import traceback
from typing import NoReturn

from reed.errors import ReedError
from reed.lua.confine import Confinement
from reed.lua.host import Host
from reed.lua.launch import LaunchSpec
from reed.lua.sandbox import Sandbox
from reed.wire import strict_json

MAX_REQUEST = 131072  # bytes of one launch request


def main() -> None:
    """Serves launch requests on stdin, a SOCK_SEQPACKET socket, until the core's end closes."""
    with socket.socket(fileno=0) as core:
        nursery = NurseryProcess()
        while True:
            message, descriptors, _, _ = socket.recv_fds(core, MAX_REQUEST, 1)
            if not message:
                return
            core.send(strict_json.dumps(nursery.answer(message, descriptors)))


class NurseryProcess:
    """The runtimes that are ready, one of each version of Lua."""

    def __init__(self) -> None:
        self._confinement = Confinement()
        self._ready: dict[str, Sandbox] = {}
        self._make("5.5")

    def answer(self, message: bytes, descriptors: list[int]) -> dict[str, object]:
        """Launches the plugin of one request."""
        request = strict_json.load_object(message)
        ticket = request["ticket"]
        try:
            spec = LaunchSpec.of(request["spec"])
            if spec.lua not in self._ready:
                self._make(spec.lua)
            return {"ticket": ticket, "pid": self._launch(spec, descriptors[0])}
        except (OSError, KeyError, IndexError, ReedError) as error:
            return {"ticket": ticket, "error": f"could not fork: {error}"}
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _make(self, lua: str) -> None:
        self._ready[lua] = Sandbox(lua)
        gc.collect()
        gc.freeze()

    def _launch(self, spec: LaunchSpec, output: int) -> int:
        """The pid of the plugin's process."""
        reading, writing = os.pipe()
        middle = os.fork()
        if middle == 0:
            self._in_the_middle(spec, output, writing)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            answer = pipe.read()
        os.waitpid(middle, 0)
        if not answer:
            raise OSError("no process could be made")
        return int(answer)

    def _in_the_middle(self, spec: LaunchSpec, output: int, writing: int) -> NoReturn:
        try:
            pid = os.fork()
            if pid == 0:
                os.close(writing)  # or the nursery would wait for this process
                self._be_the_plugin(spec, output)
            os.write(writing, str(pid).encode())
        finally:
            os._exit(0)

    def _be_the_plugin(self, spec: LaunchSpec, output: int) -> NoReturn:
        try:
            self._confinement.confine(spec, output)
            Host(spec, self._ready[spec.lua]).run()
        except BaseException:  # noqa: BLE001 - whatever it is, the core reads it, and nothing of the nursery runs on
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(1)
