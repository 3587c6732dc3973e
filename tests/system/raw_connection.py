"""A connection to a core that sends bytes as they are, and reads the frames that come back."""

from __future__ import annotations

import socket
import struct
from pathlib import Path
from typing import NamedTuple

from reed.wire.structs import HEADER

DEADLINE = 30.0  # seconds


class Answer(NamedTuple):
    command_id: int
    flags: int
    status: int
    body: bytes


class RawConnection:
    def __init__(self, path: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(DEADLINE)
        self.sock.connect(str(path))

    def answer(self) -> Answer:
        _, _, command_id, flags, _, size = HEADER.unpack(self._exactly(HEADER.size))
        payload = self._exactly(size)
        return Answer(command_id, flags, struct.unpack_from("<H", payload)[0], payload[2:])

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self.sock.recv(size - len(data))
            assert more, f"the core closed the connection after {len(data)} of {size} bytes"
            data += more
        return data
