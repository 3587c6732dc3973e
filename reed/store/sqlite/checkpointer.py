"""The checkpointer: a process that copies the log (WAL) into the file, so that no turn of the core does it.

    core    COPY_SOME or COPY_ALL ───────────▶ checkpointer   copies, and syncs the file
              ▲                                     │
              └─────── Progress: frames ◀───────────┘         in the log, and not copied yet

It runs as `python -I -S` with this file's path, so it loads only SQLite and the standard library. It may be killed at
any time. It ends when the core closes the socket; when it is idle it first copies the rest and truncates the log.
"""

from __future__ import annotations

import mmap
import signal
import socket
import sqlite3
import struct
import sys
from typing import NamedTuple

COPY_SOME = b"s"  # unless there is little to copy
COPY_ALL = b"a"  # so that SQLite can restart the log
_MIN_FRAMES = 1000  # to copy for COPY_SOME: every checkpoint syncs the log and the file

# The wal-index ("WAL-mode File Format", 2.1), in the machine's byte order.
INDEX_SIZE = 136
FRAMES = struct.Struct("=16xI")  # mxFrame: frames in the log
_COPIED = struct.Struct("=96xI")  # nBackfill: frames copied into the file


class Progress(NamedTuple):
    """Frames (pages): in the log, and of those not in the file yet."""

    in_log: int
    left: int


PROGRESS = struct.Struct("=II")


def main() -> None:
    """checkpointer.py DATABASE IDLE_SECONDS; standard input is a SOCK_SEQPACKET socket. The core must have the database
    open."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the core
    path, idle_seconds = sys.argv[1], float(sys.argv[2])
    # Before SQLite opens it: closing any descriptor of the file drops SQLite's own locks on it.
    with open(path + "-shm", "rb") as file:
        header = mmap.mmap(file.fileno(), INDEX_SIZE, prot=mmap.PROT_READ)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA cache_size = 10")
    with socket.socket(fileno=0) as core:
        core.settimeout(idle_seconds)
        try:
            while request := core.recv(1):
                if request == COPY_ALL or _progress(header).left >= _MIN_FRAMES:
                    # Copies the frames that no reader's snapshot holds back; an error ends the process.
                    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                core.send(PROGRESS.pack(*_progress(header)))
        except TimeoutError:  # no commits: the core does not wait for this
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except (BrokenPipeError, ConnectionResetError):
            pass  # the core has ended


def _progress(header: mmap.mmap) -> Progress:
    (frames,), (copied,) = FRAMES.unpack_from(header), _COPIED.unpack_from(header)
    return Progress(frames, frames - copied)


if __name__ == "__main__":
    main()
