"""The pages that a plugin's start changes and the code that it runs, touched beforehand, while the spare waits.

    learn   once: a fork plays the start, and reads from its pagemap which pages became its own, and which were read
    warm    in each spare: the kernel makes these pages ready, in one call for each run of them

A fault takes some 4 us, and a start has 600 of them: without this they are a third of its time. A page that is copied
here is one that the plugin would have copied a moment later. Before Linux 5.14 nothing is made ready.
"""

from __future__ import annotations

import array
import ctypes
import os
import struct
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

from reed.zygote.clone import Cloning

POPULATE_READ, POPULATE_WRITE = 22, 23  # of madvise(2)
_PRESENT, _OWN = 1 << 63, 1 << 56  # of a pagemap entry: in memory; mapped by this process alone
_PAGE = os.sysconf("SC_PAGESIZE")
_RUN = struct.Struct("=QQi")  # address, length, advice
_GAP = 16  # pages: what a fault for code brings along anyway


class Mapping(NamedTuple):
    """One line of /proc/self/maps: first page, the one after its last, and whether it is written to."""

    start: int
    end: int
    writable: bool


class Warmth:
    """What `learn` found."""

    def __init__(self, runs: bytes) -> None:
        self._madvise = ctypes.PyDLL(None).madvise
        self._madvise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
        self.runs = list(_RUN.iter_unpack(runs))

    def warm(self) -> None:
        """Makes the pages ready in this process. A run that is no longer there is left alone."""
        for run in self.runs:
            self._madvise(*run)


def learn(play: Callable[[], None]) -> Warmth:
    """Has a fork `play`, which may confine it, but leaves its standard streams alone. Nothing is learnt if it fails."""
    reading, writing = os.pipe()
    trial = Cloning(0)()
    if trial == 0:
        try:
            os.dup2(os.open("/proc/self/pagemap", os.O_RDONLY), 0)
            os.dup2(writing, 1)
            mappings = list(_mappings())
            play()
            os.write(1, b"".join(_RUN.pack(*run) for run in _runs(mappings)))
            os._exit(0)
        except OSError as error:  # such as too few descriptors; a zygote without it does its work
            os.write(2, f"zygote: pages are not made ready beforehand: {error}\n".encode())
        except BaseException as error:  # noqa: BLE001
            sys.excepthook(type(error), error, error.__traceback__)
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        runs = pipe.read()
    return Warmth(runs if os.waitpid(trial, 0)[1] == 0 else b"")


def _mappings() -> Iterator[Mapping]:
    """Those of memory and files; not the stack, nor what is the kernel's."""
    with open("/proc/self/maps") as maps:
        for line in maps:
            place, access, *_, name = line.split(maxsplit=5) if line.count(" ") > 5 else [*line.split(), ""]
            if access[0] == "r" and not name.startswith(("[stack", "[v")):
                start, end = (int(address, 16) // _PAGE for address in place.split("-"))
                yield Mapping(start, end, access[1] == "w")


def _runs(mappings: list[Mapping]) -> Iterator[tuple[int, int, int]]:
    """Address, length and advice of all pages that lie side by side."""
    for start, end, writable in mappings:
        entries = array.array("Q", os.pread(0, (end - start) * 8, start * 8))
        wanted = _PRESENT | _OWN if writable else _PRESENT
        advice, gap = (POPULATE_WRITE, 1) if writable else (POPULATE_READ, _GAP)
        first = last = -1
        for at, entry in enumerate(entries):
            if entry & wanted != wanted:
                continue
            if first >= 0 and at - last > gap:
                yield (start + first) * _PAGE, (last + 1 - first) * _PAGE, advice
                first = -1
            first, last = at if first < 0 else first, at
        if first >= 0:
            yield (start + first) * _PAGE, (last + 1 - first) * _PAGE, advice
