#!/usr/bin/env python3
"""A plugin without an SDK: Python's standard library, a socket, and two structs (contrib/docs/plugin-without-sdk.md).

connect ── PLUGIN_REGISTER ── READY ── calls and signals, one after the other ── SHUTDOWN_GRACEFUL ── the end
"""

import json
import os
import socket
import struct
import sys
import time

NAME = "hello-python"
VERSION = "1.0.0"

HEADER = struct.Struct("<IBBBBI")  # magic, version, command_id, flags, reserved, payload_len
REGISTER = struct.Struct("<32s16sII")  # name, version, pid, length of the JSON that follows
SIGNAL = struct.Struct("<BQ32sH")  # signal_type, timestamp, plugin_name, length of the data that follows
ERROR = struct.Struct("<HIH")  # status, error_code, length of the text that follows

MAGIC = 0x52454544
PLUGIN_REGISTER, PLUGIN_HEALTH, PLUGIN_SIGNAL = 0xF0, 0xF2, 0xF3
FLAG_ASYNC, FLAG_SIGNAL, FLAG_RESPONSE, FLAG_ERROR = 0x01, 0x02, 0x08, 0x10
READY, SHUTDOWN_GRACEFUL = 0x01, 0x10
ERR_UNKNOWN_COMMAND, ERR_INVALID, ERR_INTERNAL = 20003, 30003, 50000


class Refused(Exception):
    """A call that is answered with a status of failure."""

    def __init__(self, status, code, message):
        super().__init__(message)
        self.status, self.code = status, code


def greet(payload):
    """The action 1: JSON in, JSON out."""
    given = json.loads(payload)
    if not isinstance(given, dict) or not isinstance(given.get("name"), str):
        raise Refused(422, ERR_INVALID, 'expected {"name": "…"}')
    return json.dumps({"greeting": f"Hello, {given['name']}!"}, ensure_ascii=False).encode()


ACTIONS = {1: greet}
MANIFEST = json.dumps({"actions": {"greet": {"command_id": 1}}}).encode()


def send(sock, command, payload, flags=0):
    sock.sendall(HEADER.pack(MAGIC, 1, command, flags, 0, len(payload)) + payload)


def read(sock, size):
    """So many bytes; the core has ended the connection when there are fewer."""
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            sys.exit("the core is gone")
        data += piece
    return data


def receive(sock):
    """The next frame: command_id, flags, payload."""
    magic, version, command, flags, _, length = HEADER.unpack(read(sock, HEADER.size))
    if magic != MAGIC or version != 1:
        sys.exit(f"no frame: magic 0x{magic:08X}, version {version}")
    return command, flags, read(sock, length)


def register(sock):
    """Say who this is; the answer holds the settings of plugin.yaml and reed.yaml."""
    send(sock, PLUGIN_REGISTER, REGISTER.pack(NAME.encode(), VERSION.encode(), os.getpid(), len(MANIFEST)) + MANIFEST)
    _, flags, payload = receive(sock)
    if flags & FLAG_ERROR:
        sys.exit("not registered: " + payload[ERROR.size :].decode())
    return json.loads(payload[6:])["settings"]  # after <HI: status, length


def ready(sock):
    send(sock, PLUGIN_SIGNAL, SIGNAL.pack(READY, time.time_ns() // 1000, NAME.encode(), 0), FLAG_SIGNAL)


def answer(sock, command, flags, payload):
    """One call, one response, unless the caller wants none."""
    try:
        if command == PLUGIN_HEALTH:  # figures of our own: there are none
            response, kind = struct.pack("<HI", 200, 2) + b"{}", FLAG_RESPONSE
        elif command in ACTIONS:
            response, kind = struct.pack("<H", 200) + ACTIONS[command](payload), FLAG_RESPONSE
        else:
            raise Refused(501, ERR_UNKNOWN_COMMAND, f"no action with the id {command}")
    except Exception as error:  # noqa: BLE001 - the answer says it, and the plugin lives
        text = f"{error}".encode()[:1000]
        status, code = (error.status, error.code) if isinstance(error, Refused) else (500, ERR_INTERNAL)
        response, kind = ERROR.pack(status, code, len(text)) + text, FLAG_RESPONSE | FLAG_ERROR
    if not flags & FLAG_ASYNC:
        send(sock, command, response, kind)


def main():
    with socket.socket(socket.AF_UNIX) as sock:
        folder, name = os.path.split(os.environ["REED_SOCKET"])
        os.chdir(folder)  # the whole path may be longer than the 107 bytes that connect takes
        sock.connect(name)
        register(sock)
        ready(sock)
        print("ready", flush=True)  # what is printed is in `reed plugin logs hello-python`
        while True:
            command, flags, payload = receive(sock)
            if not flags & FLAG_SIGNAL:
                answer(sock, command, flags, payload)
            elif payload[0] == SHUTDOWN_GRACEFUL:
                return
            else:  # HEALTH_CHECK, RELOAD_CONFIG, WAKE_UP
                ready(sock)


main()
