"""What the core counts about itself, each at a fixed cost (metrics.md).

    Histogram        64 numbers: the n-th counts what took below 2**n microseconds, and not below 2**(n-1)
    TurnTimes        histograms of the loop's turns, and of their waits for the disk
    CommandCounters  for each command a histogram, bytes in and out, and errors by status; unknown ids share one

Counting neither allocates nor branches by value; summing up is left to the reader of SYSTEM_STATS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

BUCKETS = 64
UNKNOWN = "unknown"  # the name of all ids that are no command

_HEADER_SIZE = 12
_MIN_ERROR = 400


class Histogram:
    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * BUCKETS
        self.seconds = 0.0  # the sum

    def add(self, seconds: float) -> None:
        self.buckets[int(seconds * 1e6).bit_length()] += 1
        self.seconds += seconds

    @property
    def count(self) -> int:
        return sum(self.buckets)

    def as_json(self) -> dict[str, Any]:
        """{"histogram": [counts, without the zeros at the end], "seconds": sum}."""
        used = max((number for number, count in enumerate(self.buckets, 1) if count), default=0)
        return {"histogram": self.buckets[:used], "seconds": round(self.seconds, 6)}


class TurnTimes(Histogram):
    """Of turns, without the wait for the disk."""

    __slots__ = ("disk", "disk_longest", "longest")

    def __init__(self) -> None:
        super().__init__()
        self.longest = 0.0
        self.disk = Histogram()  # of turns that waited for it
        self.disk_longest = 0.0

    @property
    def turns(self) -> int:
        return self.count

    def add(self, seconds: float, disk_seconds: float = 0.0) -> None:
        self.buckets[int(seconds * 1e6).bit_length()] += 1  # not super().add(): it is called in every turn
        self.seconds += seconds
        if seconds > self.longest:  # noqa: PLR1730 - max() takes three times as long
            self.longest = seconds
        if disk_seconds:
            self.disk.add(disk_seconds)
            self.disk_longest = max(self.disk_longest, disk_seconds)

    def quantile(self, part: float) -> float:
        """In seconds, correct to a factor of two."""
        left = part * self.turns
        for power, count in enumerate(self.buckets):
            left -= count
            if left <= 0:
                return min((1 << power) / 1e6, self.longest)
        return self.longest


class _CommandCounter(Histogram):
    __slots__ = ("bytes_in", "bytes_out", "errors")

    def __init__(self) -> None:
        super().__init__()
        self.bytes_in = 0
        self.bytes_out = 0
        self.errors: dict[int, int] = {}  # by status

    def as_json(self) -> dict[str, Any]:
        errors = {str(status): count for status, count in sorted(self.errors.items())}
        sizes = {"bytes_in": self.bytes_in, "bytes_out": self.bytes_out}
        return {"calls": self.count, "errors": errors, **sizes, **super().as_json()}


class Ended(Protocol):
    """A call that was answered."""

    command_id: int
    began: float
    size: int  # bytes of the payload
    response: tuple[bytes | bytearray | memoryview, ...]  # the parts of a frame


class CommandCounters:
    """Times are from the turn that read the request until its response is sent or queued behind the commit."""

    __slots__ = ("_by_id", "_cached", "_named", "_now", "hits")

    def __init__(self, now: Callable[[], float], names: Iterable[tuple[int, str]], cached: int) -> None:
        """`cached`: the command whose responses are cached."""
        self.hits = 0  # responses from the cache
        self._now = now
        unknown = _CommandCounter()
        self._named = {UNKNOWN: unknown}
        self._by_id = [unknown] * 256
        for command_id, name in names:
            self._named[name] = self._by_id[command_id] = _CommandCounter()
        self._cached = self._by_id[cached]

    def ended(self, call: Ended) -> None:
        each, frame = self._by_id[call.command_id], call.response
        seconds = self._now() - call.began
        each.buckets[int(seconds * 1e6).bit_length()] += 1
        each.seconds += seconds
        each.bytes_in += call.size + _HEADER_SIZE
        if len(frame) == 1:
            body, at = frame[0], _HEADER_SIZE
            each.bytes_out += len(body)
        else:
            body, at = frame[1], 0
            each.bytes_out += sum(map(len, frame))
        if body[at + 1] and (status := body[at] | body[at + 1] << 8) >= _MIN_ERROR:
            each.errors[status] = each.errors.get(status, 0) + 1

    def from_cache(self, count: int, seconds: float, bytes_in: int, bytes_out: int) -> None:
        """`count` responses of the cache were sent together."""
        each = self._cached
        each.buckets[int(seconds * 1e6).bit_length()] += count
        each.seconds += seconds * count
        each.bytes_in += bytes_in
        each.bytes_out += bytes_out
        self.hits += count

    def as_json(self) -> dict[str, Any]:
        """By name, of commands that were called."""
        return {name: each.as_json() for name, each in self._named.items() if each.count}
