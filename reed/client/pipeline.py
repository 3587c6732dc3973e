"""The requests in flight on one connection of a pipeline.

requests ── fill ── unsent bytes ── the core ── responses
              └──── in_flight: requests without a response, oldest first
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from reed.wire import frames
from reed.wire.codes import Command

_MAX_UNSENT = 256 * 1024  # bytes encoded ahead of what the core has read
IDEMPOTENT = frozenset(int(command) for command in Command if command.is_idempotent)


class Request:
    """One request of a pipeline; `tag` is the caller's own."""

    __slots__ = ("command", "payload", "tag")

    def __init__(self, command: int, payload: bytes, tag: Any = None) -> None:
        self.command = command
        self.payload = payload
        self.tag = tag


class Pipeline:
    """Lives as long as its connection. `retried` are requests of the one before, which are sent first."""

    __slots__ = ("_retried", "_sent", "_stream_end", "core_stopped_reading", "ended", "in_flight", "is_full", "unsent")

    def __init__(self, retried: Iterable[Request] = ()) -> None:
        self.in_flight: deque[tuple[Request, int]] = deque()  # with the offset of its end in the stream of bytes
        self.unsent = bytearray()
        self.is_full = False  # the socket buffer is full: the core wants its responses read
        self.ended = False  # the core restarts or ended, and began none of `in_flight`
        self.core_stopped_reading = False  # after a request that was too large (protocol.md#frames)
        self._retried = deque(retried)
        self._stream_end = 0
        self._sent = 0

    def fill(self, source: Iterator[Request], window: int) -> None:
        self.is_full = False
        while len(self.in_flight) < window and len(self.unsent) < _MAX_UNSENT:
            request = self._retried.popleft() if self._retried else next(source, None)
            if request is None:
                break
            frame = frames.encode(request.command, request.payload)
            self.unsent += frame
            self._stream_end += len(frame)
            self.in_flight.append((request, self._stream_end))

    def mark_sent(self, size: int) -> None:
        del self.unsent[:size]
        self._sent += size

    @property
    def oldest_unsent(self) -> int:
        """Unsent bytes of the oldest request; not above 0 when its response is due."""
        return self.in_flight[0][1] - self._sent

    @property
    def can_send(self) -> bool:
        return bool(self.unsent) and not self.is_full

    @property
    def can_retry(self) -> bool:
        """Whether everything in flight may be sent again after the connection ended."""
        return self.core_stopped_reading or all(
            end > self._sent or request.command in IDEMPOTENT for request, end in self.in_flight
        )

    def unanswered(self) -> list[Request]:
        return [*(request for request, _ in self.in_flight), *self._retried]
