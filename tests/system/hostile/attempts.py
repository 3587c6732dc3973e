"""What a hostile plugin tries from inside its process, and what it must be able to do (test_sandbox.py)."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import socket
from collections.abc import Callable
from typing import Any


def opened(path: str, flags: int) -> str:
    os.close(os.open(path, flags | os.O_NONBLOCK))
    return "done"


def connected(family: int, kind: int, address: Any) -> str:
    with socket.socket(family, kind) as sock:
        sock.settimeout(10)
        sock.connect(address)
        return "taken" if sock.recv(1) else "closed"


def forked() -> str:
    if os.fork() == 0:
        os._exit(0)
    return "done" if os.wait() else ""


def executed() -> str:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    return f"status {os.waitpid(pid, 0)[1]}"


def called(number: int, *arguments: int) -> str:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "")
    return "done"


def killed(pid: int) -> str:
    os.kill(pid, signal.SIGTERM)
    return "done"


def attempts(at: dict[str, Any]) -> dict[str, Callable[[], Any]]:
    """By name. `at` names the places and pids of the site."""
    run, site, own = at["runtime_dir"], at["site"], at["folder"]
    libc = ctypes.CDLL(None)
    return {
        "read a file of the system": lambda: opened("/etc/passwd", os.O_RDONLY),
        "read the content": lambda: opened(f"{site}/data/content.db", os.O_RDONLY),
        "read the settings": lambda: opened(f"{site}/reed.yaml", os.O_RDONLY),
        "read a neighbour's code": lambda: opened(f"{site}/plugins/neighbour/main.lua", os.O_RDONLY),
        "read a neighbour's memory": lambda: opened(f"/proc/{at['neighbour']}/mem", os.O_RDONLY),
        "read the core's environment": lambda: opened(f"/proc/{at['core']}/environ", os.O_RDONLY),
        "change its own code": lambda: opened(f"{own}/plugin.yaml", os.O_WRONLY),
        "write to the registry": lambda: opened(f"{site}/plugin-registry.csv", os.O_WRONLY),
        "write to /tmp": lambda: opened("/tmp/reed-hostile", os.O_WRONLY | os.O_CREAT),
        "write a data folder without file_write": lambda: opened(
            f"{site}/data/plugins/{at['name']}/x", os.O_WRONLY | os.O_CREAT
        ),
        "change the mode of its own code": lambda: os.chmod(f"{own}/plugin.yaml", 0o777),
        "remove core.sock": lambda: os.unlink(f"{run}/core.sock"),
        "connect by TCP": lambda: connected(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", at["port"])),
        "send by UDP": lambda: connected(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", at["port"])),
        "connect to a neighbour's socket": lambda: connected(
            socket.AF_UNIX, socket.SOCK_STREAM, f"{run}/plugins/neighbour.sock"
        ),
        "listen": lambda: socket.socket(socket.AF_UNIX).bind(f"{run}/plugins/own.sock"),
        "read a foreign FIFO": lambda: opened(f"{run}/fifos/neighbour→other", os.O_RDONLY),
        "write a foreign FIFO": lambda: opened(f"{run}/peers/neighbour/to/other", os.O_WRONLY),
        "read what it wrote to a neighbour": lambda: opened(f"{run}/peers/{at['name']}/to/neighbour", os.O_RDONLY),
        "kill the core": lambda: killed(at["core"]),
        "kill a neighbour": lambda: killed(at["neighbour"]),
        "trace a neighbour": lambda: "done" if libc.ptrace(16, at["neighbour"], 0, 0) == 0 else "EPERM",
        "leave its session": lambda: str(os.setsid()),
        "fork": forked,
        "execute": executed,
        "make a namespace": lambda: called({"x86_64": 272, "aarch64": 97}[os.uname().machine], 0x10000000),
        "load a kernel's program": lambda: called({"x86_64": 321, "aarch64": 280}[os.uname().machine], 0, 0, 0),
        # What it needs.
        "read its own folder": lambda: opened(f"{own}/plugin.yaml", os.O_RDONLY),
        "write to a neighbour": lambda: opened(f"{run}/peers/{at['name']}/to/neighbour", os.O_WRONLY),
        "read from a neighbour": lambda: opened(f"{run}/peers/{at['name']}/from/neighbour", os.O_RDONLY),
    }


def results(at: dict[str, Any]) -> dict[str, Any]:
    """The name of the error that the kernel answers with, or what came of it."""
    found = {}
    for name, attempt in attempts(at).items():
        try:
            found[name] = attempt()
        except OSError as error:
            found[name] = errno.errorcode.get(error.errno or 0, str(error))
    return found
