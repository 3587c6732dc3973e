"""Moves the code that plugins write to onto pages of its own (process-creation.md#memory).

CPython counts in a function's code how often its instructions ran, and for those that it cannot specialise it never
stops. So a plugin copies each page with code that it runs: 100 pieces of code, 47 KB, on 85 pages. As copies that were
made one after another they lie on 45.
"""

from __future__ import annotations

import array
import gc
import os
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from reed.zygote import cow_heap
from reed.zygote.clone import run_in_fork

_BLOCKS = 4  # show that an allocator's pool is new


def move_together(prepare: Callable[[], None], run: Callable[[], None], others: Iterable[Any]) -> None:
    """The code that `run` still changes after `prepare`, and that of the functions `others`.

    Both are called in a fork. `run` may confine its process, but must leave the standard streams alone.
    """
    functions = [each for each in gc.get_objects() if type(each) is types.FunctionType]
    written = _written_code(functions, prepare, run) | {id(each.__code__) for each in others}
    cow_heap.fill_holes()
    cow_heap.fill_pools(_BLOCKS)
    copies = [_copy(each.__code__, written) for each in functions]
    for each, code in zip(functions, copies, strict=True):  # only now, or a copy could take the place of a freed one
        if code is not each.__code__:
            each.__code__ = code


def _written_code(
    functions: Iterable[types.FunctionType], prepare: Callable[[], None], run: Callable[[], None]
) -> set[int]:
    """Ids, the same in this process as in its fork; none if that fails."""

    def observe() -> None:
        os.dup2(writing, 1)
        prepare()
        codes = list(_with_inner(each.__code__ for each in functions))
        before = [_bytecode(each) for each in codes]
        run()
        ids = [id(each) for each, then in zip(codes, before, strict=True) if _bytecode(each) != then]
        os.write(1, array.array("Q", ids).tobytes())

    reading, writing = os.pipe()
    observer = run_in_fork(observe)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        ids = pipe.read()
    return set(array.array("Q", ids)) if os.waitpid(observer, 0)[1] == 0 else set()


def _with_inner(codes: Iterable[types.CodeType]) -> Iterator[types.CodeType]:
    for code in codes:
        yield code
        yield from _with_inner(each for each in code.co_consts if type(each) is types.CodeType)


def _bytecode(code: types.CodeType) -> bytes:
    """With the counters, which are an implementation detail."""
    return getattr(code, "_co_code_adaptive", b"")


def _copy(code: types.CodeType, written: set[int]) -> types.CodeType:
    """The same object if nothing in it is written to."""
    constants = tuple(_copy(each, written) if type(each) is types.CodeType else each for each in code.co_consts)
    is_same = all(new is old for new, old in zip(constants, code.co_consts, strict=True))
    return code if is_same and id(code) not in written else code.replace(co_consts=constants)
