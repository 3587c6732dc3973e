"""Makes objects immortal, so that a fork never writes their reference counts (immortal-objects.md).

An object whose count has a certain value is immortal for CPython from 3.12 on: Py_INCREF and Py_DECREF leave it alone.
ctypes writes that value, because no Python function does. Nothing happens on Pythons that were not examined.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import types
from typing import NamedTuple


class _Header(ctypes.Structure):
    """The first 8 bytes of an object. Before 3.14 overflow and flags are the upper half of the count."""

    _fields_ = [("count", ctypes.c_uint32), ("overflow", ctypes.c_uint16), ("flags", ctypes.c_uint16)]


class _Mark(NamedTuple):
    references: int
    flag: int


_MARKS = {
    (3, 12): _Mark(0xFFFFFFFF, 0),
    (3, 13): _Mark(0xFFFFFFFF, 0),
    (3, 14): _Mark(0xE0000000, 1),  # the flag is for references on the interpreter's stack
}
_RUNNING = (types.FrameType, types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType, types.TracebackType)
_IMMORTAL = 1 << 31  # no count of a mortal object
_TRIALS = 1000


def make_everything_immortal() -> int:
    """All objects that this process has now, except running code. Returns how many became immortal."""
    mark = _mark()
    if mark is None:
        return 0
    count = 0
    pending = gc.get_objects()
    while pending:
        each = pending.pop()
        if sys.getrefcount(each) < _IMMORTAL and type(each) not in _RUNNING:
            _make_immortal(each, mark)
            count += 1
            pending += gc.get_referents(each)
            if type(each) is types.CodeType:
                pending += _parts(each)
    return count


def _mark() -> _Mark | None:
    is_known = (
        sys.implementation.name == "cpython"
        and sys.byteorder == "little"
        and sys.maxsize == 2**63 - 1
        and not sys.abiflags  # t: without the GIL, with another header; d: a debug build, which checks counts
    )
    mark = _MARKS.get(sys.version_info[:2]) if is_known else None
    return mark if mark and _works(mark) else None


def _works(mark: _Mark) -> bool:
    """Tries the mark with an object of its own: whether the count is where it should be, and then stays as it is."""
    tried = object()
    header = _Header.from_address(id(tried))
    if (header.count, header.overflow, header.flags) != (1, 0, 0):
        return False
    _make_immortal(tried, mark)
    references = [tried] * _TRIALS
    counts = {header.count}
    del references
    return counts | {header.count} == {mark.references}


def _make_immortal(each: object, mark: _Mark) -> None:
    header = _Header.from_address(id(each))
    header.count = mark.references
    header.flags |= mark.flag


def _parts(code: types.CodeType) -> list[object]:
    """What get_referents does not tell of a code object."""
    tables = code.co_consts, code.co_names, code.co_linetable, code.co_exceptiontable
    names = code.co_name, code.co_qualname, code.co_filename, *code.co_varnames, *code.co_cellvars, *code.co_freevars
    return [*tables, *names]
