"""The nursery: a process that has everything a plugin needs in memory, and forks (DESIGN.md, Lua).

    nursery ── fork ──> middle ── fork ──> spare ── reads a request ── birth.py ── confined ─┬─ Lua: host.py
       ^                  └─ ends: the core, a child subreaper, becomes the parent           └─ native: executed
       └── a pipe tells that the spare was taken: the next one is made

One process is always made beforehand, so that a start does not wait for a fork. It reads the request with its
descriptors from the core's socket itself: what the nursery or the middle did for it, they would change pages for, and
those become the plugin's alone (heap.py).

The nursery was started before the core opened anything. It ends, as does the spare, when the core's end of the socket
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
import traceback
from typing import NoReturn

from reed.lua.host import Host
from reed.lua.rehearsal import rehearse
from reed.lua.sandbox import Sandbox
from reed.nursery import heap
from reed.nursery.birth import Birth, name_process

_AFTER_FAILURE = 0.1  # seconds
_HEAD_START = 0.01  # seconds in which a plugin starts before the next spare is made, unless a request waits already


def main() -> None:
    """Serves launch requests on stdin, a SOCK_SEQPACKET socket, until the core's end closes."""
    name_process("reed:nursery")
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.umask(0o077)
    os.chdir("/")
    gc.disable()
    with socket.socket(fileno=0) as core:
        nursery = NurseryProcess(core)
        while nursery.core_is_there():
            if nursery.make_spare():
                select.select([core], [], [], _HEAD_START)
            elif nursery.core_is_there():
                time.sleep(_AFTER_FAILURE)


class NurseryProcess:
    """A birth and a host with Lua 5.5, ready to be used once in each fork."""

    def __init__(self, core: socket.socket) -> None:
        self._core = core
        self._birth = Birth()
        rehearse()
        heap.fill_holes()
        self._host = Host(Sandbox())
        heap.freeze()
        heap.fill_holes()

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
        adopted, adopting = os.pipe()
        try:
            middle = os.fork()
        except OSError as error:
            sys.stderr.write(f"nursery: no process could be made: {error.strerror}\n")
            middle = -1
        if middle == 0:
            os.close(adopting)
            self._in_the_middle(taking, adopted)
        os.close(taking)
        os.close(adopted)
        if middle > 0:
            os.waitpid(middle, 0)
        os.close(adopting)  # from here on the core is the spare's parent
        word = os.read(taken, 1)
        os.close(taken)
        return bool(word)

    def _in_the_middle(self, taking: int, adopted: int) -> NoReturn:
        try:
            if os.fork() == 0:
                self._be_the_spare(taking, adopted)
            os._exit(0)
        finally:
            os._exit(1)

    def _be_the_spare(self, taking: int, adopted: int) -> NoReturn:
        """Waits for a request, and becomes its plugin. Nothing of the nursery runs on in it."""
        try:
            name_process("reed:spare")
            os.read(adopted, 1)  # ends when the nursery closes its end
            if not self._birth.receive(self._core):
                os._exit(0)
            os.write(taking, b"!")
            self._birth.take_place(self._host)
        except BaseException:  # noqa: BLE001 - whatever it is, the core reads it
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(1)
