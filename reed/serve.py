"""`reed serve`: a Daemon with what an embedding program decides for itself (log, Unix signals, limits).

    SIGTERM, SIGINT   stop
    SIGHUP            reopen the log file, reload the registry
    SIGUSR2           restart ── check ─┬─ fails   refused: this core keeps running
                                        └─ drain ── exec ── the next core, with the same pid and core.sock

See reload-and-restart.md#restart-of-the-core.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

from reed.config import Config, unknown_variables
from reed.daemon import Daemon
from reed.errors import ReedError
from reed.log_file import LogHandler, open_log
from reed.process_handle import ProcessHandle
from reed.service_manager import ServiceManager
from reed.store.factory import check_driver
from reed.supervision.launch_spec import check_site
from reed.supervision.watched_process import ExitWatch
from reed.system_calls import denied, describe, memfd_create, needed
from reed.text import safe, safe_lines

_MIN_DESCRIPTORS = 4096
_UNIX_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)
_HANDED_OVER = "REED_HANDED_OVER"  # for the next core: the listening descriptor, the number of restarts
_CHECK_TIMEOUT = 20.0
_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD = -3, -1  # of mallopt(3)
_MMAP_THRESHOLD = 160 * 1024
_TRIM_THRESHOLD = 4 * 1024 * 1024
_MAX_OUTPUT = 64 * 1024  # of the check


def serve(config: Config) -> int:
    """Returns the exit status."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # if the parent ignored it, the kernel would reap children
    handler = LogHandler(config.log_file, config.limits.log_bytes)
    log = _logger(config.log_level, handler)
    _raise_descriptor_limit(log)
    _return_large_buffers()
    inherited, count = _handed_over()
    for name, hint in unknown_variables(os.environ).items():
        log.warning("unknown variable %s; %s", name, hint)
    with _unix_signals() as arrived:
        try:
            _check_log(config)
            daemon = Daemon(config, log, inherited, owns_process=True)
            daemon.start()
            handler.reopen()  # only now, so that stderr shows why a core does not start
        except ReedError as error:
            log.error("%s", safe_lines(str(error)))
            return 1
        except OSError as error:
            log.error("the core cannot start: %s", describe(error))
            return 1
        restart = Restart(daemon, count)
        manager = ServiceManager(os.environ)
        _on_unix_signals(arrived, daemon, restart, handler, manager)
        log.info("ready on %s (pid %d)", daemon.config.runtime_dir / "core.sock", os.getpid())
        problem = manager.ready(daemon.loop.call_later)
        if problem and not count:  # after a restart `reed start` no longer listens
            log.warning("%s", safe(problem))
        gc.freeze()  # a full collection would spend 11 ms of a turn on the present objects
        gc.set_threshold(700, 3, 33)  # not 10: a collection of the middle generation took 2 to 3 ms of a turn
        try:
            daemon.run()
        finally:
            daemon.close()
        if daemon.handed_over is not None:
            restart.execute(daemon.handed_over)
    log.info("stopped")
    return 0


def check(config: Config, environ: Mapping[str, str]) -> Sequence[str]:
    """Check what a restart needs besides imports and settings. Returns warnings or raises ReedError."""
    errors, warnings = check_site(config)
    errors = [*errors, *(f"unknown variable {name}; {hint}" for name, hint in unknown_variables(environ).items())]
    if errors:
        raise ReedError("\n".join(errors))
    check_driver(config.store)
    _check_log(config)
    return warnings


def _check_log(config: Config) -> None:
    if config.log_file is not None:
        os.close(open_log(config.log_file))


class Restart:
    """Checks this core's program in a child process, and then executes it in place."""

    def __init__(self, daemon: Daemon, count: int) -> None:
        self._daemon = daemon
        self._count = count
        self._refusals = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._publish(refused="")

    def request(self) -> None:
        """A refusal is logged and shown in SYSTEM_STATS."""
        if self._process is not None or self._daemon.handed_over is not None:
            return
        command = [sys.executable, *sys.orig_argv[1:], "--check"]
        unknown = unknown_variables(os.environ)  # nobody can remove them from a running process
        environ = {name: value for name, value in os.environ.items() if name not in unknown}
        try:
            with _anonymous_file() as file:
                self._process = process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True, env=environ
                )
                output = os.dup(file.fileno())
        except OSError as error:
            self._refuse(f"the check could not be started: {describe(error)}")
            return
        self._watch(process, output)

    def _watch(self, process: subprocess.Popen[bytes], output: int) -> None:
        """The last line of the check's output is the reason of a refusal."""
        handle = ProcessHandle(process.pid)
        timeout = self._daemon.loop.call_later(_CHECK_TIMEOUT, process.kill)

        def checked() -> None:
            handle.close()
            timeout.cancel()
            self._process = None
            lines = os.pread(output, _MAX_OUTPUT, 0).decode("utf-8", "replace").strip().splitlines()
            os.close(output)
            if process.wait() == 0:
                self._daemon.log.info("restarting")
                self._daemon.hand_over()
            else:
                self._refuse(lines[-1].strip() if lines else f"it did not end within {_CHECK_TIMEOUT:g} s")

        ExitWatch(self._daemon.loop, handle, checked)

    def execute(self, listening: int) -> None:
        """Unix signals stay pending until the next core handles them."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _UNIX_SIGNALS)
        os.set_inheritable(listening, True)
        os.environ[_HANDED_OVER] = f"{listening} {self._count + 1}"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])

    def _refuse(self, reason: str) -> None:
        self._refusals += 1
        self._daemon.log.error("the restart was refused, this core keeps running: %s", safe(reason))
        self._publish(reason)

    def _publish(self, refused: str) -> None:
        self._daemon.restarts = {
            "restarts": self._count,
            "restarts_refused": self._refusals,
            "restart_refused": refused,
        }


def _anonymous_file() -> IO[bytes]:
    """In memory, because /tmp may be missing or read-only."""
    try:
        return os.fdopen(memfd_create("reed-check"), "w+b", buffering=0)
    except OSError as error:
        if not denied(error):
            raise
        import tempfile  # takes half a megabyte

        return tempfile.TemporaryFile()


def _handed_over() -> tuple[int | None, int]:
    words = os.environ.pop(_HANDED_OVER, "").split()
    return (int(words[0]), int(words[1])) if len(words) == 2 else (None, 0)


@contextlib.contextmanager
def _unix_signals() -> Iterator[socket.socket]:
    """A socket that receives the numbers of Unix signals."""
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)
    before = {number: signal.signal(number, _ignore) for number in _UNIX_SIGNALS}
    wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _UNIX_SIGNALS)
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        reader.close()
        writer.close()


def _on_unix_signals(
    arrived: socket.socket, daemon: Daemon, restart: Restart, handler: LogHandler, manager: ServiceManager
) -> None:
    def reopen_log() -> None:
        try:
            handler.reopen()
        except ReedError as error:
            daemon.log.error("%s", error)

    def on_readable() -> None:
        for number in arrived.recv(64):
            if number == signal.SIGHUP:
                reopen_log()
                daemon.reload()
            elif number == signal.SIGUSR2:
                restart.request()
            elif number in _UNIX_SIGNALS:
                manager.stopping()
                daemon.stop()

    daemon.loop.watch(arrived.fileno(), on_readable)


def _ignore(_number: int, _frame: object) -> None:
    """The wake-up descriptor delivers the signal."""


def _logger(level: str, handler: LogHandler) -> logging.Logger:
    log = logging.getLogger("reed")
    log.handlers = [handler]
    log.setLevel(level.upper())
    log.propagate = False
    return log


def _return_large_buffers() -> None:
    """By default glibc keeps hundreds of MB after many incomplete requests. A lower threshold would cost a page fault
    for each 4 KB of a turn's responses. musl has no mallopt and needs none."""
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD)
        mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD)


def _raise_descriptor_limit(log: logging.Logger) -> None:
    with needed("prlimit64", "the limits of this process and its plugins"):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < _MIN_DESCRIPTORS:
        log.warning("only %d descriptors are allowed: many connections will be refused; raise `ulimit -n`", hard)
