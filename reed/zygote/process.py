"""The zygote: a process that has everything a plugin needs in memory, and forks (process-creation.md#zygote).

    zygote ── clone ──> spare, a child of the core ── reads a request ── spawn.py ── confined ─┬─ Lua: host.py
       ^                                                                                       └─ native: executed
       └── a pipe tells that the spare was taken: the next one is made

One process is always made beforehand, so that a start does not wait for a fork, nor for the pages that it needs
(prefault.py). It reads the request with its descriptors from the core's socket itself: what the zygote did for it, it
would change pages for, and those become the plugin's alone (cow_heap.py).

The zygote was started before the core opened anything. It ends, as does the spare, when the core's end of the socket
closes. A runtime of Lua 5.4 is made in the plugin's own process.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
import time
from typing import NoReturn

from reed.lua.host import Host
from reed.lua.sandbox import LuaSandbox
from reed.lua.warmup import warm_up
from reed.zygote import cow_heap
from reed.zygote.clone import Cloning
from reed.zygote.dry_run import DryRun
from reed.zygote.prefault import learn
from reed.zygote.spawn import Spawn, name_process

_AFTER_FAILURE = 0.1  # seconds
_HEAD_START = 0.01  # seconds in which a plugin starts before the next spare is made, unless a request waits already


def main() -> None:
    """Serves launch requests on stdin, a SOCK_SEQPACKET socket, until the core's end closes."""
    name_process("reed:zygote")
    for number in (signal.SIGINT, signal.SIGCHLD):  # a parent may have them ignored
        signal.signal(number, signal.SIG_DFL)
    os.umask(0o077)
    os.chdir("/")
    gc.disable()
    with socket.socket(fileno=0) as core:
        zygote = ZygoteProcess(core)
        while zygote.core_is_there():
            if zygote.make_spare():
                select.select([core], [], [], _HEAD_START)
            elif zygote.core_is_there():
                time.sleep(_AFTER_FAILURE)


class ZygoteProcess:
    """A Spawn and a host with Lua 5.5, ready to be used once in each fork."""

    def __init__(self, core: socket.socket) -> None:
        self._core = core
        self._spawn = Spawn()
        self._clone = Cloning()
        warm_up()
        cow_heap.fill_holes()
        self._host = Host(LuaSandbox())
        cow_heap.freeze()
        cow_heap.fill_holes()
        cow_heap.make_room()
        dry_run = DryRun(self._spawn)
        self._warmth = learn(lambda: dry_run.start(self._host))
        dry_run.close()

    def core_is_there(self) -> bool:
        """False when the core's end of the socket is closed."""
        try:
            return bool(self._core.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False

    def make_spare(self) -> bool:
        """Forks a process for the next request, and waits until it has read one; False when it came to nothing."""
        taken, taking = os.pipe()
        try:
            spare = self._clone()
        except OSError as error:
            sys.stderr.write(f"zygote: no process could be made: {error.strerror}\n")
            spare = -1
        if spare == 0:
            self._be_the_spare(taking)
        os.close(taking)
        word = os.read(taken, 1)
        os.close(taken)
        return bool(word)

    def _be_the_spare(self, taking: int) -> NoReturn:
        """Waits for a request, and becomes its plugin. Nothing of the zygote runs on in it."""
        try:
            name_process("reed:spare")
            self._warmth.warm()
            if not self._spawn.receive(self._core):
                os._exit(0)
            os.write(taking, b"!")
            self._spawn.take_place(self._host)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the core reads it
            sys.excepthook(type(error), error, error.__traceback__)
            sys.stderr.flush()
        finally:
            os._exit(1)
