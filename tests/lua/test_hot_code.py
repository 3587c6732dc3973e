"""Code that a fork writes to is moved together, and does what it did before."""

from __future__ import annotations

import sys

import pytest

from tests.lua.own_process import run

SINCE_3_12 = pytest.mark.skipif(sys.version_info < (3, 12), reason="done only where objects are immortal")


@SINCE_3_12
def test_code_that_a_fork_writes_to_lies_on_fewer_pages() -> None:
    """Every tenth of 1,000 functions runs; CPython does not specialise an index into bytes."""
    assert (
        run("""
        from reed.zygote.hot_code import move_together

        made = {}
        for number in range(1000):
            exec(f"def call(value): return value[0] + {number}", made)
            made[number] = made["call"]
        hot = [made[number] for number in range(0, 1000, 10)]
        idle = [made[number].__code__ for number in range(5, 1000, 10)]

        def pages(): return len({id(each.__code__) // 4096 for each in hot})
        def run(): assert [each(b"\\x01") for each in hot] == list(range(1, 1001, 10))

        before = pages()
        move_together(lambda: [run() for _ in range(100)], run, ())
        run()
        stayed = [made[number].__code__ for number in range(5, 1000, 10)]
        print(pages() <= before / 2, all(one is other for one, other in zip(idle, stayed)))
        """)
        == "True True"
    )


def test_functions_do_what_they_did_before() -> None:
    """Methods, closures, generators, coroutines, defaults, inner functions and tracebacks."""
    assert (
        run("""
        import asyncio, functools, traceback
        from reed.zygote.hot_code import move_together

        def adder(first):
            def add(second, *more, factor=2, **named): return (first + second + sum(more)) * factor + len(named)
            return add

        class Point:
            def __init__(self, x): self._x = x
            @property
            def x(self): return self._x
            @classmethod
            def origin(cls): return cls(0)
            @staticmethod
            def unit(): return Point(1)
            def __add__(self, other): return Point(self._x + other.x)

        def count(most):
            for number in range(most):
                yield (lambda: number * number)()

        async def wait(value):
            await asyncio.sleep(0)
            return value

        @functools.lru_cache
        def cached(value): return object()

        def fails(): raise ValueError("on line 29")

        def results():
            add = adder(3)
            found = [add(4), add(4, 5, factor=3, a=1), (Point.origin() + Point.unit()).x, list(count(4))]
            try:
                fails()
            except ValueError as error:
                found.append([(each.name, each.line) for each in traceback.extract_tb(error.__traceback__)])
            return [*found, asyncio.run(wait(5)), cached(1) is cached(1)]

        old_adder, running, kept = adder(10), count(3), cached(1)
        next(running)
        before, code = results(), results.__code__
        move_together(results, results, [adder, count])
        assert results() == before == results()
        assert old_adder(1) == 22 and list(running) == [1, 4] and cached(1) is kept
        print(before[:4], adder(1)(1))
        """)
        == "[14, 37, 1, [0, 1, 4, 9]] 4"
    )


def test_code_stays_where_it_is_if_the_fork_fails() -> None:
    """The zygote goes on; its plugins take more memory."""
    assert (
        run("""
        import os, sys
        from reed.zygote.hot_code import move_together

        def run(): os._exit(3)
        def other(): return 1

        codes = run.__code__, other.__code__
        move_together(lambda: None, run, ())
        print((run.__code__, other.__code__) == codes)
        """)
        == "True"
    )


@pytest.mark.parametrize("module", ["pathlib", "urllib.parse", "ipaddress", "hashlib", "inspect", "subprocess"])
def test_the_zygote_does_not_import_what_no_plugin_in_lua_needs(module: str) -> None:
    """Each plugin would have its share of it."""
    assert run(f"import reed.zygote.process, sys\nprint({module!r} in sys.modules)") == "False"
