"""A native plugin in Python without an SDK, for tests that need every byte of the protocol in their own hands."""

from __future__ import annotations

import os
import sys
from pathlib import Path

HEAD = """
import json, os, signal, socket, struct, subprocess, sys, time
HEADER, NAME = struct.Struct("<IBBBBI"), os.environ["REED_PLUGIN_NAME"]
sock = socket.socket(socket.AF_UNIX)
def send(command, payload, flags=0):
    sock.sendall(HEADER.pack(0x52454544, 1, command, flags, 0, len(payload)) + payload)
def read(size):
    data = b""
    while len(data) < size:
        data += sock.recv(size - len(data)) or sys.exit(0)
    return data
def receive():
    _, _, command, flags, _, size = HEADER.unpack(read(12))
    return command, flags, read(size)
def answer(command, body, status=200):
    send(command, struct.pack("<H", status) + body, 8)
def say(kind, data=b""):
    send(0xF3, struct.pack("<BQ32sH", kind, time.time_ns() // 1000, NAME.encode(), len(data)) + data, 2)
def ready():
    say(1)
def register(**actions):
    sock.connect(os.environ["REED_SOCKET"])
    manifest = json.dumps({"actions": {name: {"command_id": number} for name, number in actions.items()}}).encode()
    send(0xF0, struct.pack("<32s16sII", NAME.encode(), b"1.0.0", os.getpid(), len(manifest)) + manifest)
    receive()
    ready()
"""


def write(path: Path, code: str, python: str = sys.executable) -> None:
    """An executable file with these functions and the code, which registers and has a loop."""
    path.write_text(f"#!{os.path.realpath(python)} -IS\n{HEAD}\n{code}\n")
    path.chmod(0o755)
