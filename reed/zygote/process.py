"""The zygote: a process that holds everything a plugin needs in memory, and forks (process-creation.md#zygote).

A spare always waits, so that a start waits neither for a fork nor for page faults.
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

from reed.lua.sandbox import LuaSandbox
from reed.lua.warmup import warm_up
from reed.plugin_host.host import Host
from reed.zygote import cow_heap
from reed.zygote.clone import Cloning
from reed.zygote.prefault import DryRun, learn
from reed.zygote.spawn import Spawn, name_process

_AFTER_FAILURE = 0.1  # seconds
_HEAD_START = 0.01  # for a plugin before the next spare is made, unless another request arrives


def main() -> None:
    name_process("reed:zygote")
    for number in (signal.SIGINT, signal.SIGCHLD):  # the parent may ignore them
        signal.signal(number, signal.SIG_DFL)
    os.umask(0o077)
    os.chdir("/")
    gc.disable()
    with socket.socket(fileno=0) as core:
        zygote = ZygoteProcess(core)
        while zygote.is_core_alive():
            if zygote.make_spare():
                select.select([core], [], [], _HEAD_START)
            elif zygote.is_core_alive():
                time.sleep(_AFTER_FAILURE)


class ZygoteProcess:
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
        dry_run = DryRun(self._spawn, self._host)
        self._prefault = learn(dry_run.start)
        dry_run.close()

    def is_core_alive(self) -> bool:
        try:
            return bool(self._core.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False

    def make_spare(self) -> bool:
        """Waits until the spare has read a request; False when there was none or the fork failed."""
        accepted, accepting = os.pipe()
        try:
            spare = self._clone()
        except OSError as error:
            sys.stderr.write(f"zygote: cannot fork: {error.strerror}\n")
            spare = -1
        if spare == 0:
            self._be_the_spare(accepting)
        os.close(accepting)
        byte = os.read(accepted, 1)
        os.close(accepted)
        return bool(byte)

    def _be_the_spare(self, accepting: int) -> NoReturn:
        try:
            name_process("reed:spare")
            self._prefault.touch()
            if not self._spawn.receive(self._core):
                os._exit(0)
            os.write(accepting, b"!")
            self._spawn.become(self._host)
        except BaseException as error:  # noqa: BLE001 - the core reads stderr
            sys.excepthook(type(error), error, error.__traceback__)
            sys.stderr.flush()
        finally:
            os._exit(1)
