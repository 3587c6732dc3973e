"""A plugin writes self→*, reads *→self, and opens no other FIFO; also FIFOs created later."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

KINDS = pytest.mark.parametrize("plugin_type", ["lua", "native"])


def opened(path: Path, flags: int) -> str:
    os.close(os.open(path, flags | os.O_NONBLOCK))
    return "open"


@KINDS
def test_a_plugin_opens_its_own_fifos_only(place, inside, needs, plugin_type: str) -> None:
    needs()
    fifos, own = place.runtime / "fifos", place.runtime / "peers" / "me"
    held = os.open(fifos / "me→a", os.O_RDWR)  # like the core
    jobs = [
        lambda: opened(own / "to" / "a", os.O_WRONLY),
        lambda: opened(own / "from" / "a", os.O_RDONLY),
        lambda: opened(own / "to" / "a", os.O_RDONLY),
        lambda: opened(own / "from" / "a", os.O_WRONLY),
        lambda: opened(fifos / "me→a", os.O_WRONLY),
        lambda: opened(place.runtime / "peers" / "a" / "to" / "b", os.O_WRONLY),
        lambda: opened(fifos / "a→b", os.O_RDONLY),
        lambda: opened(fifos / "a→b", os.O_WRONLY),
        lambda: opened(fifos / "b→a", os.O_RDWR),
        lambda: str(os.listdir(fifos)),
        lambda: str(os.unlink(own / "to" / "a")),
        lambda: str(os.mkfifo(own / "to" / "c")),
    ]
    assert inside(place.rules(plugin_type), *jobs) == ["open", "open"] + ["EACCES"] * 10
    os.close(held)


@KINDS
def test_a_fifo_created_later_is_opened_by_its_link(place, inside, needs, plugin_type: str) -> None:
    needs()
    fifos, links = place.runtime / "fifos", place.runtime / "peers" / "me"
    foreign = place.runtime / "peers" / "a"

    def later() -> list[str]:
        """Tell the core that we are confined; when it has made the FIFOs, read and write."""
        os.write(ready_out, b"x")
        os.read(made_in, 1)
        text = os.read(os.open(links / "from" / "late", os.O_RDONLY | os.O_NONBLOCK), 100)
        os.write(os.open(links / "to" / "late", os.O_WRONLY | os.O_NONBLOCK), b"to you")
        return [text.decode()]

    made_in, made_out = os.pipe()
    ready_in, ready_out = os.pipe()
    core = os.fork()
    if core == 0:
        signal.alarm(20)
        try:
            os.read(ready_in, 1)
            for name, link in (("me→late", "to"), ("late→me", "from")):
                os.mkfifo(fifos / name, 0o600)
                os.link(fifos / name, links / link / "late")
            out = os.open(fifos / "me→late", os.O_RDWR)
            back = os.open(fifos / "late→me", os.O_RDWR)
            os.write(back, b"to me")
            os.write(made_out, b"x")
            os._exit(0 if os.read(out, 100) == b"to you" else 1)
        finally:
            os._exit(2)
    jobs = [
        later,
        lambda: opened(foreign / "to" / "b", os.O_WRONLY),
        lambda: opened(links / "to" / "late", os.O_RDONLY),
        lambda: opened(links / "from" / "late", os.O_WRONLY),
        lambda: opened(fifos / "me→late", os.O_WRONLY),
    ]
    rules = place.rules(plugin_type)
    assert inside(rules, *jobs, keep={ready_out, made_in}) == [["to me"]] + ["EACCES"] * 4
    assert os.waitstatus_to_exitcode(os.waitpid(core, 0)[1]) == 0
    for fd in (made_in, made_out, ready_in, ready_out):
        os.close(fd)
