"""1 to 4 workers, no more than processors: the time of a search while as many clients search, on all processors."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from bench.processes import running, settle, site, unpinned
from bench.searches import SECONDS, fill, searching
from bench.series import Curve, Scale
from reed.client import Client

SNIPPETS = 20_000  # all of them with the word that is searched for
MOST = 4


def curves(scale: Scale) -> Iterator[Curve]:
    curve = Curve("workers", "SEARCH, time of one by the rate of all", "workers", "ms", 0)
    with unpinned(), site(in_memory=True) as place:
        for workers in range(1, min(MOST, len(os.sched_getaffinity(0))) + 1):
            place.config.write_text(f"workers: {workers}\n")
            with running(place), Client(place.socket, timeout=600) as client:
                if workers == 1:
                    fill(client, min(scale.most, SNIPPETS))
                settle(client)
                began = time.monotonic()
                with searching(place, workers) as stop:
                    time.sleep(SECONDS)
                    found = stop()
                curve.add(workers, (time.monotonic() - began) / found * 1000)
    yield curve
