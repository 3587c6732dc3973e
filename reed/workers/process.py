"""A worker's process: reads a job, runs its handler, writes the outcome, until the core closes the socket.

A handler is imported for the first job of its kind, so a worker loads only what its jobs need.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import marshal
import os
import resource
import signal
import socket
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

from reed.errors import CallError, JobKilled
from reed.import_path import UPGRADED, installed_mark
from reed.workers.messages import HEADER, Outcome, encode

NICE = 10  # p99 of GETs during two workers' jobs: 0.3 ms, without it 4
SESSION_NICE = 5  # is enough for that; at 10 a job on a busy machine would miss its deadline by the clock

_PR_SET_PDEATHSIG = 1
_JOINED = 64 * 1024  # bytes of a reply that leaves in one piece: each piece wakes the core up

Handler = Callable[..., Any]


def run(sock: socket.socket, memory: int, handlers: dict[str, str], installed: tuple[int, int]) -> NoReturn:
    """Serve `sock`. `memory`: bytes of data that this process may have. `handlers`: "module:function" by kind.
    `installed`: the mark of the version that runs."""
    _confine(memory)
    sock.setblocking(True)
    found: dict[str, Handler] = {}
    sock.sendall(b"".join(encode(Outcome.READY, os.getpid())))
    is_low = False
    while (job := _receive(sock)) is not None:
        is_low = is_low or _lower_session()
        kind, arguments = job
        (header, body), goes_on = _outcome(kind, arguments, found, partial(_import, handlers, installed))
        if len(body) <= _JOINED:
            sock.sendall(header + body)
        else:
            sock.sendall(header)
            sock.sendall(body)
        if not goes_on:
            break
    os._exit(0)


def _confine(memory: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    os.nice(NICE)
    gc.disable()  # doubles the time to parse 16 MB; jobs make no cycles


def _lower_session() -> bool:
    """Lower the priority of the worker's session: with autogrouping (sched(7)) the nice value of a process counts only
    among the processes of its session, and the worker has one of its own.

    False: to be tried again, since the kernel accepts only one such change in 0.1 s from users other than root."""
    if os.getsid(0) != os.getpid():
        return True  # the session is not the worker's
    try:
        with open("/proc/self/autogroup", "w") as file:
            file.write(str(SESSION_NICE))
    except BlockingIOError:
        return False
    except OSError:
        return True  # a kernel without autogrouping
    return True


def _receive(sock: socket.socket) -> tuple[str, tuple[Any, ...]] | None:
    """The next job; None when the core has closed."""
    header = _receive_exactly(sock, HEADER.size)
    body = header and _receive_exactly(sock, *HEADER.unpack(header))
    return marshal.loads(body) if body else None


def _receive_exactly(sock: socket.socket, size: int) -> bytearray | None:
    data = bytearray(size)
    view = memoryview(data)
    while view:
        got = sock.recv_into(view)
        if not got:
            return None
        view = view[got:]
    return data


def _import(handlers: dict[str, str], installed: tuple[int, int], kind: str) -> Handler:
    if installed_mark() != installed:
        raise JobKilled(UPGRADED, hint="`reed restart` runs it")
    module, _, name = handlers[kind].partition(":")
    handler: Handler = getattr(importlib.import_module(module), name)
    return handler


def _outcome(
    kind: str, arguments: tuple[Any, ...], found: dict[str, Handler], load: Callable[[str], Handler]
) -> tuple[tuple[bytes, bytes], bool]:
    """The message for the core, and whether this process may take another job."""
    try:
        if kind not in found:
            found[kind] = load(kind)
        return encode(Outcome.DONE, found[kind](*arguments)), True
    except CallError as error:
        return encode(Outcome.FAILED, (error.status, int(error.error_code), error.message, error.hint)), True
    except MemoryError:
        return encode(Outcome.MEMORY, None), False
    except Exception:  # noqa: BLE001 - the core writes it to its log
        import traceback  # takes 2 ms, and few workers need it

        return encode(Outcome.BUG, traceback.format_exc()), True
