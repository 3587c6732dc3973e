"""Figures of the last minutes, from the SYSTEM_STATS that pages asked for. Nothing is asked while no page is seen."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

_SECONDS = 300.0
_MIN_INTERVAL = 0.5  # seconds; several pages share the samples
_WIDTH, _HEIGHT = 300, 60  # of a chart, in the units of its viewBox


class Sample(NamedTuple):
    at: float  # seconds
    pid: int
    requests: int
    turns: tuple[int, ...]  # the n-th counts those below 2**n microseconds, and not below 2**(n-1)
    memory: int
    connections: int

    @classmethod
    def of(cls, at: float, stats: dict[str, Any]) -> Sample:
        requests = sum(each["calls"] for each in stats.get("commands", {}).values())
        turns = tuple(stats["loop"]["histogram"])
        return cls(at, stats["pid"], requests, turns, stats["memory_bytes"], stats["connections"])


class Chart(NamedTuple):
    """`line` and `area` are points of SVG in a viewBox of 300 by 60; `top` is the value at the upper edge."""

    now: float
    top: float
    line: str
    area: str


class History:
    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._samples: deque[Sample] = deque()

    def add(self, stats: dict[str, Any]) -> None:
        sample = Sample.of(self._now(), stats)
        last = self._samples[-1] if self._samples else None
        if last is not None and (last.pid != sample.pid or last.requests > sample.requests):
            self._samples.clear()  # another core, whose counters began at 0
        elif last is not None and sample.at - last.at < _MIN_INTERVAL:
            return
        self._samples.append(sample)
        while sample.at - self._samples[0].at > _SECONDS:
            self._samples.popleft()

    def charts(self) -> dict[str, Chart]:
        """`requests` per second, `turn`: the 99th percentile in milliseconds, `memory` in bytes, `connections`."""
        samples = list(self._samples)
        pairs = list(pairwise(samples))
        times = [later.at for _, later in pairs]
        rates = [(later.requests - earlier.requests) / (later.at - earlier.at) for earlier, later in pairs]
        turns = [_percentile(earlier.turns, later.turns) for earlier, later in pairs]
        every = [sample.at for sample in samples]
        return {
            "requests": self._chart(times, rates, 10),
            "turn": self._chart(times, turns, 1),
            "memory": self._chart(every, [sample.memory for sample in samples], 1 << 20),
            "connections": self._chart(every, [sample.connections for sample in samples], 4),
        }

    def _chart(self, times: Sequence[float], values: Sequence[float], least_top: float) -> Chart:
        """The newest value is at the right edge, one of `_SECONDS` ago at the left."""
        if not values:
            return Chart(0, least_top, "", "")
        top = max(least_top, *values) * 1.1
        points = [
            (_WIDTH * (1 - (times[-1] - at) / _SECONDS), _HEIGHT * (1 - value / top))
            for at, value in zip(times, values, strict=True)
        ]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        return Chart(values[-1], top, line, f"{points[0][0]:.1f},{_HEIGHT} {line} {points[-1][0]:.1f},{_HEIGHT}")


def _percentile(earlier: Sequence[int], later: Sequence[int]) -> float:
    """Milliseconds that 99 of 100 turns between the two did not reach."""
    counts = [count - (earlier[n] if n < len(earlier) else 0) for n, count in enumerate(later)]
    missing = sum(counts) * 0.99
    for number, count in enumerate(counts):
        missing -= count
        if count and missing <= 0:
            return float(2**number) / 1000
    return 0.0
