"""Floods of connections and passed descriptors: others are still served."""

from __future__ import annotations

import array
import json
import os
import signal
import socket
import struct
import time
from pathlib import Path

import pytest

from reed.wire import frames
from reed.wire.codes import Command

CROWD = 2000
GET = frames.encode(Command.SNIPPET_GET, b"none".ljust(36, b"\0"))
# Connects to core.sock in a thread; `do` returns how often, and the last response.
LOOPING = """
import threading
PAUSE = 0.0005
COUNT, TOLD = [0], [""]
def connect_in_a_loop():
    while True:
        other = socket.socket(socket.AF_UNIX)
        try:
            other.connect(os.environ["REED_RUNTIME_DIR"] + "/core.sock")
            COUNT[0] += 1
            if COUNT[0] % 200 == 0:
                other.settimeout(0.2)
                TOLD[0] = other.recv(4096)[20:].decode("latin-1") or TOLD[0]
        except OSError:
            pass
        other.close()
        time.sleep(PAUSE)
threading.Thread(target=connect_in_a_loop, daemon=True).start()
main(lambda _: [COUNT[0], TOLD[0]])
"""
# The same without a pause, from several processes.
FLOODING = """
def flood(processes):
    for _ in range(processes):
        if os.fork() == 0:
            sock.close()
            while True:
                other = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
                other.connect_ex(os.environ["REED_RUNTIME_DIR"] + "/core.sock")
                other.close()
main(flood)
"""
# Passes descriptors with frames on the plugin's own socket.
PASSING = """
import array
def pass_descriptors(count):
    files = [os.open("/dev/null", os.O_RDONLY) for _ in range(20)]
    passed = 0
    for _ in range(count):
        frame = HEADER.pack(0x52454544, 1, 4, 1, 0, 36) + b"none".ljust(36, b"\\0")  # ASYNC
        try:
            sock.sendmsg([frame], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))])
            passed += 1
        except OSError:
            sock.sendall(frame)
    for fd in files:
        os.close(fd)
    return passed
main(pass_descriptors)
"""


def connects_at_once(path: Path) -> socket.socket:
    """Connect without waiting; BlockingIOError if the backlog is full."""
    sock = socket.socket(socket.AF_UNIX)
    sock.setblocking(False)
    try:
        sock.connect(str(path))
    except OSError:
        sock.close()
        raise
    return sock


def test_many_simultaneous_connections_are_all_served(ground, row) -> None:
    if int(Path("/proc/sys/net/core/somaxconn").read_text()) <= CROWD:
        pytest.skip("net.core.somaxconn is too small")
    ground.config = f"limits: {{user_connections: {CROWD + 100}}}\n"
    ground.start()
    line = row("2,000 connections at once", "all are served")
    os.kill(ground.pid, signal.SIGSTOP)  # so that all wait in the backlog
    try:
        crowd = [connects_at_once(ground.site.socket_path) for _ in range(CROWD)]
    finally:
        os.kill(ground.pid, signal.SIGCONT)
    for sock in crowd:
        sock.setblocking(True)
        sock.settimeout(30)
        sock.sendall(GET)
    for sock in crowd:
        assert sock.recv(100)
        sock.close()
        line.injected()
    line.lost = "0"


def test_a_plugin_that_connects_in_a_loop_does_not_starve_others(ground, times) -> None:
    ground.config = "sandbox: off\nlimits: {plugin_connects: 50}\n"
    ground.native("looping", LOOPING)
    client = ground.start()

    def so_far() -> tuple[int, str]:
        count, told = json.loads(bytes(client.plugin_send("looping", "do", 0).body))
        return count, told

    with ground.fault("a plugin that connects in a loop", "429 for it; others connect at once") as fault:
        ground.until(lambda: "limits.plugin_connects in reed.yaml is 50" in so_far()[1])
        before = so_far()[0], client.stats()["accepted"]
        for _ in range(times(200, 20_000)):
            with connects_at_once(ground.site.socket_path) as sock:
                sock.setblocking(True)
                sock.settimeout(30)
                sock.sendall(GET)
                assert sock.recv(100)
        after = so_far()[0], client.stats()["accepted"]
        fault.injected(after[0] - before[0])
    assert after[1] - before[1] < (after[0] - before[0]) / 2 + 300, (
        "most connections were looked up before they were refused"
    )
    assert "plugin looping" in ground.site.log.read_text()
    assert ground.site.log.read_text().count("connections a second") < 5


def test_a_plugin_that_floods_core_sock_is_killed(ground) -> None:
    ground.config = "sandbox: off\nlimits: {plugin_connects: 50}\n"
    ground.native("flooding", FLOODING)
    client = ground.start()
    with ground.fault("a plugin that floods core.sock", "killed with its processes") as fault:
        client.plugin_send("flooding", "do", 4)
        ground.until(lambda: client.plugin_health("flooding")[0]["restarts"] > 0, timeout=60)
        fault.injected(4)
    assert "flooding: killed: 2000 connections within a second" in ground.site.log.read_text()
    ground.until(lambda: len(ground.descendants()) <= 4, "its processes live on")


def test_a_plugin_within_its_connect_rate_is_not_refused(ground) -> None:
    ground.config = "sandbox: off\nlimits: {plugin_connects: 100}\n"
    ground.native(
        "calm",
        """
def connect(count):
    answered = 0
    for _ in range(count):
        time.sleep(0.02)
        with socket.socket(socket.AF_UNIX) as other:
            other.connect(os.environ["REED_RUNTIME_DIR"] + "/core.sock")
            other.sendall(HEADER.pack(0x52454544, 1, 4, 0, 0, 36) + b"none".ljust(36, b"\\0"))
            answered += b"connections a second" not in other.recv(4096)
    return answered
main(connect)
""",
    )
    client = ground.start()
    assert json.loads(bytes(client.plugin_send("calm", "do", 150).body)) == 150
    assert "connections a second" not in ground.site.log.read_text()


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


@pytest.mark.parametrize("name", ["core.sock", "monitor.sock"])
def test_passed_descriptors_do_not_stay_open(ground, times, name) -> None:
    client = ground.start()
    client.search("anything")  # the core opens the index
    files = [os.open("/dev/null", os.O_RDONLY) for _ in range(50)]
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))]
    before = descriptors(ground.pid)
    with ground.fault(f"descriptors passed on {name}", "none stays open in the core") as fault:
        for _ in range(times(50, 5000)):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(20)
                sock.connect(str(ground.site.runtime_dir / name))
                for part in (GET[:10], GET[10:], GET):  # also in the middle of a frame
                    try:
                        sock.sendmsg([part], rights)
                    except OSError:  # rejected by the kernel (Linux 6.16)
                        break
            fault.injected(150)
        ground.until(lambda: client.stats()["connections"] <= 2)
    for fd in files:
        os.close(fd)
    ground.until(lambda: descriptors(ground.pid) <= before + 2, "descriptors stayed open")


def test_descriptors_passed_on_a_plugins_socket_do_not_stay_open(ground) -> None:
    ground.config = "sandbox: off\n"
    ground.native("passing", PASSING)
    client = ground.start()
    client.search("anything")  # the core opens the index
    before = descriptors(ground.pid)
    with ground.fault("descriptors passed on a plugin's socket", "none stays open in the core") as fault:
        for _ in range(5):
            assert client.plugin_send("passing", "do", 20).status == 200
            fault.injected(400)
    ground.until(lambda: descriptors(ground.pid) <= before + 2, "descriptors stayed open")


def test_a_passed_lingering_socket_does_not_block_the_core(ground) -> None:
    """Closing its last descriptor blocks until everything is sent: here, for 30 s."""
    ground.start()
    with socket.socket(socket.AF_UNIX) as sock, socket.create_server(("127.0.0.1", 0)) as server:
        try:
            sock.getsockopt(socket.SOL_SOCKET, 83)  # SO_PASSRIGHTS
        except OSError:
            pytest.skip("the kernel lacks SO_PASSRIGHTS (Linux 6.16)")
        sock.connect(str(ground.site.socket_path))
        lingering = socket.create_connection(server.getsockname())
        held, _ = server.accept()
        lingering.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 30))
        fill(lingering)
        with ground.fault("a passed socket that lingers", "rejected by the kernel") as fault:
            with pytest.raises(PermissionError):
                sock.sendmsg([GET], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [lingering.fileno()]))])
            fault.injected()
        held.close()
        lingering.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))
        lingering.close()


def fill(sock: socket.socket) -> None:
    sock.setblocking(False)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            sock.send(b"x" * 65536)
        except BlockingIOError:
            return
