"""The unsent bytes and unanswered requests of a pipeline."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from reed.wire import frames
from reed.wire.codes import Command

_MAX_UNSENT = 256 * 1024  # bytes
IDEMPOTENT = frozenset(int(command) for command in Command if command.is_idempotent)


class Request:
    """`tag` is the caller's own."""

    __slots__ = ("command", "payload", "tag")

    def __init__(self, command: int, payload: bytes, tag: Any = None) -> None:
        self.command = command
        self.payload = payload
        self.tag = tag


class Pipeline:
    """Lives as long as its connection; `retried` are requests of an earlier one."""

    __slots__ = ("_retried", "_sent", "_stream_end", "core_stopped_reading", "ended", "in_flight", "is_full", "unsent")

    def __init__(self, retried: Iterable[Request] = ()) -> None:
        self.in_flight: deque[tuple[Request, int]] = deque()  # oldest first, with the stream offset of its end
        self.unsent = bytearray()
        self.is_full = False  # until responses are read
        self.ended = False  # the core began none of `in_flight`
        self.core_stopped_reading = False  # after a request that was too large
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
        """Unsent bytes of the oldest request; at most 0 if all are sent."""
        return self.in_flight[0][1] - self._sent

    @property
    def can_send(self) -> bool:
        return bool(self.unsent) and not self.is_full

    @property
    def can_retry(self) -> bool:
        """May everything in flight be sent again?"""
        return self.core_stopped_reading or all(
            end > self._sent or request.command in IDEMPOTENT for request, end in self.in_flight
        )

    def unanswered(self) -> list[Request]:
        return [*(request for request, _ in self.in_flight), *self._retried]
