"""What a pipeline has under way on one connection.

requests ── fill ── unsent bytes ── the core ── answers
              └──── waiting: those whose answers are due, oldest first
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from reed.wire import frames
from reed.wire.codes import READS

_UNSENT_BYTES = 256 * 1024  # encoded ahead of what the core has taken


class Request:
    """One request of a pipeline; `tag` is the caller's own."""

    __slots__ = ("command", "payload", "tag")

    def __init__(self, command: int, payload: bytes, tag: Any = None) -> None:
        self.command = command
        self.payload = payload
        self.tag = tag


class Line:
    """What a pipeline has under way: requests whose answers are due, and the bytes that the core has not taken.

    It ends with its connection; `again` are the requests of the line before it, which go first.
    """

    __slots__ = (
        "_again",
        "_ends_at",
        "_sent",
        "has_answered",
        "is_full",
        "is_over",
        "reads_no_more",
        "unsent",
        "waiting",
    )

    def __init__(self, again: Iterable[Request] = ()) -> None:
        self.waiting: deque[tuple[Request, int]] = deque()  # with the place in the stream where it ends
        self.unsent = bytearray()
        self.is_full = False  # the core took no more: it wants its answers read
        self.has_answered = False
        self.is_over = False  # the core restarts or ended, and what waits was not begun
        self.reads_no_more = False  # the core, after a request that was too large (protocol.md#frames)
        self._again = deque(again)
        self._ends_at = 0
        self._sent = 0

    def fill(self, source: Iterator[Request], window: int) -> None:
        """Take requests until there are enough."""
        self.is_full = False
        while len(self.waiting) < window and len(self.unsent) < _UNSENT_BYTES:
            request = self._again.popleft() if self._again else next(source, None)
            if request is None:
                break
            frame = frames.encode(request.command, request.payload)
            self.unsent += frame
            self._ends_at += len(frame)
            self.waiting.append((request, self._ends_at))

    def took(self, size: int) -> None:
        del self.unsent[:size]
        self._sent += size

    @property
    def owed(self) -> int:
        """The bytes that the core lacks of the oldest request; none when its answer is due."""
        return self.waiting[0][1] - self._sent

    @property
    def may_go_on(self) -> bool:
        """Whether sending goes on before an answer is read."""
        return bool(self.unsent) and not self.is_full

    @property
    def was_not_begun(self) -> bool:
        """Whether the connection's end leaves no doubt: nothing that waits was done, or it only reads."""
        return self.reads_no_more or all(ends > self._sent or each.command in READS for each, ends in self.waiting)

    def requests(self) -> list[Request]:
        """What has no answer yet."""
        return [*(request for request, _ in self.waiting), *self._again]
