"""A core for one command: a fork of this process, whose folders the caller removes afterwards.

    with ForkedCore(config) as core:      core is a Client; the folders are those of `config`
        core.plugin_start("simple-seo")

A fork has imported reed already, so it serves in half the time of a new process. It ends with its parent, even if that
is killed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import traceback
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import NoReturn

from reed.client import Client
from reed.config import Config
from reed.core_process import CoreProcess, NotifySocket

_PR_SET_PDEATHSIG = 1


class ForkedCore:
    """See the module."""

    def __init__(self, config: Config) -> None:
        self._log = config.data_dir / "core.log"
        self._config = replace(config, log_file=self._log)

    def __enter__(self) -> Client:
        self._config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._log.touch(mode=0o600)
        with NotifySocket() as ready:
            parent = os.getpid()
            pid = os.fork()
            if not pid:
                _become_core(self._config, self._log, ready.address, parent)
            self._process = CoreProcess(pid, self._log)
            self._process.wait_until_ready(ready)
        try:
            self._client = Client(self._config.runtime_dir / "core.sock", timeout=None)
        except BaseException:
            self._process.stop()
            raise
        return self._client

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._client.close()
        self._process.stop()


def _become_core(config: Config, log: Path, ready: str, parent: int) -> NoReturn:
    """In the child: never returns, whatever happens."""
    status = 1
    try:
        os.setsid()  # Ctrl-C is for the command, which then stops the core
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        for number, fd in enumerate((null, output, output)):
            os.dup2(fd, number)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        sys.stdout = sys.stderr = os.fdopen(2, "w", buffering=1, encoding="utf-8", errors="replace")
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        os.environ["NOTIFY_SOCKET"] = ready
        if os.getppid() == parent:
            from reed.serve import serve

            status = serve(config)
    except BaseException:  # noqa: BLE001 - the log says why
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(status)
