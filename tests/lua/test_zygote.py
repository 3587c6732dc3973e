"""The zygote: requests, its end with the core, its death, prefaulting."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import mmap
import os
import select
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reed.errors import ReedError
from reed.system_calls import pidfd_open
from reed.zygote import cow_heap
from reed.zygote.client import Zygote
from reed.zygote.clone import AddressSpaceHolder
from reed.zygote.prefault import learn
from reed.zygote.request import MAX_REQUEST
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Workshop

DEADLINE_MS = 10_000
IDLE = 'require("reed").create_plugin {}.run()\n'


@pytest.fixture
def own_zygote(zygote: Zygote) -> Iterator[Zygote]:
    """A zygote that a test may kill (the other fixture has made this process a subreaper)."""
    own = Zygote()
    own.start()
    yield own
    own.stop()


def children() -> set[int]:
    return {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}


def open_files(pid: int) -> list[str]:
    """A process that starts opens and closes files meanwhile."""
    found = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(path))
    return found


def test_many_requests_at_once(workshop: Workshop) -> None:
    """No plugin finds a core, so each exits with a reason, as our child."""
    reading, writing = os.pipe()
    spec = workshop.spec(IDLE)  # written once: a plugin that starts would read half of it
    reports = [workshop.request(spec, writing) for _ in range(60)]
    pids = [pid for pid, reason in map(workshop.born, reports) if not reason]
    os.close(writing)
    assert len(set(pids)) == 60
    for pid in pids:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    with os.fdopen(reading) as output:
        lines = output.read().splitlines()
    assert lines == [f"error: demo: no core listens on {workshop.folder}/demo.sock"] * 60


def test_the_zygote_exits_when_its_core_dies(zygote: Zygote) -> None:
    """After kill -9 of the core only its socket closes."""
    own = Zygote()
    own.start()
    assert own.pid is not None
    pidfd = pidfd_open(own.pid)
    assert own._socket is not None
    own._socket.close()
    assert select.select([pidfd], [], [], DEADLINE_MS / 1000)[0], "the zygote outlives its core"
    os.close(pidfd)
    own._socket = None
    own.stop()


def test_a_pending_request_fails_when_the_zygote_dies(own_zygote: Zygote, workshop: Workshop) -> None:
    """It is stopped while it still imports, before a spare could read the request."""
    assert own_zygote.pid is not None
    os.kill(own_zygote.pid, signal.SIGSTOP)
    workshop.zygote = own_zygote
    report = workshop.request(workshop.spec(IDLE), 2)
    os.kill(own_zygote.pid, signal.SIGKILL)
    assert select.select([own_zygote], [], [], DEADLINE_MS / 1000)[0]
    assert workshop.born(report) == (0, "")
    own_zygote.stop()
    with pytest.raises(ReedError, match="not running"):
        workshop.request(workshop.spec(IDLE), 2)
    own_zygote.start()
    assert workshop.start_in_vain("error('alive')") == (1, "error: demo: main.lua:1: alive\n")


def test_the_spare_exits_after_the_zygote_was_killed(own_zygote: Zygote) -> None:
    before = children()
    spares = until(lambda: children() - before)
    assert own_zygote.pid is not None
    os.kill(own_zygote.pid, signal.SIGKILL)
    own_zygote.stop()
    for spare in spares:
        assert os.waitstatus_to_exitcode(os.waitpid(spare, 0)[1]) == 0


def test_a_request_beyond_the_limit_is_rejected(workshop: Workshop) -> None:
    spec = workshop.spec(IDLE, settings={"text": "x" * MAX_REQUEST})
    with pytest.raises(ReedError, match="a launch spec of"):
        workshop.request(spec, 2)


def test_the_zygote_inherits_no_descriptor_of_its_core(tmp_path: Path, zygote: Zygote) -> None:
    """If it held the core's socket, clients would wait for a dead core."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "core.sock"))
        listener.listen()
        own = Zygote()
        own.start()
        inode = os.fstat(listener.fileno()).st_ino
        held = open_files(own.pid)
        assert f"socket:[{inode}]" not in held
        own.stop()


def test_the_address_space_holder_exits_by_itself() -> None:
    before = children()
    child = os.fork()
    if child == 0:
        try:
            AddressSpaceHolder(0.05)()
            os.execv("/bin/sleep", ["sleep", "1000"])
        finally:
            os._exit(1)
    holders = until(lambda: children() - before - {child})
    (pid,) = holders
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert Path(f"/proc/{child}/comm").read_text() == "sleep\n"
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def test_learn_finds_the_pages_that_a_start_writes_to() -> None:
    """Four pages exist before the fork, which writes to one of them."""
    page = mmap.PAGESIZE
    with mmap.mmap(-1, 4 * page, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as block:
        block.write(b"x" * 4 * page)
        place = ctypes.addressof(ctypes.c_char.from_buffer(block))

        def play() -> None:
            block[2 * page] = 0

        runs = [(start, start + size) for start, size, _ in learn(play).runs]
        changed = [any(start <= place + at * page < end for start, end in runs) for at in range(4)]
        gc.collect()  # lets go of the block
    assert changed == [False, False, True, False]


def test_learn_finds_the_pages_of_a_file_that_a_start_reads(tmp_path: Path) -> None:
    """The kernel maps some pages around the one that is read, too."""
    page, count, read = mmap.PAGESIZE, 256, 200
    (tmp_path / "library").write_bytes(b"x" * count * page)
    with (
        (tmp_path / "library").open("rb") as file,
        mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ) as block,
    ):
        (place,) = (
            int(line.partition("-")[0], 16)
            for line in Path("/proc/self/maps").read_text().splitlines()
            if "library" in line
        )
        prefault = learn(lambda: block[read * page : read * page + 1])
        used = [any(at <= place + page * n < at + size for at, size, _ in prefault.runs) for n in (0, read)]
    assert used == [False, True]


def test_learn_finds_nothing_when_the_start_fails(capfd: pytest.CaptureFixture[str]) -> None:
    def play() -> None:
        raise RuntimeError("it fails")

    assert learn(play).runs == []
    assert "it fails" in capfd.readouterr().err


def test_a_libc_without_mallopt_is_accepted(monkeypatch) -> None:
    """musl has neither mallopt nor mallinfo2."""

    class Musl:
        malloc = free = None

    monkeypatch.setattr(cow_heap.ctypes, "CDLL", lambda _name: Musl)
    cow_heap.fill_holes()
    cow_heap.make_room()
