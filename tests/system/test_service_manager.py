"""A service manager, here a socket of this test, is told when the core serves, lives and stops (sd_notify)."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from reed.client import Client

PATIENCE = 20.0


class Manager:
    """A process that starts a core as systemd does, and reads what that says."""

    def __init__(self, site, address: str) -> None:
        self._site = site
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.settimeout(PATIENCE)
        self._address = address
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, **environ: str) -> None:
        with self._site.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._site.command(),
                cwd=self._site.root,
                env={**self._site.environ, "NOTIFY_SOCKET": self._address, **environ},
                stdout=log,
                stderr=log,
            )

    def next(self) -> str:
        return self._socket.recv(4096).decode()

    def next_but_watchdog(self) -> str:
        while (state := self.next()) == "WATCHDOG=1":
            pass
        return state

    def send_signal(self, number: int) -> None:
        self._process.send_signal(number)

    def exit_status(self) -> int:
        return self._process.wait(PATIENCE)

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request, site, tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(site, str(tmp_path / "notify") if request.param == "path" else f"@reed-test-{os.getpid()}")
    yield manager
    manager.close()


def test_it_is_told_when_the_core_serves_restarts_and_stops(site, manager: Manager) -> None:
    manager.start()
    assert manager.next() == "READY=1"
    with Client(site.socket_path) as core:
        assert core.stats()["restarts"] == 0
    manager.send_signal(signal.SIGUSR2)
    assert manager.next() == "READY=1"
    with Client(site.socket_path) as core:
        assert core.stats()["restarts"] == 1
    manager.send_signal(signal.SIGTERM)
    assert manager.next() == "STOPPING=1"
    assert manager.exit_status() == 0
    assert "NOTIFY_SOCKET" not in site.log.read_text()


def test_a_watchdog_hears_from_the_loop_again_and_again(site, manager: Manager) -> None:
    """A core that is suspcore says nothing, and so would one whose loop hangs."""
    manager.start(WATCHDOG_USEC="20000")
    assert [manager.next() for _ in range(4)] == ["READY=1", *["WATCHDOG=1"] * 3]
    manager.send_signal(signal.SIGTERM)
    assert manager.next_but_watchdog() == "STOPPING=1"
    assert manager.exit_status() == 0


def test_a_watchdog_of_another_process_hears_nothing(site, manager: Manager) -> None:
    manager.start(WATCHDOG_USEC="20000", WATCHDOG_PID="1")
    assert manager.next() == "READY=1"
    with Client(site.socket_path) as core:
        core.stats()
    manager.send_signal(signal.SIGTERM)
    assert manager.next() == "STOPPING=1"


def test_a_manager_that_cannot_be_reached_is_reported_once(site, tmp_path: Path) -> None:
    nobody = tmp_path / "nobody"
    environ = {**site.environ, "NOTIFY_SOCKET": str(nobody)}
    core = subprocess.Popen(site.command(), cwd=site.root, env=environ, stderr=subprocess.PIPE, text=True)
    lines = []
    while "READY=1" not in (line := core.stderr.readline()):
        assert line, lines
        lines.append(line)
    assert str(nobody) in line
    assert "No such file or directory" in line
    core.terminate()
    assert "READY=1" not in core.communicate(timeout=PATIENCE)[1]
