"""The core as a process of its own: what `reed serve` runs around a Daemon.

    Daemon ── the limit of descriptors ── SIGTERM, SIGINT: stop ── SIGHUP: log file, registry ── sd_notify

    SIGUSR2 ── check ─┬─ the code, the settings or the registry are broken    refused: this core goes on
                      └─ calls that were begun end ── exec ── the next core, with the same pid, core.sock listening on

A restart loses no acknowledged write and ends no plugin: the next core adopts them. Who connects meanwhile waits.

What a program that embeds a Daemon decides for itself: its log, its Unix signals, its limits.
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
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

from reed.config import Config, unknown_variables
from reed.daemon import Daemon
from reed.errors import ReedError
from reed.log_file import LogHandler, open_log
from reed.process_handle import ProcessHandle
from reed.supervision.launch_spec import check_site
from reed.supervision.watched_process import ExitWatch
from reed.system_calls import denied, describe, needed
from reed.text import safe, safe_lines

_FEW_DESCRIPTORS = 4096
_UNIX_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)
_HANDED_OVER = "REED_HANDED_OVER"  # from a core to the next: the descriptor that listens on core.sock, and a count
_CHECK_SECONDS = 20.0
_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD = -3, -1  # of mallopt(3)
_LARGE = 160 * 1024
_KEPT_FREE = 4 * 1024 * 1024
_MOST_SAID = 64 * 1024


def serve(config: Config) -> int:
    """Run a core in the foreground until SIGTERM or SIGINT; the exit status of the process."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored by a parent, children would vanish unwaited for
    _open_standard_descriptors()
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
            handler.reopen()  # only now: who started it sees on stderr why it does not start
        except ReedError as error:
            log.error("%s", safe_lines(str(error)))
            return 1
        except OSError as error:
            log.error("the core cannot start: %s", describe(error))
            return 1
        restart = Restart(daemon, count)
        _on_unix_signals(arrived, daemon, restart, handler)
        log.info("ready on %s (pid %d)", daemon.config.runtime_dir / "core.sock", os.getpid())
        _notify_ready()
        gc.freeze()  # what there is now stays: a full collection does not look through it (11 ms) in some turn
        try:
            daemon.run()
        finally:
            daemon.close()
        if daemon.handed_over is not None:
            restart.execute(daemon.handed_over)
    log.info("stopped")
    return 0


def check(config: Config, environ: Mapping[str, str]) -> Sequence[str]:
    """What a restart needs to be in order: this code was imported, the settings were read; the registry and the
    manifests are sound and have the same versions; every REED_ variable is known; the log file can be written.
    ReedError says what is not, a line each; gives warnings."""
    errors, warnings = check_site(config)
    errors = [*errors, *(f"unknown variable {name}; {hint}" for name, hint in unknown_variables(environ).items())]
    if errors:
        raise ReedError("\n".join(errors))
    _check_log(config)
    return warnings


def _check_log(config: Config) -> None:
    if config.log_file is not None:
        os.close(open_log(config.log_file))


class Restart:
    """The program that this core was started as, in its place: checked in a process beside it, then executed."""

    def __init__(self, daemon: Daemon, count: int) -> None:
        self._daemon = daemon
        self._count = count
        self._refusals = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._told(refused="")

    def ask(self) -> None:
        """Check, and restart if all is in order; else the reason is in the log and in SYSTEM_STATS."""
        if self._process is not None or self._daemon.handed_over is not None:
            return
        command = [sys.executable, *sys.orig_argv[1:], "--check"]
        unknown = unknown_variables(os.environ)  # of them it was warned at its start, and nobody can take them away
        environ = {name: value for name, value in os.environ.items() if name not in unknown}
        try:
            with _anonymous_file() as said:
                self._process = process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True, env=environ
                )
                output = os.dup(said.fileno())
        except OSError as error:
            self._refuse(f"the check could not be started: {describe(error)}")
            return
        self._watch(process, output)

    def _watch(self, process: subprocess.Popen[bytes], output: int) -> None:
        """Take the check's exit status and last line when it has ended; it has so many seconds."""
        handle = ProcessHandle(process.pid)
        late = self._daemon.loop.call_later(_CHECK_SECONDS, process.kill)

        def checked() -> None:
            handle.close()
            late.cancel()
            self._process = None
            lines = os.pread(output, _MOST_SAID, 0).decode("utf-8", "replace").strip().splitlines()
            os.close(output)
            if process.wait() == 0:
                self._daemon.log.info("restarting")
                self._daemon.hand_over()
            else:
                self._refuse(lines[-1].strip() if lines else f"it did not end within {_CHECK_SECONDS:g} s")

        ExitWatch(self._daemon.loop, handle, checked)

    def execute(self, listening: int) -> None:
        """Become that program. Unix signals that come meanwhile wait for it."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _UNIX_SIGNALS)
        os.set_inheritable(listening, True)
        os.environ[_HANDED_OVER] = f"{listening} {self._count + 1}"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])

    def _refuse(self, reason: str) -> None:
        self._refusals += 1
        self._daemon.log.error("the restart is refused, this core goes on: %s", safe(reason))
        self._told(reason)

    def _told(self, refused: str) -> None:
        self._daemon.restarts = {
            "restarts": self._count,
            "restarts_refused": self._refusals,
            "restart_refused": refused,
        }


def _anonymous_file() -> IO[bytes]:
    """In memory, since /tmp may be missing or read-only; a temporary file where memfd_create is refused."""
    try:
        return os.fdopen(os.memfd_create("reed-check"), "w+b", buffering=0)
    except OSError as error:
        if not denied(error):
            raise
        return tempfile.TemporaryFile()


def _handed_over() -> tuple[int | None, int]:
    """The descriptor that listens on core.sock, and how many restarts led here."""
    words = os.environ.pop(_HANDED_OVER, "").split()
    return (int(words[0]), int(words[1])) if len(words) == 2 else (None, 0)


@contextlib.contextmanager
def _unix_signals() -> Iterator[socket.socket]:
    """A socket that the numbers of Unix signals come through: they are handled in the loop, never in the handler."""
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)
    before = {number: signal.signal(number, _only_wake_up) for number in _UNIX_SIGNALS}
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


def _on_unix_signals(arrived: socket.socket, daemon: Daemon, restart: Restart, handler: LogHandler) -> None:
    """SIGTERM and SIGINT stop the core, SIGHUP opens the log and reads the registry again, SIGUSR2 restarts it."""

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
                restart.ask()
            elif number in _UNIX_SIGNALS:
                daemon.stop()

    daemon.loop.watch(arrived.fileno(), on_readable)


def _only_wake_up(_number: int, _frame: object) -> None:
    """The number comes through the wake-up descriptor."""


def _notify_ready() -> None:
    """Tell who started us that core.sock answers, by systemd's protocol (sd_notify)."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock, contextlib.suppress(OSError):
            sock.sendto(b"READY=1", "\0" + address[1:] if address.startswith("@") else address)


def _logger(level: str, handler: LogHandler) -> logging.Logger:
    log = logging.getLogger("reed")
    log.handlers = [handler]
    log.setLevel(level.upper())
    log.propagate = False
    return log


def _open_standard_descriptors() -> None:
    """Started with `2>&-`: no file that the core opens may become its stderr."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(fd)


def _return_large_buffers() -> None:
    """Buffers of 160 KB and more go back to the kernel when they are freed.

    Smaller ones, as the answers to 100 pipelined requests in one turn, would cost a page fault for each 4 KB. By itself
    glibc raises that limit to 32 MB, and then keeps hundreds of MB after a crowd of requests that never became whole.
    musl has no mallopt, and does not keep them.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_FREE)


def _raise_descriptor_limit(log: logging.Logger) -> None:
    with needed("prlimit64", "the limits of this process and its plugins"):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < _FEW_DESCRIPTORS:
        log.warning("only %d descriptors are allowed: many connections will be refused; raise `ulimit -n`", hard)
