"""A core that measures its own turns. Run as a program: REED_RUNTIME_DIR and REED_DATA_DIR say where it lives.

    stdin            stdout
    reset            {}                                      forget the longest turn, and the memory's peak
    report           {"longest", "turns", "peak", "rss"}     seconds of processor time; bytes. Also writes TURNS

TURNS, in the working directory: of each turn when it began and ended (time.monotonic) and the processor time it used;
doubles.

It works with any version of `reed.daemon`, so an older tree can be measured beside this one.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import sys
import time
from array import array
from pathlib import Path
from typing import Any

from reed.config import load
from reed.daemon import Daemon

TURNS = "turns.bin"


class MeasuredLoop:
    """Runs the loop turn by turn: thread_time stands still while a turn waits for something to happen."""

    def __init__(self, loop: Any) -> None:
        self.longest = 0.0
        self.log = array("d")
        self._loop = loop
        loop.run = self.run

    def run(self) -> None:
        self._loop._running = True  # until Loop.stop
        while self._loop._running:
            self._turn()

    def _turn(self) -> None:
        began = time.thread_time()
        self._loop.turn()
        used = time.thread_time() - began
        self.log.extend((self._loop.began, time.monotonic(), used))
        self.longest = max(self.longest, used)


def main() -> None:
    log = logging.getLogger("reed")
    log.addHandler(logging.StreamHandler(open(os.devnull, "w")))  # noqa: SIM115 - lines cost what they cost
    daemon = Daemon(load(None, os.environ, {}), log)
    measured = MeasuredLoop(daemon.loop)

    def obey() -> None:
        words = os.read(0, 4096).decode().split()
        if not words:
            daemon.stop()
            return
        for word in words:
            if word == "reset":
                measured.longest = 0.0
                del measured.log[:]
                _forget_peak()
                _answer({})
            else:
                Path(TURNS).write_bytes(measured.log.tobytes())
                _answer(
                    {
                        "longest": measured.longest,
                        "turns": len(measured.log) // 3,
                        "peak": _status("VmHWM"),
                        "rss": _status("VmRSS"),
                    }
                )

    daemon.loop.watch(0, obey)
    _answer({})
    gc.freeze()  # as `reed serve` does
    gc.set_threshold(700, 3, 33)
    daemon.run()
    daemon.close()


def _answer(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def _forget_peak() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    main()
