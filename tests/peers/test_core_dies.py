"""The core dies, or a plugin gets new code, while two plugins in Lua and Rust have messages and calls under way."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import termios
import threading

import pytest

from reed.client import Client

PADDING = 1000  # characters; a pipe takes 64 KiB
MESSAGES = 600
ROUNDS = 3


def in_the_pipe(pair) -> int:
    """Bytes."""
    pipe = os.open(pair.site.runtime_dir / "fifos/writer→reader", os.O_RDONLY | os.O_NONBLOCK)
    try:
        return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)
    finally:
        os.close(pipe)


@pytest.mark.parametrize("languages", [("lua", "rust"), ("rust", "lua")], ids="-".join)
def test_what_no_pipe_has_room_for_outlives_the_core(pair_of, languages) -> None:
    pair = pair_of(*languages)
    pids = [pair.figures(name)["pid"] for name in ("writer", "reader")]
    pair.stop_there("reader")
    told = pair.call("writer", "post", {"from": 1, "to": MESSAGES, "padding": PADDING})
    assert told == {"sent": MESSAGES}
    assert 0 < in_the_pipe(pair) < MESSAGES * PADDING
    pair.core.close()
    pair.site.kill()
    pair.site.start()
    pair.core = Client(pair.site.socket_path)
    pair.go_on("reader")
    pair.gets(list(range(1, MESSAGES + 1)), "those that the writer has are sent")
    assert pair.call("writer", "ask", 21) == 42
    for name, pid in zip(("writer", "reader"), pids, strict=True):
        figures = pair.figures(name)
        assert (figures["pid"], figures["restarts"]) == (pid, 0), f"{name} was adopted"


class Asking:
    """Calls of `ask` without a pause, on a connection of its own."""

    def __init__(self, pair) -> None:
        self.answers = 0
        self.errors: list[BaseException] = []
        self._over = threading.Event()
        self._client = Client(pair.site.socket_path)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                assert self._client.plugin_send("writer", "ask", self.answers).body == b"%d" % (2 * self.answers)
                self.answers += 1
            except BaseException as error:  # noqa: BLE001
                self.errors.append(error)
                return

    def end(self) -> None:
        self._over.set()
        self._thread.join(60)
        self._client.close()


@pytest.mark.parametrize("languages", [("lua", "rust"), ("rust", "lua")], ids="-".join)
def test_new_code_of_a_rust_plugin_loses_no_call_and_no_message(pair_of, languages) -> None:
    pair = pair_of(*languages)
    name = ("writer", "reader")[languages.index("rust")]
    program = pair.site.root / "plugins" / name / name
    asking = [Asking(pair) for _ in range(4)]
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
