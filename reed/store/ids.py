"""Snippet ids: UUID version 7 (RFC 9562), whose first 60 bits are the snippet's sequence number.

    019a3c5e-7d21-7 4f3 -  9c1e-55d0a8b7e6f4
    └─ 48 bits ─┘   └12┘  └── 62 bits ──┘
     milliseconds   1/4096   random
     └── sequence ────┘

Sequence numbers rise even if the clock does not, so ids sort by creation.
"""

from __future__ import annotations

import os
import re

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_UUID_7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_TICKS_PER_MILLISECOND = 4096
_VARIANT = bytes(0x80 | byte & 0x3F for byte in range(256))  # sets the first two bits to 10
_RANDOM_CHUNK = 512  # bytes per system call; an id takes 8, which are 16 hexadecimal digits

_MIN_PREFIX = 8  # characters
_LOWEST, _HIGHEST = (f"{d * 8}-{d * 4}-{d * 4}-{d * 4}-{d * 12}" for d in "0f")

UUID_LENGTH = 36


class Ids:
    __slots__ = ("_tails", "last")

    def __init__(self, last: int) -> None:
        self.last = last
        self._tails: list[str] = []  # random ends of the next ids

    def next(self, now: int) -> tuple[int, str]:
        """A new sequence number and its id; `now` in nanoseconds since 1970."""
        sequence = now * _TICKS_PER_MILLISECOND // 1_000_000
        if sequence <= self.last:
            sequence = self.last + 1
        self.last = sequence
        digits = sequence.to_bytes(8, "big").hex()  # a format takes twice as long; 60 bits begin with a 0
        if not self._tails:
            self._tails = _random_tails()
        return sequence, f"{digits[1:9]}-{digits[9:13]}-7{digits[13:]}-{self._tails.pop()}"

    def reserve_id(self, snippet_id: str) -> None:
        self.reserve(sequence_in(snippet_id))

    def reserve(self, sequence: int) -> None:
        """Give only numbers above this one, which a restored snippet has."""
        self.last = max(self.last, sequence)


def _random_tails() -> list[str]:
    raw = bytearray(os.urandom(_RANDOM_CHUNK))
    raw[::8] = raw[::8].translate(_VARIANT)
    digits = raw.hex()
    return [f"{digits[at : at + 4]}-{digits[at + 4 : at + 16]}" for at in range(0, len(digits), 16)]


def sequence_of(snippet_id: str) -> int | None:
    """The sequence number in an id (lower case); None when the text is no UUID."""
    if _UUID.fullmatch(snippet_id) is None:
        return None
    milliseconds = int(snippet_id[:8] + snippet_id[9:13], 16)
    return milliseconds << 12 | int(snippet_id[15:18], 16)


def sequence_in(stored_id: str) -> int:
    sequence = sequence_of(stored_id)
    assert sequence is not None
    return sequence


def time_in(stored_id: str) -> int:
    return (sequence_in(stored_id) >> 12) * 1000


def is_uuid_7(snippet_id: str) -> bool:
    return _UUID_7.fullmatch(snippet_id) is not None


def sequence_range(prefix: str) -> tuple[int, int] | None:
    """The lowest and highest sequence number of ids with this prefix (lower case); None if it is shorter than eight
    characters or begins no id."""
    bounds = id_range(prefix)
    return None if bounds is None else (sequence_in(bounds[0]), sequence_in(bounds[1]))


def id_range(prefix: str) -> tuple[str, str] | None:
    """As `sequence_range`, the lowest and highest id."""
    first, last = prefix + _LOWEST[len(prefix) :], prefix + _HIGHEST[len(prefix) :]
    is_prefix = len(prefix) >= _MIN_PREFIX and None not in {sequence_of(first), sequence_of(last)}
    return (first, last) if is_prefix else None
