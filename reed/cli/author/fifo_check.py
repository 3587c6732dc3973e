"""Does a plugin answer messages of other plugins? (protocol.md#messages)

    PEER→NAME    a message of an unknown type
    NAME→PEER    ACK, ERROR or DATA, with "in_reply_to"

A plugin that leaves the message in the FIFO does not support messages, which is allowed.
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

PEER = "reed-test-peer"  # has a row, but no process: this module uses its FIFOs
MESSAGE_TYPE = 0xEF
_ANSWERS: dict[int, str] = {
    MessageType.RESPONSE_ACK: "with ACK",
    MessageType.RESPONSE_ERROR: f"that it has no handler for type 0x{MESSAGE_TYPE:02X}, as expected",
    MessageType.RESPONSE_DATA: "with DATA",
}

_READ_TIMEOUT = 0.4  # seconds
_ANSWER_TIMEOUT = 2.0
_POLL_INTERVAL = 0.002


class FifoCheck:
    """Raises OSError if the FIFOs cannot be opened."""

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
        """Returns "ok", "failed" or "skipped", and the reason."""
        out, back = self._fds
        since = time.monotonic()
        timestamp = time.time_ns() // 1000
        os.write(out, PluginMessage(MESSAGE_TYPE, PEER, self._name, timestamp, b'{"test":true}').pack())
        received = b""
        while time.monotonic() - since < _ANSWER_TIMEOUT:
            received += _read(back)
            if answer := _message(received):
                return self._evaluate(answer, timestamp, (time.monotonic() - since) * 1000)
            if time.monotonic() - since > _READ_TIMEOUT and _unread(out):
                return "skipped", "does not read messages of other plugins"
            time.sleep(_POLL_INTERVAL)
        return "failed", f"read a message, but sent no answer within {_ANSWER_TIMEOUT:g} s"

    def _evaluate(self, answer: PluginMessage, timestamp: int, took: float) -> tuple[str, str]:
        kind = _ANSWERS.get(answer.message_type)
        if kind is None:
            expected = "expected ACK, ERROR or DATA (0xF0 to 0xF2)"
            return "failed", f"the answer has type 0x{answer.message_type:02X}, {expected}"
        if (answer.source_plugin, answer.target_plugin) != (self._name, PEER):
            return "failed", f"the answer goes from {answer.source_plugin!r} to {answer.target_plugin!r}"
        try:
            reference = strict_json.load_object(bytes(answer.payload)).get("in_reply_to")
        except Malformed as error:
            return "failed", f"the answer is not a JSON object: {error.message}"
        if reference != timestamp:
            return "failed", f"the answer has in_reply_to {reference!r}, expected {timestamp}"
        return "ok", f"answered {kind}, after {took:.1f} ms"


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 65536)
    except BlockingIOError:
        return b""


def _message(received: bytes) -> PluginMessage | None:
    size = structs.PLUGIN_MESSAGE.size
    if len(received) < size:
        return None
    end = size + structs.PLUGIN_MESSAGE.unpack_from(received)[-1]
    return PluginMessage.unpack(received[:end]) if len(received) >= end else None


def _unread(fd: int) -> int:
    return int(struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, b"\0\0\0\0"))[0])
