"""One connection to the core in an event loop: the socket of a Protocol.

    start() ── Protocol ── flush() ──▶ socket ──▶ on_answers([(exchange, answer), …]) ── … ── on_end()

The first request in flight is sent at once. Others are sent together at the end of the turn of the loop, so that many
tasks cost one write. Reading and writing do not wait for each other.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from reed.client.link import cannot_connect
from reed.client.protocol import NO_ANSWER, Answer, Exchange, Protocol, TimedOut
from reed.runtime_paths import Address

READ_SIZE = 256 * 1024
_RETRY_CONNECT = 0.01  # seconds, while the core's backlog is full
_SLOW = 1000  # a connection with a slow request in flight is as loaded as with so many others

OnAnswers = Callable[[list[tuple[Exchange, Answer]]], None]


async def connect(path: str, deadline: float | None) -> socket.socket:
    """Raises CoreNotRunning, TimedOut, or ReedError if the socket cannot be used."""
    loop = asyncio.get_running_loop()
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            with Address(path) as address:
                sock.connect(address)
            return sock
        except BlockingIOError:  # the backlog is full; connect(2) on Unix sockets is never in progress
            sock.close()
            if deadline is not None and loop.time() >= deadline:
                raise TimedOut(f"{path}: the core does not accept connections", hint="see the core's log") from None
        except OSError as error:
            sock.close()
            raise cannot_connect(path, error) from None
        await asyncio.sleep(_RETRY_CONNECT)


class Connection:
    """Its owner sets `on_answers` and `on_end`, which is called once, after the last answer or by `close`."""

    def __init__(self, sock: socket.socket, scratch: memoryview) -> None:
        """`scratch`: memory for what is read, which all connections of a loop may share."""
        self.on_answers: OnAnswers = _ignore
        self.on_end: Callable[[], None] = _ignore
        self.protocol = Protocol()
        self.is_closed = False
        self.is_retired = False  # takes no more requests, and is closed when nobody waits for an answer
        self._loop = asyncio.get_running_loop()
        self._socket = sock
        self._fd = sock.fileno()
        self._scratch = scratch
        self._unanswered: list[Exchange] = []  # requests without an answer, whose owners wait until they are sent
        self._will_flush = False
        self._is_paused = False
        self._started = 0  # requests
        self._slow = 0  # the number of the last slow one
        self._loop.add_reader(self._fd, self._readable)

    def start(self, command: int, payload: bytes, flags: int, owner: Any, *, is_slow: bool = False) -> Exchange:
        """Send a request, now or at the end of this turn; b"" answers one without a response once it is sent."""
        exchange = self.protocol.start(command, payload, flags, owner)
        self._started += 1
        if flags & NO_ANSWER:
            self._unanswered.append(exchange)
        if is_slow:
            self._slow = self._started
        if not self._will_flush:
            if len(self.protocol.in_flight) <= 1:
                self.flush()
            else:
                self._will_flush = True
                self._loop.call_soon(self.flush)
        return exchange

    @property
    def load(self) -> int:
        """How many requests are in flight; a slow one counts for many."""
        in_flight = len(self.protocol.in_flight)
        return in_flight + _SLOW if self._slow > self._started - in_flight else in_flight

    def flush(self) -> None:
        """Send what the socket takes."""
        self._will_flush = False
        protocol = self.protocol
        while not self.is_closed and (data := protocol.outgoing()):
            try:
                size = self._socket.send(data)
            except BlockingIOError:
                self._will_flush = True
                self._loop.add_writer(self._fd, self._writable)
                return
            except OSError:
                return  # the end of what can be read comes next; the core's last response may say why
            protocol.sent(size)
            if self._unanswered:
                self._report_sent()

    def pause(self) -> None:
        """Read nothing until `resume`, so that the core waits."""
        if not self._is_paused and not self.is_closed:
            self._is_paused = True
            self._loop.remove_reader(self._fd)

    def resume(self) -> None:
        if self._is_paused and not self.is_closed:
            self._is_paused = False
            self._loop.add_reader(self._fd, self._readable)

    def retire(self) -> None:
        """Take no more requests."""
        self.is_retired = True
        self.close_if_unused()

    def close_if_unused(self) -> None:
        """Close a connection that takes no more requests once nobody waits for an answer."""
        is_done = self.is_retired or not self.protocol.is_core_reading
        if is_done and all(exchange.is_abandoned for exchange in self.protocol.in_flight):
            self.close()

    def close(self) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        self._socket.close()
        self.on_end()

    def _report_sent(self) -> None:
        sent = [exchange for exchange in self._unanswered if exchange.frame is None]
        self._unanswered = [exchange for exchange in self._unanswered if exchange.frame is not None]
        self.on_answers([(exchange, b"") for exchange in sent if not exchange.is_abandoned])

    def _writable(self) -> None:
        self._loop.remove_writer(self._fd)
        self.flush()

    def _readable(self) -> None:
        try:
            size = self._socket.recv_into(self._scratch)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            size = 0
        if not size:
            self.close()
            return
        answers = self.protocol.receive(self._scratch[:size])
        if answers:
            self.on_answers(answers)
        if self.protocol.is_over:
            self.close()
        elif self.is_retired or not self.protocol.is_core_reading:
            self.close_if_unused()


def _ignore(*_: object) -> None:
    pass
