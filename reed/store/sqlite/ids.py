"""UUID version 7 (RFC 9562): ids that sort by time, and their sequence numbers.

    019a3c5e-7d21-7 4f3 -  9c1e-55d0a8b7e6f4
    └─ 48 bits ─┘   └12┘  └── 62 bits ──┘
     milliseconds   1/4096   random
     └── sequence ────┘

The first 60 bits are the snippet's sequence number: rising within a store whatever the clock does, and its row in the
file. So an id needs no index, and "after this id" is sound even when its snippet is gone.
"""

from __future__ import annotations

import os
import re

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_OWN = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_TICKS_PER_MILLISECOND = 4096
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}  # its first two bits are 10
_RANDOM_AT_ONCE = 512  # bytes asked of the kernel; an id takes 8

_MIN_PREFIX = 8  # characters
_LOWEST, _HIGHEST = (f"{d * 8}-{d * 4}-{d * 4}-{d * 4}-{d * 12}" for d in "0f")

UUID_LENGTH = 36


class Ids:
    """Gives ids; `floor` is the highest sequence number in use."""

    __slots__ = ("_last", "_random")

    def __init__(self, floor: int) -> None:
        self._last = floor
        self._random = b""

    def next(self, now: int) -> tuple[int, str]:
        """A new sequence number and its id; `now` in nanoseconds since 1970."""
        sequence = now * _TICKS_PER_MILLISECOND // 1_000_000
        if sequence <= self._last:
            sequence = self._last + 1
        self._last = sequence
        head = f"{sequence:015x}"
        if not self._random:
            self._random = os.urandom(_RANDOM_AT_ONCE)
        tail, self._random = self._random[:8].hex(), self._random[8:]
        return sequence, f"{head[:8]}-{head[8:12]}-7{head[12:]}-{_VARIANT[tail[0]]}{tail[1:4]}-{tail[4:]}"

    def reserve(self, sequence: int) -> None:
        """This one is in use, given by another store: new ones come after it."""
        self._last = max(self._last, sequence)

    @property
    def last(self) -> int:
        return self._last


def sequence_of(snippet_id: str) -> int | None:
    """The sequence number in an id (lower case); None when the text is no UUID."""
    if _UUID.fullmatch(snippet_id) is None:
        return None
    milliseconds = int(snippet_id[:8] + snippet_id[9:13], 16)
    return milliseconds << 12 | int(snippet_id[15:18], 16)


def is_own(snippet_id: str) -> bool:
    """Whether it is an id as reed makes them: a UUID version 7, in lower case."""
    return _OWN.fullmatch(snippet_id) is not None


def sequences_from(prefix: str) -> tuple[int, int] | None:
    """The first and the last sequence number of ids that begin so (lower case, eight digits at least); None when no id
    does."""
    if len(prefix) < _MIN_PREFIX:
        return None
    first = sequence_of(prefix + _LOWEST[len(prefix) :])
    last = sequence_of(prefix + _HIGHEST[len(prefix) :])
    return None if first is None or last is None else (first, last)


def sequence_in(known_id: str) -> int:
    """The sequence number in an id that came out of the store."""
    sequence = sequence_of(known_id)
    assert sequence is not None
    return sequence
