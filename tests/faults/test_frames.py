"""Random and mutated frames, forged lengths, slow readers: the core answers or closes, and writes no traceback."""

from __future__ import annotations

import json
import os
import random
import socket
import struct
from pathlib import Path

from reed.wire import frames, structs
from reed.wire.codes import Command, Flag

FRAMES = 20_000  # multiplied by REED_FAULTS
BATCH = 200
END = frames.encode(0x7F, b"end of the batch")  # an unknown command: answered with 501, in order
TAILS = [b"", b"{}", b'{"a":1}', b'{"searchable":{"a":1}}', b"[", b'"x"', b'{"a":1,"a":2}', b'{"a":"\\ud800"}', b"\xff"]
WORDS = [b"page", b"hello", b"x", b"simple-seo", b"../../etc", b"", b"\xff" * 8, "é→".encode(), b"NULL", b"%s%n"]


def request_sizes() -> dict[Command, int]:
    """The size of each request's fixed part; for SNIPPET_RESTORE with the record's."""
    vectors = json.loads((Path(__file__).parent.parent / "vectors" / "wire.json").read_text(encoding="utf-8"))
    layouts = {entry["record"]: entry["layout"] for entry in vectors["payloads"]}
    sizes = {}
    for command in Command:
        layout, _, rest = layouts.get(command.request.rpartition(".")[2], "<").partition(" + ")
        sizes[command] = struct.calcsize(layout) + (structs.RECORD.size if rest else 0)
    return sizes


SIZES = request_sizes()


class Sender:
    """Sends frames and reads the responses; reconnects when the core closes."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.closed = 0
        self._connect()

    def _connect(self) -> None:
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.settimeout(10)
        self._sock.connect(self._path)

    def send(self, batch: list[bytes]) -> None:
        """Send a batch, and wait for the response to END or until the core closes."""
        try:
            self._sock.sendall(b"".join(batch) + END)
            tail = b""
            while b"no command 0x7F" not in tail:
                data = self._sock.recv(1 << 20)
                if not data:
                    raise ConnectionError("closed")
                tail = tail[-64:] + data
        except ConnectionError:
            self.closed += 1
            self._sock.close()
            self._connect()

    def close(self) -> None:
        self._sock.close()


def fields(rnd: random.Random, size: int) -> bytes:
    """Bytes that resemble the fields of a request, or random ones."""
    if rnd.random() < 0.3:
        return rnd.randbytes(size)
    made = b"".join(rnd.choice(WORDS).ljust(rnd.choice([4, 32, 32, 36, 36]), b"\0") for _ in range(4))
    return made[:size].ljust(size, b"\0")


def random_frame(rnd: random.Random) -> bytes:
    command = rnd.choice(list(SIZES)) if rnd.random() < 0.95 else rnd.randrange(256)
    size = SIZES.get(command, rnd.randrange(50))  # type: ignore[call-overload]
    payload = fields(rnd, size)
    if size > 4 and rnd.random() < 0.6:
        tail = rnd.choice(TAILS)
        length = struct.pack("<I", len(tail)) if rnd.random() < 0.9 else rnd.randbytes(4)
        payload = payload[:-4] + length + tail
    flags = rnd.choice([0, 0, 0, 0, Flag.ASYNC, Flag.SIGNAL, Flag.BROADCAST, Flag.RESPONSE, rnd.randrange(256)])
    frame = frames.encode(command, payload, flags)
    if rnd.random() < 0.002:  # rarely, since each of these closes the connection
        mutated = bytearray(frame)
        mutated[rnd.randrange(8)] ^= 1 << rnd.randrange(8)  # not the length: the core would wait for more
        return bytes(mutated)
    return frame


def test_random_frames_cause_no_crash_and_no_traceback(ground, times):
    seed = random.randrange(1 << 32)
    rnd = random.Random(seed)
    ground.plugins.append('simple-seo,lua,{},1.2.0,"snippet_read","admin",false,"is not there"')
    ground.start()
    sender = Sender(str(ground.site.socket_path))
    with ground.fault("random and mutated frames", "answered or closed, no traceback") as fault:
        for _ in range(times(FRAMES // BATCH)):
            sender.send([random_frame(rnd) for _ in range(BATCH)])
            assert ground.site.process.poll() is None, f"seed {seed}"
            fault.injected(BATCH)
        sender.close()
    assert ground.site.reed("status").returncode == 0


def test_forged_lengths_and_stalled_headers_take_no_memory_and_delay_nobody(ground, times):
    ground.start()
    with ground.fault("forged lengths, stalled half-headers", "no memory taken, nobody waits") as fault:
        for _ in range(times(1, 50)):
            before = memory(ground.pid)
            stalled = []
            for number in range(200):
                sock = socket.socket(socket.AF_UNIX)
                sock.connect(str(ground.site.socket_path))
                header = frames.header(Command.SNIPPET_GET, frames.MAX_PAYLOAD)
                sock.sendall(header if number % 2 else header[: number % 12])
                stalled.append(sock)
            assert ground.site.reed("status").returncode == 0
            assert memory(ground.pid) - before < 16 * 1024 * 1024
            for sock in stalled:
                sock.close()
            fault.injected(200)


def test_slow_readers_get_everything_and_delay_only_themselves(ground, times):
    """They request far more than the sockets hold, and read it in small pieces."""
    client = ground.start()
    client.snippet_create("page", "big", b'{"body":"%s"}' % (b"x" * 100_000))
    get = frames.encode(Command.SNIPPET_GET, b"big".ljust(36, b"\0"))
    record = len(client.call(Command.SNIPPET_GET, b"big".ljust(36, b"\0"))) + 12
    with ground.fault("slow readers", "each gets all of its responses") as fault:
        for _ in range(times(1, 50)):
            slow = []
            for _ in range(20):
                sock = socket.socket(socket.AF_UNIX)
                sock.settimeout(20)
                sock.connect(str(ground.site.socket_path))
                sock.sendall(get * 20)
                slow.append(sock)
            owed = dict.fromkeys(slow, 20 * record)
            while owed:
                for sock in list(owed):
                    owed[sock] -= len(sock.recv(min(owed[sock], 50_000)))
                    if not owed[sock]:
                        sock.close()
                        del owed[sock]
            fault.injected(20)


def memory(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
