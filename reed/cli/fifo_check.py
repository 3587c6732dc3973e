"""A message to a plugin on trial, and its answer, over the FIFOs of one that does not run (protocol.md#messages).

    PEER→NAME    a message of a type that nobody has a handler for
    NAME→PEER    its answer: ACK, ERROR or DATA, with "in_reply_to"

What is still in the pipe after a while was not read: such a plugin takes no messages, which is its right.
"""

from __future__ import annotations

import fcntl
import os
import struct
import termios
import time
from pathlib import Path

from reed.errors import Malformed
from reed.wire import strict_json, structs
from reed.wire.codes import MessageType
from reed.wire.plugins import PluginMessage

PEER = "plugin-on-trial-peer"
MESSAGE_TYPE = 0xEF
_ANSWERS: dict[int, str] = {
    MessageType.RESPONSE_ACK: "ACK",
    MessageType.RESPONSE_ERROR: "ERROR",
    MessageType.RESPONSE_DATA: "DATA",
}

_READ_TIME = 0.4  # seconds
_ANSWER_TIME = 2.0
_LOOK_EVERY = 0.002


class FifoCheck:
    """Both FIFOs between PEER and the plugin. Opening them raises OSError."""

    def __init__(self, folder: Path, name: str) -> None:
        self._name = name
        self._fds: list[int] = []
        try:
            for path in (folder / f"{PEER}→{name}", folder / f"{name}→{PEER}"):
                self._fds.append(os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC))
        except OSError:
            self.close()
            raise

    def __enter__(self) -> FifoCheck:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for fd in self._fds:
            os.close(fd)
        self._fds = []

    def exchange(self) -> tuple[str, str]:
        """The result of the check, and its reason."""
        out, back = self._fds
        since = time.monotonic()
        timestamp = time.time_ns() // 1000
        os.write(out, PluginMessage(MESSAGE_TYPE, PEER, self._name, timestamp, b'{"on":"trial"}').pack())
        received = b""
        while time.monotonic() - since < _ANSWER_TIME:
            received += _read(back)
            if answer := _message(received):
                return self._judged(answer, timestamp, (time.monotonic() - since) * 1000)
            if time.monotonic() - since > _READ_TIME and _unread(out):
                return "skipped", "it reads no messages of other plugins"
            time.sleep(_LOOK_EVERY)
        return "failed", f"it took a message, and did not answer it within {_ANSWER_TIME:g} s"

    def _judged(self, answer: PluginMessage, timestamp: int, took: float) -> tuple[str, str]:
        kind = _ANSWERS.get(answer.message_type)
        if kind is None:
            return (
                "failed",
                f"it answered by type 0x{answer.message_type:02X}, expected ACK, ERROR or DATA (0xF0 to 0xF2)",
            )
        if (answer.source_plugin, answer.target_plugin) != (self._name, PEER):
            return "failed", f"its answer goes from {answer.source_plugin!r} to {answer.target_plugin!r}"
        try:
            said = strict_json.load_object(bytes(answer.payload)).get("in_reply_to")
        except Malformed as error:
            return "failed", f"its answer is no JSON object: {error.message}"
        if said != timestamp:
            return "failed", f"its answer has in_reply_to {said!r}, the message was {timestamp}"
        return "ok", f"a message was answered by {kind} after {took:.1f} ms"


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 65536)
    except BlockingIOError:
        return b""


def _message(received: bytes) -> PluginMessage | None:
    """The first message, once it is whole."""
    size = structs.PLUGIN_MESSAGE.size
    if len(received) < size:
        return None
    end = size + structs.PLUGIN_MESSAGE.unpack_from(received)[-1]
    return PluginMessage.unpack(received[:end]) if len(received) >= end else None


def _unread(fd: int) -> int:
    """The bytes that are in the pipe."""
    return int(struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, b"\0\0\0\0"))[0])
