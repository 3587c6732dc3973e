"""The zygote: a process that holds everything a plugin needs in memory, and forks (process-creation.md#zygote).

A spare always waits, so that a start waits neither for a fork nor for page faults.
"""

from __future__ import annotations

import ctypes
import gc
import os
import select
import signal
import socket
import sys
import time
from typing import NoReturn

from reed.lua.sandbox import LuaSandbox
from reed.lua.warmup import run_a_plugin, warm_up
from reed.plugin_host.core_connection import connected_socket
from reed.plugin_host.host import Host
from reed.sandbox.own_socket import OwnSocket
from reed.zygote import cow_heap
from reed.zygote.clone import Cloning
from reed.zygote.hot_code import move_together
from reed.zygote.immortal import make_everything_immortal
from reed.zygote.prefault import DryRun, Prefault, learn
from reed.zygote.request import DIE_WITH_CORE
from reed.zygote.spawn import Spawn, name_process

_PR_SET_PDEATHSIG = 1
_IGNORED_BY_PYTHON = {signal.SIGPIPE, signal.SIGXFSZ}
_AFTER_FAILURE = 0.1  # seconds
_OOM_SCORE = b"500"  # of 1,000: when memory is short, the kernel kills plugins and workers before the core
_HEAD_START = 0.03  # for a plugin before the next spare is made, unless another request arrives


def main() -> None:
    name_process("reed:zygote")
    with open("/proc/self/oom_score_adj", "wb", buffering=0) as score:
        score.write(_OOM_SCORE)  # inherited by what is forked here
    _restore_signals()
    die_with_core = DIE_WITH_CORE in sys.argv[1:]
    if die_with_core:
        _die_with_core()
    os.umask(0o077)
    os.chdir("/")
    gc.disable()
    with socket.socket(fileno=0) as core:
        zygote = ZygoteProcess(core, die_with_core=die_with_core)
        while zygote.is_core_alive():
            if zygote.make_spare():
                select.select([core], [], [], _HEAD_START)
            elif zygote.is_core_alive():
                time.sleep(_AFTER_FAILURE)
    os._exit(0)  # the interpreter's own end would take apart what cannot be freed


def _restore_signals() -> None:
    """The program that embeds the core may ignore or block signals, and plugins would inherit that."""
    for number in signal.valid_signals():
        if signal.getsignal(number) == signal.SIG_IGN and number not in _IGNORED_BY_PYTHON:
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _die_with_core() -> None:
    """By SIGKILL, when the thread of the core that started the zygote ends. An execve keeps that, a fork does not."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class ZygoteProcess:
    def __init__(self, core: socket.socket, *, die_with_core: bool = False) -> None:
        self._core = core
        self._die_with_core = die_with_core
        self._spawn = Spawn()
        self._clone = Cloning()
        # Now, since CPython 3.14 specialises code by whether its constants are immortal.
        if make_everything_immortal():  # otherwise counts of references are written everywhere
            move_together(run_a_plugin, self._run_and_start, _ONLY_IN_A_FORK)
        warm_up()
        cow_heap.fill_holes()
        self._host = Host(LuaSandbox())
        make_everything_immortal()
        cow_heap.freeze()
        cow_heap.fill_holes()
        cow_heap.fill_pools()
        cow_heap.make_room()
        dry_run = DryRun(self._spawn, self._host)
        self._prefault = learn(dry_run.start)
        dry_run.close()

    def _run_and_start(self) -> None:
        run_a_plugin()
        DryRun(self._spawn, Host(LuaSandbox())).start()

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
            if self._die_with_core:  # if it is dead already, the report cannot be written
                _die_with_core()
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


_ONLY_IN_A_FORK = (  # or between two of them: what a dry run leaves out
    *(ZygoteProcess.make_spare, ZygoteProcess.is_core_alive, ZygoteProcess._be_the_spare, Prefault.touch),
    *(Spawn.become, Spawn._report_pid, name_process, Host.run, Host._run_on_start, connected_socket, OwnSocket.connect),
)
