"""The checkpointer: a process that copies what the log (WAL) holds into the file, so that no turn of the core does it.

    core    writes, and asks now and then ─────────▶ checkpointer   copies all, or what is worth it, and syncs the file
              ▲                                           │
              └─────────── frames in the log ◀────────────┘         and how many of them are not copied yet

Only SQLite and the standard library are loaded here (`python -I -S` with this file's path): it runs on its own copy of
nothing. It may be killed at any time, as any user of a WAL may. It ends by itself when the core's end of the socket
closes, and when it was not asked for a while; then it copies what is left, and gives back the log's space.
"""

from __future__ import annotations

import mmap
import signal
import socket
import sqlite3
import struct
import sys
from typing import NamedTuple

COPY_SOME = b"s"  # if there is enough to be worth it
COPY_ALL = b"a"  # so that the log may begin anew
_WORTH = 1000  # frames: a checkpoint syncs the log and the file

# The wal-index ("WAL-mode File Format", 2.1), in the machine's byte order.
INDEX_SIZE = 136
FRAMES = struct.Struct("=16xI")  # mxFrame: what the log holds
_COPIED = struct.Struct("=96xI")  # nBackfill: how much of it is in the file too


class Answer(NamedTuple):
    """Two numbers of frames (pages): in the log, and of those not in the file yet."""

    in_log: int
    left: int


ANSWER = struct.Struct("=II")


def main() -> None:
    """checkpointer.py DATABASE IDLE_SECONDS, with a socket of type SOCK_SEQPACKET as standard input.

    The core must have the database open.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the core's
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
                if request == COPY_ALL or _look(header).left >= _WORTH:
                    _checkpoint(connection)
                core.send(ANSWER.pack(*_look(header)))  # what was written meanwhile is there too
        except TimeoutError:  # nobody writes: nobody waits
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except (BrokenPipeError, ConnectionResetError):
            pass  # the core is gone


def _look(header: mmap.mmap) -> Answer:
    (frames,), (copied,) = FRAMES.unpack_from(header), _COPIED.unpack_from(header)
    return Answer(frames, frames - copied)


def _checkpoint(connection: sqlite3.Connection) -> None:
    """Copy what no reader's snapshot is in the way of; raises sqlite3.Error, and the process ends."""
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()


if __name__ == "__main__":
    main()
