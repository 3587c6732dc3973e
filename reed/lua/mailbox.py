"""Messages to other plugins: one FIFO for each ordered pair (the source, Plugin-to-Plugin; WIRE.md, FIFO messages)."""

from __future__ import annotations

import errno
import os
import stat
import time

from reed.errors import CallError, Malformed, PluginBusy, PluginOffline
from reed.wire import layouts, names, strict_json
from reed.wire.plugins import PluginMessage

PIPE_BUF = 4096  # a write of so many bytes is whole, or it is not done at all
_LAST_TYPE = 255


class Mailbox:
    """The outgoing FIFOs of one plugin."""

    def __init__(self, plugin: str, runtime_dir: str) -> None:
        self._plugin = plugin
        self._folder = os.path.join(runtime_dir, "fifos")
        self._newest = 0

    def send(self, arguments: bytes, payload: bytes) -> None:
        """Writes a message: it is done when the pipe has it. Raises PluginOffline and PluginBusy."""
        target, message_type = self._checked(arguments)
        strict_json.loads(payload)
        room = PIPE_BUF - layouts.PLUGIN_MESSAGE.size
        if len(payload) > room:
            raise Malformed(
                f"a message of {len(payload)} bytes; a FIFO takes {room}", hint="keep it as a snippet and send its ref"
            )
        fifo = self._open(target)
        try:
            message = PluginMessage(message_type, self._plugin, target, self._timestamp(), payload)
            os.write(fifo, message.pack())
        except BlockingIOError:
            raise PluginBusy(f"the FIFO to {target} is full", hint=f"{target} does not read its messages") from None
        finally:
            os.close(fifo)

    def request(self, arguments: bytes, _payload: bytes) -> None:
        """A message whose answer is waited for. The answers' FIFO has no reader yet, so none is sent."""
        target, _ = self._checked(arguments[: arguments.rindex(b",")] + b"]")
        os.close(self._open(target))
        raise CallError(f"no answer can come from {target}: this version does not read FIFOs", status=501)

    def _checked(self, arguments: bytes) -> tuple[str, int]:
        target, message_type = strict_json.loads(arguments)
        names.check("plugin name", target)
        if not isinstance(message_type, int) or not 0 <= message_type <= _LAST_TYPE:
            raise Malformed(f"message type {message_type!r}", hint=f"expected a whole number from 0 to {_LAST_TYPE}")
        return target, message_type

    def _open(self, target: str) -> int:
        path = os.path.join(self._folder, f"{self._plugin}→{target}")
        try:
            fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            raise PluginOffline(f"no FIFO to {target}", hint="is there a row for it in plugin-registry.csv?") from None
        except OSError as error:
            if error.errno == errno.ENXIO:
                raise PluginOffline(f"nobody reads the FIFO to {target}", hint=f"does {target} run?") from None
            raise CallError(f"the FIFO to {target}: {error.strerror}") from None
        if not stat.S_ISFIFO(os.fstat(fd).st_mode):
            os.close(fd)
            raise CallError(f"{path} is no FIFO")
        return fd

    def _timestamp(self) -> int:
        """Unix microseconds, and never the same twice: it names the message."""
        self._newest = max(time.time_ns() // 1000, self._newest + 1)
        return self._newest
