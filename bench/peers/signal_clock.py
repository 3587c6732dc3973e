#!/usr/bin/env python3
"""A plugin without an SDK that tells how long signals took: from the core's timestamp in each to its being read here.

Action 1 answers with the microseconds of all signals since the last time it was asked.
"""

import json
import os
import socket
import struct
import time

HEADER = struct.Struct("<IBBBBI")
SIGNAL = struct.Struct("<BQ32sH")
NAME = b"signal-clock"
MANIFEST = b'{"actions": {"times": {"command_id": 1}}}'


def send(sock, command, payload, flags=0):
    sock.sendall(HEADER.pack(0x52454544, 1, command, flags, 0, len(payload)) + payload)


def receive(sock):
    header = sock.recv(HEADER.size, socket.MSG_WAITALL)
    if len(header) < HEADER.size:
        raise SystemExit
    _, _, command, flags, _, size = HEADER.unpack(header)
    return command, flags, sock.recv(size, socket.MSG_WAITALL) if size else b""


sock = socket.socket(socket.AF_UNIX)
sock.connect(os.environ["REED_SOCKET"])
send(sock, 0xF0, struct.pack("<32s16sII", NAME, b"1.0.0", os.getpid(), len(MANIFEST)) + MANIFEST)
receive(sock)
ready = SIGNAL.pack(1, 0, NAME, 0)
send(sock, 0xF3, ready, 2)
took = []
while True:
    command, flags, payload = receive(sock)
    if flags & 2:
        now = time.time_ns() // 1000
        kind, sent, _, _ = SIGNAL.unpack_from(payload)
        if kind == 0x10:
            break
        took.append(now - sent)
        send(sock, 0xF3, ready, 2)
    else:
        send(sock, command, struct.pack("<H", 200) + json.dumps(took).encode(), 8)
        took.clear()
