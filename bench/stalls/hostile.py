#!/usr/bin/env python3
"""A plugin without an SDK that does what it is told, as often as it is told: its actions are floods.

echo, echo_json   answers with its input                 check   a filter: the content as it came
do                {"what": NAME of a function below, …its arguments}
"""

import json
import os
import socket
import struct
import sys

NAME = os.environ["REED_PLUGIN_NAME"].encode()
HEADER = struct.Struct("<IBBBBI")  # magic, version, command_id, flags, reserved, payload_len
REGISTER = struct.Struct("<32s16sII")  # name, version, pid, length of the JSON that follows
SIGNAL = struct.Struct("<BQ32sH")  # signal_type, timestamp, plugin_name, length of the data that follows
FLAG_SIGNAL, FLAG_RESPONSE = 0x02, 0x08
PLUGIN_REGISTER, PLUGIN_SIGNAL = 0xF0, 0xF3
READY, PLUGIN_ERROR, SHUTDOWN_GRACEFUL = 0x01, 0x05, 0x10
ACTIONS = {"echo": 1, "echo_json": 2, "check": 3, "do": 4}


def frame(command, payload, flags=0):
    return HEADER.pack(0x52454544, 1, command, flags, 0, len(payload)) + payload


def signal(kind, data=b""):
    return frame(PLUGIN_SIGNAL, SIGNAL.pack(kind, 0, NAME, len(data)) + data, FLAG_SIGNAL)


def registration(manifest):
    return frame(PLUGIN_REGISTER, REGISTER.pack(NAME, b"1.0.0", os.getpid(), len(manifest)) + manifest)


def read(sock, size):
    data = bytearray(size)
    view = memoryview(data)
    while view:
        got = sock.recv_into(view)
        if not got:
            sys.exit(0)
        view = view[got:]
    return data


def receive(sock):
    _, _, command, flags, _, length = HEADER.unpack(read(sock, HEADER.size))
    return command, flags, read(sock, length)


def connect():
    sock = socket.socket(socket.AF_UNIX)
    folder, name = os.path.split(os.environ["REED_SOCKET"])
    os.chdir(folder)
    sock.connect(name)
    return sock


# What `do` does. The socket is the one of the call.


def signals(sock, kind, count, size):
    sock.sendall(signal(kind, b"\x1b[31m" * (size // 5)) * count)


def connections(_sock, count):
    """Opened, and closed together at the end."""
    opened = []
    for _ in range(count):
        try:
            opened.append(connect())
        except OSError:
            break


def register(_sock, shape, count):
    """On a connection of its own."""
    if shape == "lists":
        manifest = b'{"actions":{},"x":[' + b",".join([b"[]"] * count) + b"]}"
    else:
        manifest = json.dumps({"actions": {f"a{n}": {"command_id": 1 + n % 239} for n in range(count)}}).encode()
    with connect() as other:
        other.sendall(registration(manifest))
        receive(other)


def output(_sock, line, count):
    sys.stdout.write((("\x1b" * line) + "\n" if line else "x") * count)
    sys.stdout.flush()


def messages(_sock, to, count):
    """Invalid ones: the reader finds out, if the core starts it."""
    path = f"{os.environ['REED_RUNTIME_DIR']}/peers/{NAME.decode()}/to/{to}"
    fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    for _ in range(count):
        try:
            os.write(fd, b"\0" * 4096)
        except BlockingIOError:
            break
    os.close(fd)


def nap(sock, count):
    """SLEEPING and READY in turn."""
    sock.sendall((signal(0x04) + signal(READY)) * count)


def main():
    sock = connect()
    sock.sendall(registration(json.dumps({"actions": {n: {"command_id": i} for n, i in ACTIONS.items()}}).encode()))
    receive(sock)
    sock.sendall(signal(READY))
    while True:
        command, flags, payload = receive(sock)
        if flags & FLAG_SIGNAL:
            if payload[0] == SHUTDOWN_GRACEFUL:
                return
            sock.sendall(signal(READY))
            continue
        if command == ACTIONS["check"]:
            body = b"{" + payload[payload.index(b'"content":') :]
        elif command == ACTIONS["do"]:
            arguments = json.loads(payload)
            globals()[arguments.pop("what")](sock, **arguments)
            body = b""
        else:
            body = payload
        sock.sendall(frame(command, struct.pack("<H", 200) + body, FLAG_RESPONSE))


main()
