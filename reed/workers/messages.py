"""Messages between the core and a worker, marshalled: both run the same Python.

length  u32, little-endian      of what follows
value   marshal                 core to worker: (kind, arguments)
                                worker to core: (outcome, value), and once before everything (READY, pid)

outcome   value
READY     the worker's pid
DONE      what the handler returned
FAILED    (status, error_code, message, hint) of a CallError
MEMORY    None: the memory limit was reached; the worker ends
BUG       the traceback, as text
"""

from __future__ import annotations

import marshal
import struct
from enum import IntEnum
from typing import Any

HEADER = struct.Struct("<I")


class Outcome(IntEnum):
    READY = 0
    DONE = 1
    FAILED = 2
    MEMORY = 3
    BUG = 4


def encode(first: Outcome | str, value: Any) -> tuple[bytes, bytes]:
    """A message in two parts, since joining them would copy up to 32 MB. Raises ValueError if `value` cannot be
    marshalled."""
    body = marshal.dumps((first if isinstance(first, str) else int(first), value))
    return HEADER.pack(len(body)), body


class Reader:
    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: memoryview) -> None:
        self._data += data

    def next(self) -> tuple[Any, Any] | None:
        """The next complete message: (outcome, value)."""
        data = self._data
        if len(data) < HEADER.size:
            return None
        (length,) = HEADER.unpack_from(data)
        end = HEADER.size + length
        if len(data) < end:
            return None
        with memoryview(data) as view:
            message: tuple[Any, Any] = marshal.loads(view[HEADER.size : end])
        del data[:end]
        return message
