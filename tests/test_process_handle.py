"""ProcessHandle with and without pidfds: it recognises a reused pid."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from reed.core.listener import Peer, bind, is_peer_alive
from reed.process_handle import ProcessHandle, runs, start_time

SLEEPER = [sys.executable, "-c", "import sys; sys.stdin.read()"]


@pytest.fixture(params=[None, errno.EPERM, errno.ENOSYS], ids=["pidfd", "EPERM", "ENOSYS"])
def refused(request, monkeypatch) -> bool:
    """With the pidfd calls of this kernel, and with calls refused as by a seccomp profile."""
    if request.param is None:
        return False

    def refuse(*_: object) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(os, "pidfd_open", refuse)
    monkeypatch.setattr(signal, "pidfd_send_signal", refuse)
    return True


@pytest.fixture
def sleeper():
    process = subprocess.Popen(SLEEPER, stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


def test_unix_signals_and_waiting(refused, sleeper) -> None:
    with ProcessHandle(sleeper.pid) as process:
        assert (process.fd < 0) == refused
        assert process.is_same()
        assert not process.has_ended()
        assert process.wait() is None
        process.send(signal.SIGTERM)
        os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
        assert process.has_ended()
        result = process.wait()
        assert result is not None
        assert result.si_status == signal.SIGTERM
        with pytest.raises(ProcessLookupError):
            process.send(signal.SIGTERM)
        with pytest.raises(ChildProcessError):
            process.wait()
    sleeper.returncode = -signal.SIGTERM


def test_a_reused_pid_is_recognised(refused, sleeper) -> None:
    started = start_time(sleeper.pid)
    assert started is not None
    with pytest.raises(ProcessLookupError):
        ProcessHandle(sleeper.pid, started - 1)
    assert runs(sleeper.pid, started)
    assert not runs(sleeper.pid, started - 1)
    with ProcessHandle(sleeper.pid, started) as process:
        if refused:
            process.started -= 1  # as if its pid were another's now
            with pytest.raises(ProcessLookupError):
                process.send(signal.SIGKILL)
    assert sleeper.poll() is None


def test_a_peer_that_has_ended_is_recognised(refused, tmp_path: Path) -> None:
    listener = bind(tmp_path / "sock", None)
    listener.settimeout(20)
    code = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); sys.stdin.read()"
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "sock")], stdin=subprocess.PIPE)
    accepted: socket.socket = listener.accept()[0]
    with listener, accepted:
        peer = Peer(process.pid, os.getuid(), os.getgid(), ())
        assert is_peer_alive(accepted, peer)
        process.communicate()
        assert not is_peer_alive(accepted, peer)
