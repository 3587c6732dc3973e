"""The output of a plugin: in the core's log, in its file, and the last lines in memory."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reed.loop.loop import Loop
from reed.peer_log import PeerLog
from reed.supervision.output import DRAIN_LINES, LAST_LINES, LINE_BYTES, Capture, ErrorLines, PluginLog

STAMP = "2001-09-09T01:46:40.000Z"


@pytest.fixture
def loop() -> Iterator[Loop]:
    bugs: list[BaseException] = []
    made = Loop(on_exception=bugs.append)
    yield made
    made.close()
    assert not bugs


def plugin_log(path: Path, loop: Loop, file_bytes: int = 1024 * 1024) -> PluginLog:
    return PluginLog("seo", path, PeerLog(logging.getLogger("tests.output"), loop), lambda: 1e9, file_bytes)


def through_a_pipe(loop: Loop, log: PluginLog, *pieces: bytes) -> None:
    """Each piece is read in a turn of its own, then the pipe is closed."""
    read_fd, write_fd = os.pipe()
    capture = Capture(loop, read_fd, log)
    for piece in pieces:
        os.write(write_fd, piece)
        loop.turn(1)
    os.close(write_fd)
    capture.close()


def test_lines_go_to_the_log_the_file_and_memory(tmp_path: Path, loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    log = plugin_log(tmp_path / "seo.log", loop)
    with caplog.at_level(logging.INFO, "tests.output"):
        through_a_pipe(loop, log, b"one\ntw", b"o\n\nth", b"ree")
    assert list(log.last_lines) == ["one", "two", "three"]
    assert log.path.read_text() == f"{STAMP} one\n{STAMP} two\n{STAMP} three\n"
    assert caplog.messages == ["seo: one", "seo: two", "seo: three"]
    assert log.path.stat().st_mode & 0o777 == 0o600


def test_unprintable_output_is_escaped(tmp_path: Path, loop: Loop) -> None:
    log = plugin_log(tmp_path / "seo.log", loop)
    through_a_pipe(loop, log, "caf\u00e9 \x1b[31mred\x00\ttab \u202e\u2066\u2028".encode() + b"\xff\n")
    assert list(log.last_lines) == ["café \\x1b[31mred\\x00 tab \\u202e\\u2066\\u2028\ufffd"]


def test_a_long_line_is_cut_into_pieces(tmp_path: Path, loop: Loop) -> None:
    log = plugin_log(tmp_path / "seo.log", loop)
    through_a_pipe(loop, log, b"x" * (2 * LINE_BYTES + 5))
    assert [len(line) for line in log.last_lines] == [LINE_BYTES, LINE_BYTES, 5]


def test_a_flood_of_output_is_limited_in_the_cores_log(
    tmp_path: Path, loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    log = plugin_log(tmp_path / "seo.log", loop)
    with caplog.at_level(logging.INFO, "tests.output"):
        through_a_pipe(loop, log, b"".join(b"%d\n" % number for number in range(1000)))
    assert len(log.last_lines) == LAST_LINES
    assert log.last_lines[-1] == "999"
    assert len(log.path.read_text().splitlines()) == 1000
    assert len(caplog.messages) == 100


def test_of_very_many_lines_that_a_process_leaves_behind_the_last_are_kept(tmp_path: Path, loop: Loop) -> None:
    """A full pipe of short lines would hold up the loop for 80 ms."""
    log = plugin_log(tmp_path / "seo.log", loop)
    read_fd, write_fd = os.pipe()
    capture = Capture(loop, read_fd, log)
    count = 10_000
    os.write(write_fd, b"".join(b"%05d\n" % number for number in range(count)) + b"the end")
    os.close(write_fd)
    capture.close()
    lines = [line.partition(" ")[2] for line in log.path.read_text().splitlines()]
    assert lines[0] == f"-- {count - DRAIN_LINES} lines are missing here"
    assert lines[1:] == [f"{number:05d}" for number in range(count - DRAIN_LINES, count)] + ["the end"]
    assert capture.tail() == "; its last lines: 09998 | 09999 | the end"


def test_the_file_is_rotated(tmp_path: Path, loop: Loop) -> None:
    log = plugin_log(tmp_path / "seo.log", loop, file_bytes=1000)
    for number in range(100):
        log.write([f"{number:04}"])
    kept = (tmp_path / "seo.log.1").read_text().splitlines()
    now = (tmp_path / "seo.log").read_text().splitlines() if log.path.exists() else []
    assert [line[-4:] for line in kept + now][-1] == "0099"
    assert len(kept) + len(now) >= 30
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 2100


def test_a_removed_folder_of_logs_is_created_again(tmp_path: Path, loop: Loop) -> None:
    (tmp_path / "logs").mkdir()
    log = plugin_log(tmp_path / "logs/seo.log", loop)
    log.write(["one"])
    (tmp_path / "logs").rename(tmp_path / "old")
    log.write(["two"])
    assert log.path.read_text() == f"{STAMP} two\n"
    assert log.path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("obstacle", [os.mkdir, lambda path: os.symlink("/dev/full", path)])
def test_a_file_that_cannot_be_written_loses_only_lines_of_the_file(
    tmp_path: Path, loop: Loop, obstacle: Callable[[Path], None]
) -> None:
    log = plugin_log(tmp_path / "seo.log", loop)
    obstacle(log.path)
    log.write(["one"])
    log.write(["two", "three"])
    assert list(log.last_lines) == ["one", "two", "three"]
    os.rename(log.path, tmp_path / "away")
    log.write(["four"])
    assert log.path.read_text() == f"{STAMP} -- 3 lines are missing here\n{STAMP} four\n"


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
