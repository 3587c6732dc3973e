"""One blocking connection to the core: `call` sends one request, `pipelined` keeps many in flight.

The socket has the timeouts (SO_RCVTIMEO, SO_SNDTIMEO), so that a call takes one write and one read. What bytes mean is
in reed.client.protocol. When the core restarts, a request is repeated if `may_repeat` says so.

Threads take turns: a call holds the connection from its request to its answer, a pipeline until its iterator ends.
"""

from __future__ import annotations

import os
from _socket import MSG_DONTWAIT, socket
from _thread import get_ident
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from reed.client.calls import Calls
from reed.client.link import Link
from reed.client.pipeline import Pipeline, Request
from reed.client.protocol import (
    MAX_RESTARTS,
    Answer,
    ConnectionEnded,
    Exchange,
    NoAnswer,
    Protocol,
    TimedOut,
    may_repeat,
    name_of,
)
from reed.errors import CallError, Conflict, ReedError, Restarting, TooLarge
from reed.runtime_paths import used_folder
from reed.wire.codes import Command

if TYPE_CHECKING:
    from typing import Self

__all__ = ["DEFAULT_RUNTIME_DIR", "ClientConnection", "ConnectionEnded", "NoAnswer", "TimedOut", "core_socket"]

DEFAULT_RUNTIME_DIR = "/tmp/reed-cms"
DEFAULT_TIMEOUT = 60.0  # seconds without a byte from the core


def core_socket(runtime_dir: str | os.PathLike[str] | None = None) -> str:
    """The path of core.sock; the default folder is REED_RUNTIME_DIR, else /tmp/reed-cms."""
    folder = runtime_dir or os.environ.get("REED_RUNTIME_DIR") or DEFAULT_RUNTIME_DIR
    return os.path.join(used_folder(folder), "core.sock")


class ClientConnection(Calls):
    """Does not decode payloads."""

    def __init__(self, path: str | os.PathLike[str] | None = None, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        """`path` is that of core.sock, `timeout` seconds without a byte.

        Raises CoreNotRunning, or ReedError if the socket cannot be used.
        """
        self.path = os.fspath(path) if path is not None else core_socket()
        self.timeout = timeout
        self._link = Link()
        self._connected()

    def close(self) -> None:
        """Close the connection. A later call connects again.

        >>> core.close()
        >>> core.snippet_names()
        ['blog', 'blog/intro']
        """
        self._link.close_in_any_thread()

    def with_timeout(self, timeout: float | None) -> Self:
        """The same client, with another timeout for what is called on it: seconds, None for no limit.

        Both share the connection, so `close` is for both. TimedOut tells that there was no answer in time; a write may
        still be carried out.

        >>> core.with_timeout(2.5).snippet_get("blog").name
        'blog'
        """
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__)
        view.timeout = timeout
        return view

    def call(self, command: int, payload: bytes = b"", flags: int = 0) -> bytes:
        """Send a request that is packed already; returns the payload of its response.

        That is b"" with the flag ASYNC or SIGNAL. Raises CallError if the core refuses it, NoAnswer if the core may
        have carried out a write.

        >>> from reed.wire.codes import Command
        >>> core.call(Command.SYSTEM_STATS)[:2]
        b'\\xc8\\x00'
        """
        link = self._link
        link.take_turn()
        try:
            for _ in range(MAX_RESTARTS):
                answer = self._call(command, payload, flags)
                if type(answer) is bytes:
                    return answer
                assert isinstance(answer, ReedError)
                if not may_repeat(command, answer):
                    raise answer
                if isinstance(answer, ConnectionEnded):
                    try:
                        self._connected()
                    except ReedError:
                        raise answer from None
            answer = self._call(command, payload, flags)
            if isinstance(answer, ReedError):
                raise answer
            return answer
        finally:
            link.end_turn()

    def _call(self, command: int, payload: bytes, flags: int) -> Answer:
        """Returns what the answer reports, and ConnectionEnded; raises all else. Leaves nothing in flight."""
        link = self._link
        try:
            sock = self._connected()
        except (ConnectionEnded, Restarting) as error:  # from CONNECTION_ASSUME
            return error
        protocol = link.protocol
        exchange = protocol.start(command, payload, flags)
        try:
            data = protocol.outgoing()
            try:
                sock.sendall(data)
            except BlockingIOError:
                raise self._timed_out(command) from None
            except ConnectionError:  # the core has closed; its response, if any, says why
                answer = self._receive(sock, command) if protocol.in_flight else _not_sent(protocol, exchange)
            else:
                protocol.sent(len(data))
                if not protocol.in_flight:
                    return b""
                answer = self._receive(sock, command)
        except BaseException:
            link.close()  # or the next call would read this call's response
            raise
        if protocol.is_over or isinstance(answer, TooLarge):
            link.close()
        return answer

    def _receive(self, sock: socket, command: int) -> Answer:
        """The answer to the only request in flight."""
        link = self._link
        protocol, scratch = link.protocol, link.scratch
        while True:
            try:
                size = sock.recv_into(scratch)
            except BlockingIOError:
                raise self._timed_out(command) from None
            except ConnectionError:
                size = 0
            answers = protocol.receive(scratch[:size]) if size else protocol.end()
            if size == len(scratch):
                scratch = link.enlarged_scratch()
            if answers:
                return answers[0][1]

    def pipelined(self, requests: Iterable[Request], window: int = 512) -> Iterator[tuple[Request, bytes | CallError]]:
        """Send many requests without waiting for each answer; yields each with its response or its error, in order.

        At most `window` requests are in flight. Until the iterator ends or is closed, other threads wait for their
        turn, and the same thread cannot use the client. Raises NoAnswer if the core may have carried out a write.

        >>> from reed.client import Request
        >>> from reed.wire.codes import Command
        >>> from reed.wire.requests import Ref
        >>> reads = [Request(Command.SNIPPET_GET, Ref(name).pack(), name) for name in ("blog", "nowhere")]
        >>> for request, answer in core.pipelined(reads):
        ...     print(request.tag, type(answer).__name__)
        blog bytes
        nowhere NotFound
        """
        link = self._link
        link.take_turn()
        pipeline = Pipeline(requests, window)
        protocol = link.protocol
        try:
            while True:
                if link.protocol is not protocol:
                    pipeline.ended(protocol)
                sock = self._connected()
                protocol = link.protocol
                if not pipeline.fill(protocol):
                    if not protocol.unsent:
                        return
                    link.close()  # the core has refused the rest of a request
                    continue
                if not self._send_some(sock, protocol):
                    continue
                answers = self._receive_some(sock, protocol)
                if answers:
                    yield from pipeline.responses(answers)
                if protocol.is_over or not answers:
                    link.close()
        finally:
            if protocol.in_flight or protocol.is_over:
                link.close()
            link.end_turn()

    def _responses(self, command: int, payload: bytes) -> Iterator[bytes]:
        """The responses to a request that has many (SNIPPET_WATCH), until the connection ends, which is an error too.

        The connection is of no other use.
        """
        link = self._link
        link.take_turn()
        try:
            sock = self._connected()
            protocol = link.protocol
            protocol.start(command, payload, is_stream=True)
            with suppress(ConnectionError):  # what can still be read says why
                sock.sendall(protocol.outgoing())
                protocol.sent(protocol.unsent)
            while True:
                answers = self._receive_some(sock, protocol)
                for _, answer in answers or protocol.end():
                    if isinstance(answer, ReedError):
                        raise answer
                    link.thread = 0  # until it waits again, it may be closed by any thread
                    yield answer
                    link.thread = get_ident()
        finally:
            link.close()
            link.end_turn()

    def _send_some(self, sock: socket, protocol: Protocol) -> bool:
        """Send what fits the socket buffer, blocking only for the oldest request; False if more may be sent.

        To block for another would be a deadlock if the core waits until its responses are read.
        """
        data = protocol.outgoing()
        if not data:
            return True
        try:
            protocol.sent(sock.send(data, MSG_DONTWAIT))
        except BlockingIOError:
            if protocol.in_flight[0] is not protocol.queue[0]:
                return True
            try:
                protocol.sent(sock.send(protocol.outgoing_of_oldest()))
            except BlockingIOError:
                raise TimedOut(f"the core read no request within {self.timeout} s") from None
            except ConnectionError:
                return True
        except ConnectionError:
            return True  # a response that can still be read says why
        return not protocol.queue

    def _receive_some(self, sock: socket, protocol: Protocol) -> list[tuple[Exchange, Answer]]:
        """One answer or more; none if the connection ended."""
        scratch = self._link.scratch
        while True:
            try:
                size = sock.recv_into(scratch)
            except BlockingIOError:
                raise self._timed_out(protocol.in_flight[0].command) from None
            except ConnectionError:
                size = 0
            answers = protocol.receive(scratch[:size]) if size else []
            if size == len(scratch):
                scratch = self._link.enlarged_scratch()
            if answers or not size or protocol.is_over:
                return answers

    def _connected(self) -> socket:
        link = self._link
        sock = link.socket
        if sock is None:
            sock = link.connect(self.path, self.timeout)
            if link.assumed:
                self._send_assumed()
        elif link.timeout != self.timeout:
            link.set_timeout(sock, self.timeout)
        return sock

    def _assume(self, payload: bytes) -> bytes:
        """Send CONNECTION_ASSUME now, and first on every later connection, which would have all permissions again."""
        link = self._link
        link.take_turn()
        try:
            if link.assumed:
                raise Conflict("this client is that of a user already", hint="make a Client for each user")
            self._connected()
            link.assumed = payload  # also if it is refused: the caller wants less than this client has
            return self._send_assumed()
        finally:
            link.end_turn()

    def _send_assumed(self) -> bytes:
        """If it fails the connection is closed, and nothing else was sent."""
        try:
            answer = self._call(Command.CONNECTION_ASSUME, self._link.assumed, 0)
            if isinstance(answer, ReedError):
                raise answer
            return answer
        except ConnectionEnded as error:
            error.unsent = True
            raise
        except BaseException:
            self._link.close()
            raise

    def _begin_responses(self, command: int, payload: bytes) -> tuple[ClientConnection, Iterator[bytes]]:
        """Another connection of the same user, and the responses to its only request."""
        connection = ClientConnection(self.path, None)
        if self._link.assumed:
            connection._assume(self._link.assumed)
        return connection, connection._responses(command, payload)

    def _timed_out(self, command: int) -> TimedOut:
        hint = "the core may still carry it out"
        return TimedOut(f"no answer to {name_of(command)} within {self.timeout:g} s", hint=hint)


def _not_sent(protocol: Protocol, exchange: Exchange) -> ConnectionEnded:
    """The error of a request without an answer."""
    protocol.end()
    error = ConnectionEnded(f"the core closed the connection before it received {name_of(exchange.command)}")
    error.unsent = True
    return error
