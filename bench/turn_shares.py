"""`reed serve` that measures the processor time of its turns, and what the longest of them did.

python -P turn_shares.py serve …      BENCH_TURNS: the file that it writes
RESET, WRITE                          signals to it: begin to count, write the file

{"tenths": [turns that took 0 to 0.1 ms, 0.1 to 0.2 ms, …], "longest": [[ms, [[what, ms], …]], …]}
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import reed.cli
from reed.core.router import Router
from reed.loop.loop import Loop
from reed.store.sqlite.transaction import Transaction
from reed.workers.pool import WorkerPool

RESET, WRITE = signal.SIGRTMIN, signal.SIGRTMIN + 1
_LEAST = 0.0003  # seconds of a part that is named
_KEPT = 30
_MAX_TENTHS = 1000

tenths = [0] * _MAX_TENTHS
longest: list[tuple[float, list[tuple[str, float]]]] = []
_parts: list[tuple[str, float]] = []
_collection = [0.0]  # when it began


def _measured(name: str, call: Callable[..., Any], *arguments: Any) -> Any:
    began = time.thread_time()
    try:
        return call(*arguments)
    finally:
        used = time.thread_time() - began
        if used >= _LEAST:
            _parts.append((name, used))


def _wrap(cls: Any, method: str, name: Callable[..., str]) -> None:
    original = getattr(cls, method)

    def measured(self: Any, *arguments: Any) -> Any:
        return _measured(name(self, *arguments), original, self, *arguments)

    setattr(cls, method, measured)


def _name_of(callback: Any) -> str:
    function = getattr(callback, "func", callback)
    return str(getattr(function, "__qualname__", repr(function)))


def _install() -> None:
    _wrap(Loop, "_read_ready", lambda *_: "reads")
    _wrap(Loop, "_run_timers", lambda *_: "timers")
    _wrap(Loop, "_run_job", lambda loop, _: f"job {_name_of(loop._jobs[0])}")
    _wrap(Loop, "_commit", lambda *_: "commit")
    _wrap(Loop, "_flush_and_close", lambda *_: "send and close")
    _wrap(Loop, "_call", lambda _, callback: _name_of(callback))
    _wrap(WorkerPool, "_deliver", lambda _, job, *__: f"answer of {job.kind}")
    _wrap(Router, "dispatch", lambda _, call, __: f"command {call.command_id:02X}")
    _wrap(Transaction, "_sync", lambda _, statement: statement)
    gc.callbacks.append(_on_collection)
    watch = Loop.watch

    def measured_watch(self: Loop, fd: int, on_readable: Callable[[], None]) -> None:
        name = _name_of(on_readable)
        watch(self, fd, lambda: _measured(name, on_readable))

    def measured_run(self: Loop) -> None:
        self._running = True
        while self._running:
            _parts.clear()
            began = time.thread_time()
            self.turn()
            _add(time.thread_time() - began)

    Loop.watch = measured_watch  # type: ignore[method-assign]
    Loop.run = measured_run  # type: ignore[method-assign]


def _on_collection(phase: str, found: dict[str, int]) -> None:
    if phase == "start":
        _collection[0] = time.thread_time()
    elif (used := time.thread_time() - _collection[0]) >= _LEAST:
        _parts.append((f"garbage collection {found['generation']}", used))


def _add(seconds: float) -> None:
    tenths[min(int(seconds * 10_000), _MAX_TENTHS - 1)] += 1
    if len(longest) < _KEPT or seconds * 1000 > longest[-1][0]:
        longest.append((seconds * 1000, [(name, used * 1000) for name, used in _parts]))
        longest.sort(key=lambda turn: -turn[0])
        del longest[_KEPT:]


def _reset(*_: object) -> None:
    tenths[:] = [0] * _MAX_TENTHS
    longest.clear()


def _write(*_: object) -> None:
    path = os.environ["BENCH_TURNS"]
    with open(path + ".new", "w") as file:
        json.dump({"tenths": tenths, "longest": longest}, file)
    os.replace(path + ".new", path)


def main() -> int:
    _install()
    signal.signal(RESET, _reset)
    signal.signal(WRITE, _write)
    return reed.cli.main()


if __name__ == "__main__":
    sys.exit(main())
