"""1 to 4 cores on one PostgreSQL, each with a client, on all processors: a GET and a CREATE by the rate of all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

from bench.content import SMALL
from bench.measure import interleaved
from bench.processes import unpinned
from bench.series import Curve, Scale
from bench.stores import CREATES, core_on, create, gets, together

MOST = 4


def curves(scale: Scale) -> Iterator[Curve]:
    if not scale.postgres:
        print("  cores: left out, --postgres CONNINFO names an empty database")
        return
    with unpinned(), ExitStack() as stack:
        places = [stack.enter_context(core_on(f"postgres:{scale.postgres}")) for _ in range(min(scale.most, MOST))]
        with places[0].client() as client:
            client.registry_define("plain", {})
            client.snippet_create("plain", "hot", {"title": "hot"})
        creates = partial(create, kind="plain", contents=[SMALL] * CREATES)
        for name, measure in (("GET", gets), ("CREATE, 64 in flight of each", creates)):
            curve = Curve("cores", f"{name}, PostgreSQL", "cores", "us by the rate of all", 0)
            sides = {str(number): partial(together, places[:number], measure) for number in range(1, len(places) + 1)}
            for number, rate in interleaved(sides, 3).items():
                curve.add(int(number), 1e6 / rate)
            yield curve
