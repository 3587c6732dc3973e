"""A native plugin without an SDK that does whatever it is told: its action 1 takes Python, and answers `result`."""

import json
import os
import socket
import struct
import sys
import time

sys.path.insert(0, os.environ["REED_PLUGIN_DIR"])
HEADER = struct.Struct("<IBBBBI")
NAME, VERSION = os.environ["REED_PLUGIN_NAME"].encode(), os.environ["REED_PLUGIN_VERSION"].encode()
MANIFEST = b'{"actions": {"do": {"command_id": 1}}}'


def send(sock, command, payload, flags=0):
    sock.sendall(HEADER.pack(0x52454544, 1, command, flags, 0, len(payload)) + payload)


def receive(sock):
    header = sock.recv(HEADER.size, socket.MSG_WAITALL)
    if len(header) < HEADER.size:
        sys.exit()
    _, _, command, flags, _, size = HEADER.unpack(header)
    return command, flags, sock.recv(size, socket.MSG_WAITALL) if size else b""


def signal(sock, kind):
    send(sock, 0xF3, struct.pack("<BQ32sH", kind, time.time_ns() // 1000, NAME, 0), 2)


def ask(path, command, payload=b"", flags=0):
    """One request on a connection of its own: the status."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(path)
        send(sock, command, payload, flags)
        return int.from_bytes(receive(sock)[2][:2], "little")


core = socket.socket(socket.AF_UNIX)
core.connect(os.environ["REED_SOCKET"])
send(core, 0xF0, struct.pack("<32s16sII", NAME, VERSION, os.getpid(), len(MANIFEST)) + MANIFEST)
receive(core)
signal(core, 1)
while True:
    command, flags, payload = receive(core)
    if flags & 2:
        if payload[0] == 0x10 and not os.environ.get("STUBBORN"):
            sys.exit()
        if payload[0] == 0x13:
            signal(core, 1)
        continue
    scope = {"ask": ask, "send": send, "receive": receive, "core": core}
    try:
        exec(json.loads(payload), scope)
        body, status = json.dumps(scope.get("result")).encode(), 200
    except Exception as error:  # noqa: BLE001 - told to the test
        body, status = json.dumps(repr(error)).encode(), 200
    send(core, command, struct.pack("<H", status) + body, 8)
