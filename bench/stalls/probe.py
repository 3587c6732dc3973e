"""Another client: asks for one small snippet again and again, and notes how long each answer takes.

It has real-time priority where that is allowed: it shares a processor with all other clients, plugins and workers, and
its waits should be those for the core.

python -m bench.stalls.probe SOCKET REF        stdin, stdout: `reset` and `report`, as of core.py
report   {"count", "p99", "p999", "longest"}   seconds. Also writes WAITS

WAITS, in the working directory: when each request was sent and answered (time.monotonic); doubles.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from array import array
from contextlib import suppress
from pathlib import Path

from reed.client import Client

WAITS = "waits.bin"
_PAUSE = 0.001  # seconds between an answer and the next request


def main(path: str, ref: str) -> None:
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    waits = array("d")
    with Client(path, timeout=600) as client:
        print("{}", flush=True)
        while True:
            if select.select([0], [], [], _PAUSE)[0]:
                word = sys.stdin.readline().strip()
                if not word:
                    return
                if word == "reset":
                    del waits[:]
                    print("{}", flush=True)
                else:
                    Path(WAITS).write_bytes(waits.tobytes())
                    print(json.dumps(_report(waits)), flush=True)
            began = time.monotonic()
            client.snippet_get(ref)
            waits.extend((began, time.monotonic()))


def _report(waits: array[float]) -> dict[str, float]:
    ordered = sorted(ended - began for began, ended in zip(waits[::2], waits[1::2], strict=True)) or [0.0]

    def quantile(part: float) -> float:
        return ordered[min(int(len(ordered) * part), len(ordered) - 1)]

    return {"count": len(ordered), "p99": quantile(0.99), "p999": quantile(0.999), "longest": ordered[-1]}


if __name__ == "__main__":
    main(*sys.argv[1:])
