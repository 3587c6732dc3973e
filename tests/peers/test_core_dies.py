"""The core dies, or a plugin gets new code, while messages and calls of Lua and Rust plugins are in flight."""

from __future__ import annotations

import fcntl
import os
import select
import shutil
import signal
import sys
import termios
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from reed.client import Client, NoAnswer
from reed.system_calls import pidfd_open, pidfd_send_signal

LANGUAGES = (("lua", "rust"), ("rust", "lua"))
PADDING = 1000  # characters; a pipe takes 64 KiB
MESSAGES = 600
ROUNDS = 3
DEEP_SLEEP = "sleep: {after: 200ms, mode: deep}\n"


def bytes_in_pipe(pair) -> int:
    pipe = os.open(pair.site.runtime_dir / "fifos/writer→reader", os.O_RDONLY | os.O_NONBLOCK)
    try:
        return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)
    finally:
        os.close(pipe)


def next_core(pair) -> None:
    """Kill the core and start the next one."""
    pair.core.close()
    pair.site.kill()
    pair.site.start()
    pair.core = Client(pair.site.socket_path)


def adopted(pair, pids: dict[str, int]) -> None:
    for name, pid in pids.items():
        figures = pair.figures(name)
        assert (figures["pid"], figures["restarts"]) == (pid, 0), f"{name} was adopted"


@pytest.mark.parametrize("reads", ["stopped", "busy"])
@pytest.mark.parametrize("languages", LANGUAGES, ids="-".join)
def test_messages_queued_in_the_writer_survive_the_core(pair_of, languages, reads) -> None:
    """The reader is suspended, or is in a long handler and has read some messages."""
    pair = pair_of(*languages)
    pids = {name: pair.figures(name)["pid"] for name in ("writer", "reader")}
    first = 1
    if reads == "stopped":
        pair.suspend("reader")
    else:
        pair.shut_gate("reader")
        pair.post(1, 1)
        pair.at_gate("reader")
        first = 2
    posted = pair.call("writer", "post", {"from": first, "to": MESSAGES, "padding": PADDING})
    assert posted == {"sent": MESSAGES - first + 1}
    assert 0 < bytes_in_pipe(pair) < MESSAGES * PADDING / 2, "the rest is in the writer"
    next_core(pair)
    if reads == "stopped":
        pair.resume("reader")
    else:
        pair.open_gate("reader")
    pair.gets(list(range(1, MESSAGES + 1)), "the writer sends what it has queued")
    assert pair.call("writer", "ask", 21) == 42
    adopted(pair, pids)


@contextmanager
def about_to_post(pair, first: int, last: int) -> Iterator[None]:
    """The writer is about to post these numbers and its reader is in deep sleep; the core is killed at the end."""
    with ThreadPoolExecutor(1) as others, Client(pair.site.socket_path) as other:
        pair.shut_gate("writer")
        asked = {"from": first, "to": last, "padding": PADDING}
        answer = others.submit(other.plugin_send, "writer", "post", asked)
        pair.at_gate("writer")
        asleep = ("sleeping", None)
        pair.until(lambda: (pair.figures("reader")["state"], pair.figures("reader")["pid"]) == asleep, "it is awake")
        yield
        pair.core.close()
        pair.site.kill()
        with pytest.raises(NoAnswer):
            answer.result(30)


@pytest.fixture(params=LANGUAGES, ids="-".join)
def pair_without_reader(pair_of, request):
    """The writer has more to send than the pipe holds, the reader is in deep sleep, and the core was killed.

    The core was suspended while the writer wrote, so it did not wake the reader.
    """
    pair = pair_of(*request.param, reader=DEEP_SLEEP)
    pair.pid = pair.figures("writer")["pid"]
    with about_to_post(pair, 1, MESSAGES):
        pair.site.process.send_signal(signal.SIGSTOP)
        pair.open_gate("writer")
        assert pair.posted() == {"sent": MESSAGES}
        assert 0 < bytes_in_pipe(pair) < MESSAGES * PADDING / 2, "the rest is in the writer"
    return pair


def test_the_next_core_wakes_the_reader_of_waiting_messages(pair_without_reader) -> None:
    pair = pair_without_reader
    pair.site.start()
    pair.core = Client(pair.site.socket_path)
    pair.gets(list(range(1, MESSAGES + 1)), "the writer sends what it has queued")
    adopted(pair, {"writer": pair.pid})
    log = (pair.site.data_dir / "logs/writer.log").read_text()
    assert log.count("FIFO to reader") <= 1, "logged once, not in each turn"


def test_a_writer_without_a_reader_ends_when_no_core_comes_back(pair_without_reader) -> None:
    pair = pair_without_reader
    process = pidfd_open(pair.pid)
    try:
        assert select.select([process], [], [], 30)[0], "it looks for a core for 10 s"
    finally:
        pidfd_send_signal(process, signal.SIGKILL)
        os.close(process)


@pytest.mark.parametrize("languages", LANGUAGES, ids="-".join)
def test_a_refused_message_is_not_sent_later(pair_of, languages) -> None:
    """Messages are refused only if the sandbox lets the writer open the FIFO write-only."""
    pair = pair_of(*languages, reader=DEEP_SLEEP)
    pair.post(1, 1)
    pair.gets([1])
    with about_to_post(pair, 2, 5):
        pair.site.kill()
        pair.open_gate("writer")
        sent = pair.posted()["sent"]
    pair.site.start()
    pair.core = Client(pair.site.socket_path)
    pair.post(6, 6)
    pair.gets([1, *range(2, 2 + sent), 6])


def double(client: Client, number: int) -> None:
    assert client.plugin_send("writer", "ask", number).body == b"%d" % (2 * number)


@pytest.mark.parametrize("languages", LANGUAGES, ids="-".join)
def test_new_code_of_a_rust_plugin_loses_no_call_and_no_message(pair_of, under_load, languages) -> None:
    pair = pair_of(*languages)
    name = ("writer", "reader")[languages.index("rust")]
    program = pair.site.root / "plugins" / name / name
    asking = under_load(double)
    for number in range(1, ROUNDS + 1):
        new = program.with_name(".new")
        shutil.copy2(program, new)
        os.utime(new, (number, number))
        new.replace(program)
        pair.core.plugin_reload()
        assert pair.figures(name)["generation"] == number + 1
        assert pair.call("writer", "ask", 4) == 8
    for each in asking:
        each.end()
    assert [each.errors for each in asking] == [[]] * 4
    assert all(each.answers for each in asking)
    assert pair.figures(name)["restarts"] == 0
