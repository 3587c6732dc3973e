"""Immortal objects: what a process can still do whose objects all are, and on which Pythons they are made."""

from __future__ import annotations

import sys

import pytest

from tests.lua.own_process import run

SINCE_3_12 = pytest.mark.skipif(sys.version_info < (3, 12), reason="Python has immortal objects from 3.12 on")


@SINCE_3_12
def test_no_count_of_an_object_changes_any_more() -> None:
    """Those of a function, its code, constants, names and defaults, a class, an instance and its values."""
    assert (
        run("""
        import ctypes
        from reed.zygote.immortal import make_everything_immortal

        class Point:
            scale = 1234.5
            def __init__(self, x): self.x = x
            def times(self, factor=54321.5): return self.x * factor + 98765.25

        def words(objects): return [ctypes.c_uint64.from_address(id(each)).value for each in objects]

        point, code = Point([7.5]), Point.times.__code__
        looked_at = [Point, Point.__dict__["times"], code, code.co_names, *code.co_names, *code.co_consts,
                     *Point.times.__defaults__, point, point.x, point.x[0], Point.scale, __builtins__, globals()]
        assert make_everything_immortal() > 1000
        before = words(looked_at)
        for _ in range(1000):
            kept = [Point, point, point.x, *code.co_consts, Point.scale, Point.times, globals()] * 10
            Point(2.5).times(), point.times, {code: kept}
            del kept
        print(words(looked_at) == before)
        """)
        == "True"
    )


@SINCE_3_12
def test_what_is_made_later_is_freed() -> None:
    """Objects that immortal ones refer to, cycles through them, and what an immortal container held before."""
    assert (
        run("""
        import gc, weakref
        from reed.zygote.immortal import make_everything_immortal

        class Node: pass
        table, items, node = {}, [], Node()
        make_everything_immortal()
        gc.freeze()

        def dies(make, drop):
            watched = weakref.ref(make())
            drop()
            gc.collect()
            return watched() is None

        def in_table(): table["a"] = Node(); return table["a"]
        def in_list(): items.append(Node()); return items[0]
        def in_attribute(): node.other = Node(); return node.other
        def in_cycle(): made = Node(); made.self, made.immortal = made, node; return made
        print(dies(in_table, table.clear), dies(in_list, items.clear),
              dies(in_attribute, lambda: delattr(node, "other")), dies(in_cycle, lambda: None))
        """)
        == "True True True True"
    )


@SINCE_3_12
def test_a_process_of_immortal_objects_works_as_before() -> None:
    """Among it what CPython does in place if a count is 1: strings, bytes, buffers, tuples of iterators."""
    assert (
        run("""
        import asyncio, functools, gc, io, itertools, json, re, sys, threading
        from reed.zygote.immortal import make_everything_immortal

        text, data, buffer, out = "text " * 50, b"data" * 50, io.BytesIO(b"some bytes"), io.StringIO("some text")
        pairs, products, counted = zip(range(9), range(9)), itertools.product("ab", repeat=2), enumerate("abc")
        next(pairs), next(products), next(counted)
        array, view = bytearray(b"abc"), memoryview(bytearray(4))
        cached = functools.lru_cache(maxsize=2)(lambda value: value * 2)
        cached(1), cached(2)
        def count_up():
            number = 0
            while True:
                number += 1
                yield number
        numbers = count_up()
        next(numbers)
        make_everything_immortal()
        gc.freeze()

        longer = text
        longer += "and more"
        text += "and more"
        data += b"and more"
        buffer.seek(0, 2), buffer.write(b" and more"), out.seek(0, 2), out.write(" and more")
        array += b"def"
        view[1] = 7
        assert longer == text and text.endswith("text and more") and data.endswith(b"dataand more")
        assert buffer.getvalue() == b"some bytes and more" and out.getvalue() == "some text and more"
        assert array == b"abcdef" and view.tolist() == [0, 7, 0, 0]
        assert list(pairs)[:2] == [(1, 1), (2, 2)] and list(products) == [("a", "b"), ("b", "a"), ("b", "b")]
        assert list(counted) == [(1, "b"), (2, "c")] and [cached(n) for n in (1, 2, 3, 1)] == [2, 4, 6, 2]
        assert [next(numbers) for _ in range(3)] == [2, 3, 4]
        assert sys.intern("".join(["in", "terned"])) is sys.intern("".join(["inter", "ned"]))
        assert json.loads(json.dumps({"a": [1.5, None, "x"]})) == {"a": [1.5, None, "x"]}
        assert re.sub("(b+)", r"<\\1>", "abba") == "a<bb>a"
        type("Made", (dict,), {"__slots__": ()})(a=1)
        json.JSONEncoder.extra = 1
        del json.JSONEncoder.extra
        try:
            raise ValueError("one") from KeyError("two")
        except ValueError as error:
            assert str(error.__cause__) == "'two'" and error.__traceback__.tb_frame.f_locals["text"] is text
        threads = [threading.Thread(target=sum, args=[range(1000)]) for _ in range(3)]
        [each.start() for each in threads], [each.join() for each in threads]
        async def main(): return await asyncio.gather(asyncio.sleep(0, 1), asyncio.sleep(0.001, 2))
        assert asyncio.run(main()) == [1, 2]
        for _ in range(3): gc.collect()
        print("works")
        """)
        == "works"
    )


@pytest.mark.parametrize(
    "made_unknown",
    [
        "immortal._MARKS.clear()",
        "immortal._MARKS[sys.version_info[:2]] = immortal._Mark(5, 0)",  # not how this Python marks them
        "sys.abiflags = 'd'",
        "sys.abiflags = 't'",
        "sys.byteorder = 'big'",
    ],
)
def test_a_python_that_is_not_known_is_left_alone(made_unknown: str) -> None:
    assert (
        run(f"""
        import sys
        from reed.zygote import immortal
        {made_unknown}
        class Mortal: pass
        print(immortal.make_everything_immortal(), sys.getrefcount(Mortal) < 100)
        """)
        == "0 True"
    )
