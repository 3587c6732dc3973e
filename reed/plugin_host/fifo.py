"""Both ends of a plugin's FIFOs, without blocking (fifos.md#ends)."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections import deque
from collections.abc import Callable

from reed.errors import CallError, PluginBusy, PluginOffline, TooLarge
from reed.plugin_host.message_buffer import MessageBuffer
from reed.wire.frames import MAX_PAYLOAD
from reed.wire.plugins import PluginMessage

ARROW = "→"
MAX_QUEUED = 1024  # messages, in a queue and in the inbox (limits.md#messages-between-plugins)
MAX_QUEUED_BYTES = 1024 * 1024  # payload before the newest message
BLOCK_SECONDS = 60.0
JUNK_LIMIT = 2 * MAX_PAYLOAD  # two torn messages of the largest size
REPEAT_COST = 4096  # bytes of junk that a repeated message counts as
CHUNK = 16384
_CHUNKS_PER_TURN = 8
_REMEMBERED = 256  # messages of one FIFO, with their answers
_REMEMBERED_BYTES = 65536
_FLAGS = os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC

Answer = tuple[int, bytes]  # message type and payload


class FifoPaths:
    def __init__(self, runtime_dir: str, plugin: str) -> None:
        self._fifos = os.path.join(runtime_dir, "fifos")
        self._links = os.path.join(runtime_dir, "peers", plugin)
        self.plugin = plugin

    def open_from(self, source: str, /) -> int:
        return self._open(f"{source}{ARROW}{self.plugin}", f"from/{source}", os.O_RDONLY)

    def open_to(self, target: str, /) -> int:
        return self._open(f"{self.plugin}{ARROW}{target}", f"to/{target}", os.O_WRONLY)

    def changed_at(self) -> int:
        """mtime of the folder in ns; 0 if unknown."""
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
            raise OSError(errno.EINVAL, "not a FIFO of the core's user", path)
        return fd

    @staticmethod
    def _open_either_way(path: str, one_way: int) -> int:
        try:
            return os.open(path, os.O_RDWR | _FLAGS)
        except PermissionError:
            return os.open(path, one_way | _FLAGS)


class JunkMeter:
    """A leaky bucket: JUNK_LIMIT in BLOCK_SECONDS."""

    __slots__ = ("_blocked_until", "_clock", "_level", "_updated")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._level = 0.0
        self._updated = clock()
        self._blocked_until = 0.0

    def add(self, size: int) -> bool:
        """True if it overflows, which blocks the writer."""
        now = self._clock()
        self._level = max(self._level - (now - self._updated) * JUNK_LIMIT / BLOCK_SECONDS, 0.0) + size
        self._updated = now
        if self._level <= JUNK_LIMIT:
            return False
        self._level, self._blocked_until = 0.0, now + BLOCK_SECONDS
        return True

    @property
    def is_blocked(self) -> bool:
        return self._blocked_until > 0.0 and self._clock() < self._blocked_until


class Inbound:
    __slots__ = ("_chunk", "_seen", "_seen_bytes", "buffer", "fd", "junk", "source")

    def __init__(self, paths: FifoPaths, source: str, chunk: memoryview) -> None:
        self.source = source
        self._chunk = chunk
        self.fd = paths.open_from(source)
        self.buffer = MessageBuffer(source, paths.plugin)
        self.junk = JunkMeter()
        self._seen: dict[int, Answer | None] = {}  # by timestamp
        self._seen_bytes = 0

    def receive(self) -> bool:
        """False to pause: another process of this plugin reads the FIFO, it has no writer, or its writer is blocked."""
        if self.junk.is_blocked:
            return False
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        for _ in range(_CHUNKS_PER_TURN):
            try:
                size = os.readv(self.fd, [self._chunk])
            except BlockingIOError:
                return True
            if not size:
                return False
            self.buffer.feed(self._chunk[:size])
            if size < len(self._chunk):
                break
        return True

    def drain(self) -> None:
        """Only the rest of a partial message, without waiting for it."""
        while (missing := self.buffer.missing) > 0:
            try:
                size = os.readv(self.fd, [self._chunk[:missing]])
            except BlockingIOError:
                return
            if not size:
                return
            self.buffer.feed(self._chunk[:size])

    def is_new(self, timestamp: int) -> bool:
        if timestamp in self._seen:
            return False
        self._seen[timestamp] = None
        if len(self._seen) > _REMEMBERED:
            self._drop_oldest()
        return True

    def answer_to(self, timestamp: int) -> Answer | None:
        return self._seen.get(timestamp)

    def remember(self, timestamp: int, answer: Answer) -> None:
        """For repeats of its message."""
        if timestamp in self._seen:
            self._seen[timestamp] = answer
            self._seen_bytes += len(answer[1])
            while self._seen_bytes > _REMEMBERED_BYTES and len(self._seen) > 1:
                self._drop_oldest()

    def _drop_oldest(self) -> None:
        answer = self._seen.pop(next(iter(self._seen)))
        self._seen_bytes -= len(answer[1]) if answer else 0

    def reopen(self, fd: int) -> None:
        """Drops a partial message if the FIFO was replaced."""
        if not os.path.sameopenfile(self.fd, fd):
            self.buffer.clear()
        os.close(self.fd)
        self.fd = fd


class Outbound:
    __slots__ = ("_queue", "_queued_bytes", "_sent", "_target", "fd", "is_broken")

    def __init__(self, fd: int, target: str) -> None:
        self.fd = fd
        self._target = target
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._sent = 0  # bytes of the first message in the queue
        self.is_broken = False  # not polled, as poll() would return at once

    @property
    def queued(self) -> int:
        return len(self._queue)

    def push(self, message: PluginMessage) -> None:
        """Raises PluginBusy, PluginOffline, TooLarge."""
        if len(message.payload) > MAX_PAYLOAD:
            raise TooLarge(f"message of {len(message.payload)} bytes", hint=f"the limit is {MAX_PAYLOAD}")
        self.flush()
        if len(self._queue) >= MAX_QUEUED or self._queued_bytes > MAX_QUEUED_BYTES:
            raise PluginBusy(
                f"queue to {self._target} is full: {len(self._queue)} messages",
                hint=f"{self._target} does not read its messages",
            )
        data = message.pack()
        self._queue.append(data)
        self._queued_bytes += len(data)
        try:
            self.flush()
        except CallError:
            if len(self._queue) > 1 or not self._sent:  # it must not be sent after its error
                self._queue.pop()
                self._queued_bytes -= len(data)
            raise

    def flush(self) -> None:
        """Raises PluginOffline, CallError."""
        while self._queue:
            first = self._queue[0]
            try:
                self._sent += os.write(self.fd, memoryview(first)[self._sent :])
            except BlockingIOError:
                self.is_broken = False
                return
            except BrokenPipeError:  # only where the sandbox does not let it read its own FIFO
                self.is_broken = True
                raise PluginOffline(f"nobody reads the FIFO to {self._target}") from None
            except OSError as error:
                self.is_broken = True
                raise CallError(f"writing to the FIFO to {self._target}: {error.strerror}") from None
            self.is_broken = False
            if self._sent == len(first):
                self._queue.popleft()
                self._queued_bytes -= len(first)
                self._sent = 0

    def reopen(self, fd: int) -> None:
        """Sends a partial message again if the FIFO was replaced."""
        if not os.path.sameopenfile(self.fd, fd):
            self._sent = 0
        os.close(self.fd)
        self.fd = fd
