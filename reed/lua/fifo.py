"""The two ends of a plugin's FIFOs, none of which ever blocks (fifos.md#ends).

    Outbound   fifos/self→B ─┬─ the pipe takes it    done
                             ├─ the pipe is full     queued; goes out when the pipe has room
                             ├─ nobody reads it      PluginOffline: the plugin is told; what is queued is tried again
                             └─ so is the queue      PluginBusy: the plugin is told
    Inbound    fifos/B→self ─┬─ new                  to be handled
                             └─ a repeat             the answer that it got

FIFOs are the core's: it makes them and holds them open. Both ends are opened O_RDWR: a reader that is its own writer
sees no end, a writer that is its own reader does not fail for want of one. A sandbox may allow one direction alone;
it grants second names of the FIFOs too, for those that were made later.

Who reads a FIFO holds its lock (flock). Of two processes of a plugin, where one follows the other, the first reads
until it ends, and then the second: no message is read in halves, and their order is kept.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections import deque

from reed.errors import CallError, PluginBusy, PluginOffline, TooLarge
from reed.lua.message_buffer import MessageBuffer
from reed.lua.rubbish import Rubbish
from reed.wire.frames import MAX_PAYLOAD
from reed.wire.plugins import PluginMessage

ARROW = "→"
_CHUNK = 16384  # bytes read at once: a plugin pays for the pages it touches
_CHUNKS_A_TURN = 8
_QUEUED_MESSAGES = 1024
_QUEUED_BYTES = 1024 * 1024  # beside the newest message
_REMEMBERED = 256  # messages of one FIFO
_REMEMBERED_BYTES = 65536  # of their answers
_REFUSED = (errno.EACCES, errno.EPERM)
_FLAGS = os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC

Answer = tuple[int, bytes]  # message type and payload


class FifoPaths:
    """Where one plugin's FIFOs are."""

    def __init__(self, runtime_dir: str, plugin: str) -> None:
        self._fifos = os.path.join(runtime_dir, "fifos")
        self._links = os.path.join(runtime_dir, "peers", plugin)
        self.plugin = plugin

    def reading(self, source: str, /) -> int:
        """The FIFO from another plugin, opened. Raises OSError."""
        return self._open(f"{source}{ARROW}{self.plugin}", f"from/{source}", os.O_RDONLY)

    def writing(self, target: str, /) -> int:
        """The FIFO to another plugin, opened. Raises OSError."""
        return self._open(f"{self.plugin}{ARROW}{target}", f"to/{target}", os.O_WRONLY)

    def changed_at(self) -> int:
        """When FIFOs came or went; 0 when that cannot be told."""
        try:
            return os.stat(self._fifos).st_mtime_ns
        except OSError:
            return 0

    def _open(self, name: str, link: str, one_way: int) -> int:
        path = os.path.join(self._fifos, name)
        try:
            fd = self._open_either_way(path, one_way)
        except PermissionError:
            fd = self._open_either_way(os.path.join(self._links, link), one_way)
        found = os.fstat(fd)
        if not stat.S_ISFIFO(found.st_mode) or found.st_uid != os.geteuid():
            os.close(fd)
            raise OSError(errno.EINVAL, "is no FIFO of the core's own", path)
        return fd

    @staticmethod
    def _open_either_way(path: str, one_way: int) -> int:
        try:
            return os.open(path, os.O_RDWR | _FLAGS)
        except PermissionError:
            return os.open(path, one_way | _FLAGS)


class Inbound:
    """The FIFO from one plugin."""

    __slots__ = ("_seen", "_seen_bytes", "buffer", "fd", "rubbish", "source")

    def __init__(self, places: FifoPaths, source: str) -> None:
        self.source = source
        self.fd = places.reading(source)
        self.buffer = MessageBuffer(source, places.plugin)
        self.rubbish = Rubbish()
        self._seen: dict[int, Answer | None] = {}  # timestamp -> its answer, if it has one
        self._seen_bytes = 0

    def receive(self) -> bool:
        """Reads what is there, up to a turn's share; False when it must be left alone for a while: another process of
        this plugin reads it, it has no writer, or its writer is cut off.
        """
        if self.rubbish.is_cut_off:
            return False
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        for _ in range(_CHUNKS_A_TURN):
            try:
                data = os.read(self.fd, _CHUNK)
            except BlockingIOError:
                return True
            if not data:
                return False
            self.buffer.feed(data)
            if len(data) < _CHUNK:
                break
        return True

    def finish(self) -> None:
        """Reads the rest of a message that was begun, and no byte more; what is not there yet is not waited for."""
        while (missing := self.buffer.missing) > 0:
            try:
                data = os.read(self.fd, min(missing, _CHUNK))
            except BlockingIOError:
                return
            if not data:
                return
            self.buffer.feed(data)

    def is_new(self, timestamp: int) -> bool:
        """Whether a message was not seen before; from now on it was."""
        if timestamp in self._seen:
            return False
        self._seen[timestamp] = None
        if len(self._seen) > _REMEMBERED:
            self._forget()
        return True

    def answer_to(self, timestamp: int) -> Answer | None:
        return self._seen.get(timestamp)

    def answered(self, timestamp: int, answer: Answer) -> None:
        """Keeps the answer that a message got. What is too much is forgotten, the oldest first."""
        if timestamp in self._seen:
            self._seen[timestamp] = answer
            self._seen_bytes += len(answer[1])
            while self._seen_bytes > _REMEMBERED_BYTES and len(self._seen) > 1:
                self._forget()

    def _forget(self) -> None:
        answer = self._seen.pop(next(iter(self._seen)))
        self._seen_bytes -= len(answer[1]) if answer else 0

    def renew(self, fd: int) -> None:
        """Takes the FIFO that stands there now. If it is another one, what was half read will not become whole."""
        if not os.path.sameopenfile(self.fd, fd):
            self.buffer.clear()
        self.close()
        self.fd = fd

    def close(self) -> None:
        os.close(self.fd)


class Outbound:
    """The FIFO to one plugin."""

    __slots__ = ("_queue", "_queued_bytes", "_sent", "_target", "fd", "is_stuck")

    def __init__(self, fd: int, target: str) -> None:
        self.fd = fd
        self._target = target
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._sent = 0  # bytes of the first in the queue
        self.is_stuck = False  # the last write failed: such a pipe is always ready, and must not be waited for

    @property
    def waiting(self) -> int:
        """Messages that are not in the pipe yet."""
        return len(self._queue)

    def push(self, message: PluginMessage) -> None:
        """Sends a message, or queues it: what has begun is finished first. Raises PluginBusy, PluginOffline."""
        if len(message.payload) > MAX_PAYLOAD:
            raise TooLarge(f"a message of {len(message.payload)} bytes", hint=f"the limit is {MAX_PAYLOAD}")
        self.flush()
        if len(self._queue) >= _QUEUED_MESSAGES or self._queued_bytes > _QUEUED_BYTES:
            raise PluginBusy(
                f"the FIFO to {self._target} is full, and {len(self._queue)} messages wait for it",
                hint=f"{self._target} does not read its messages",
            )
        data = message.pack()
        self._queue.append(data)
        self._queued_bytes += len(data)
        try:
            self.flush()
        except CallError:
            if len(self._queue) > 1 or not self._sent:  # the plugin is told that this one did not go
                self._queue.pop()
                self._queued_bytes -= len(data)
            raise

    def flush(self) -> None:
        """Writes what the pipe has room for."""
        while self._queue:
            first = self._queue[0]
            try:
                self._sent += os.write(self.fd, memoryview(first)[self._sent :])
            except BlockingIOError:
                self.is_stuck = False
                return
            except BrokenPipeError:  # only where the sandbox does not let it read its own FIFO
                self.is_stuck = True
                raise PluginOffline(f"nobody reads the FIFO to {self._target}") from None
            except OSError as error:
                self.is_stuck = True
                raise CallError(f"writing to the FIFO to {self._target}: {error.strerror}") from None
            self.is_stuck = False
            if self._sent == len(first):
                self._queue.popleft()
                self._queued_bytes -= len(first)
                self._sent = 0

    def renew(self, fd: int) -> None:
        """Takes the FIFO that stands there now. If it is another one, the message that was half sent is sent whole."""
        if not os.path.sameopenfile(self.fd, fd):
            self._sent = 0
        self.close()
        self.fd = fd

    def close(self) -> None:
        os.close(self.fd)
