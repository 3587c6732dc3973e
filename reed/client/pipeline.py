"""What a pipeline keeps in flight, and what it sends again after its connection ended. Without I/O.

requests ── fill(protocol) ──▶ in flight ── responses(answers) ──▶ (request, response), in order
   ▲                              │
   └── unanswered, oldest first ◀─┴─ ended(protocol), or the error that ends the pipeline
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from reed.client.protocol import MAX_RESTARTS, Answer, Exchange, NoAnswer, Protocol, may_repeat
from reed.errors import CallError, Restarting

_MAX_UNSENT = 256 * 1024  # bytes


class Request:
    """`tag` is the caller's own."""

    __slots__ = ("command", "payload", "tag")

    def __init__(self, command: int, payload: bytes, tag: Any = None) -> None:
        self.command = command
        self.payload = payload
        self.tag = tag


Responses = list[tuple[Request, bytes | CallError]]


class Pipeline:
    """Outlives its connections; each has a Protocol of its own."""

    def __init__(self, requests: Iterable[Request], window: int) -> None:
        self._source = iter(requests)
        self._window = window
        self._repeated: deque[Request] = deque()
        self._refused: list[Request] = []  # by a core that restarts
        self._fruitless = 0  # connections in a row that gave no response
        self._has_answered = False

    def fill(self, protocol: Protocol) -> bool:
        """Start what fits the window; returns whether anything is in flight, without which the pipeline is done."""
        while len(protocol.in_flight) < self._window and protocol.unsent < _MAX_UNSENT:
            request = self._repeated.popleft() if self._repeated else next(self._source, None)
            if request is None:
                break
            protocol.start(request.command, request.payload, owner=request)
        return bool(protocol.in_flight)

    def responses(self, answers: list[tuple[Exchange, Answer]]) -> Responses:
        """Raises NoAnswer if the peer is not a core, or keeps restarting."""
        found: Responses = []
        for exchange, answer in answers:
            if isinstance(answer, Restarting):
                if self._fruitless >= MAX_RESTARTS:
                    raise NoAnswer(str(answer))
                self._refused.append(exchange.owner)
            elif isinstance(answer, (bytes, CallError)):
                found.append((exchange.owner, answer))
            else:
                raise answer
        self._has_answered = self._has_answered or bool(found)
        return found

    def ended(self, protocol: Protocol) -> None:
        """The connection has ended; what has no response goes to the next one. Raises NoAnswer unless all may."""
        unanswered = protocol.end()
        for exchange, error in unanswered:
            if self._fruitless >= MAX_RESTARTS or not may_repeat(exchange.command, error):
                raise error
        self._repeated.extendleft(reversed([*self._refused, *(exchange.owner for exchange, _ in unanswered)]))
        self._refused = []
        self._fruitless = 0 if self._has_answered else self._fruitless + 1
        self._has_answered = False
