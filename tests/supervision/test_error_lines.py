"""Which lines of a process's output an error about it shows: what went wrong, and no stack trace."""

from __future__ import annotations

import pytest

from reed.supervision.output import ErrorLines


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (
            "starting\nerror: seo: main.lua:4: no database\n  \tmain.lua:4: in upvalue 'deep'\n  \tmain.lua:6: in main",
            ["starting", "error: seo: main.lua:4: no database"],
        ),
        (
            'Traceback (most recent call last):\n  File "/p/seo", line 7, in <module>\n    a()\n    ~^^\n'
            "ValueError: no database",
            ["ValueError: no database"],
        ),
        (
            "thread 'main' panicked at src/main.rs:3:5:\nno database\nstack backtrace:\n   0: rust_begin_unwind\n"
            "             at /rustc/x/lib.rs:1\nnote: run with `RUST_BACKTRACE=1` environment variable",
            ["thread 'main' panicked at src/main.rs:3:5:", "no database"],
        ),
        (
            "panic: no database\n\ngoroutine 1 [running]:\nmain.main()\n\t/p/main.go:4 +0x1d\nexit status 2",
            ["panic: no database"],
        ),
        ("one\ntwo\nthree\nfour", ["two", "three", "four"]),
        ("", []),
    ],
)
def test_stack_traces_are_left_out(written: str, kept: list[str]) -> None:
    at_once, in_pieces = ErrorLines(), ErrorLines()
    lines = [line for line in written.split("\n") if line]
    at_once.extend(lines)
    for line in lines:
        in_pieces.extend([line])
    assert list(at_once) == list(in_pieces) == kept
