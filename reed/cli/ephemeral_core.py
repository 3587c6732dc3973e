"""A core for one command, in a child process, on the folders that `config` names.

    with EphemeralCore(config) as core:  # a Client
        core.plugin_start("simple-seo")

It stops at the end of the block, and when the command is killed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import NoReturn

from reed.client import Client
from reed.config import Config
from reed.errors import ReedError

_START_TIMEOUT = 30.0  # seconds
_STOP_TIMEOUT = 30.0  # includes the grace periods of the plugins
_POLL_INTERVAL = 0.02
_LOG_LINES = 10
_PR_SET_PDEATHSIG = 1


class EphemeralCore:
    def __init__(self, config: Config) -> None:
        self._log = config.data_dir / "core.log"
        self._config = replace(config, log_file=self._log)
        self._pid = 0
        self._client: Client | None = None

    def __enter__(self) -> Client:
        self._config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            ready.bind("")  # the kernel chooses an abstract name
            ready.settimeout(_POLL_INTERVAL)
            address = "@" + ready.getsockname()[1:].decode()
            parent = os.getpid()
            self._pid = os.fork()
            if not self._pid:
                _run_core(self._config, self._log, address, parent)
            try:
                self._wait_until_ready(ready)
                self._client = Client(self._config.runtime_dir / "core.sock", timeout=None)
            except BaseException:
                self._stop()
                raise
        return self._client

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._client is not None:
            self._client.close()
        self._stop()

    def _wait_until_ready(self, ready: socket.socket) -> None:
        until = time.monotonic() + _START_TIMEOUT
        while time.monotonic() < until:
            try:
                if ready.recv(64) == b"READY=1":
                    return
            except TimeoutError:
                if self._has_ended():
                    break
        lines = self._log.read_text("utf-8", "replace").splitlines()[-_LOG_LINES:] if self._log.exists() else []
        raise ReedError("\n    ".join(["the core did not start", *lines]))

    def _stop(self) -> None:
        """Send SIGTERM, and SIGKILL after the timeout."""
        if self._pid:
            os.kill(self._pid, signal.SIGTERM)  # the pid cannot be reused before waitpid()
        until = time.monotonic() + _STOP_TIMEOUT
        while not self._has_ended():
            if time.monotonic() > until:
                os.kill(self._pid, signal.SIGKILL)
            time.sleep(_POLL_INTERVAL)

    def _has_ended(self) -> bool:
        if self._pid and os.waitpid(self._pid, os.WNOHANG)[0]:
            self._pid = 0
        return not self._pid


def _run_core(config: Config, log: Path, ready: str, parent: int) -> NoReturn:
    """The child process."""
    status = 1
    try:
        os.setsid()  # Ctrl-C reaches only the command, which stops this core
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        for number, fd in enumerate((null, out, out)):
            os.dup2(fd, number)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        sys.stdout = sys.stderr = os.fdopen(2, "w", buffering=1, encoding="utf-8", errors="replace")
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        os.environ["NOTIFY_SOCKET"] = ready
        if os.getppid() == parent:
            from reed.serve import serve

            status = serve(config)
    except BaseException:  # noqa: BLE001 - goes to the log; the child must not return into the command
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(status)
