"""The core as a process of its own: what `reed serve` runs around a Daemon.

    Daemon ── the limit of descriptors ── SIGTERM, SIGINT: stop ── SIGHUP: read the registry again ── sd_notify

What a program that embeds a Daemon decides for itself: its log, its Unix signals, its limits.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import signal
import socket
from collections.abc import Iterator

from reed.config import Config
from reed.daemon import Daemon
from reed.errors import ReedError

_FEW_DESCRIPTORS = 4096


def serve(config: Config) -> int:
    """Run a core in the foreground until SIGTERM or SIGINT; the exit status of the process."""
    log = _logger(config.log_level)
    _raise_descriptor_limit(log)
    try:
        daemon = Daemon(config, log)
    except ReedError as error:
        log.error("%s", error)
        return 1
    with _unix_signals(daemon):
        log.info("ready on %s (pid %d)", config.runtime_dir / "core.sock", os.getpid())
        _notify_ready()
        try:
            daemon.run()
        finally:
            daemon.close()
    log.info("stopped")
    return 0


@contextlib.contextmanager
def _unix_signals(daemon: Daemon) -> Iterator[None]:
    """SIGTERM and SIGINT stop the core, SIGHUP reads the registry again: in the loop, never in the handler."""
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)

    def on_readable() -> None:
        for number in reader.recv(64):
            if number == signal.SIGHUP:
                daemon.reload()
            else:
                daemon.stop()

    daemon.loop.watch(reader.fileno(), on_readable)
    before = {number: signal.signal(number, _only_wake_up) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        reader.close()
        writer.close()


def _only_wake_up(_number: int, _frame: object) -> None:
    """The number comes through the wake-up descriptor."""


def _notify_ready() -> None:
    """Tell who started us that core.sock answers, by systemd's protocol (sd_notify)."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock, contextlib.suppress(OSError):
            sock.sendto(b"READY=1", "\0" + address[1:] if address.startswith("@") else address)


def _logger(level: str) -> logging.Logger:
    """Log lines go to stderr, with the time."""
    log = logging.getLogger("reed")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    log.handlers = [handler]
    log.setLevel(level.upper())
    log.propagate = False
    return log


def _raise_descriptor_limit(log: logging.Logger) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < _FEW_DESCRIPTORS:
        log.warning("only %d descriptors are allowed: many connections will be refused; raise `ulimit -n`", hard)
