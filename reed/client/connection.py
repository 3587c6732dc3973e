"""One blocking connection to the core: `call` sends one request, `pipelined` keeps many in flight.

The socket has the timeouts (SO_RCVTIMEO, SO_SNDTIMEO), so that a call takes one write and one read. When the core
restarts, a request is retried if the core has not begun it or if its command is idempotent (protocol.md#responses).
"""

from __future__ import annotations

import os

# Importing `socket` takes as long as this module: the command line would be slower.
from _socket import AF_UNIX, MSG_DONTWAIT, SO_RCVTIMEO, SO_SNDTIMEO, SOCK_STREAM, SOL_SOCKET, socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from struct import pack

from reed.client.pipeline import IDEMPOTENT, Pipeline, Request
from reed.errors import CallError, Conflict, CoreNotRunning, ReedError, Restarting, TooLarge
from reed.runtime_paths import Address, used_folder
from reed.wire import frames
from reed.wire.codes import Command, Flag
from reed.wire.commands import WRITE_ERRORS
from reed.wire.common import ErrorResponse
from reed.wire.frames import Frame, ReceiveBuffer
from reed.wire.structs import SNIPPET_WRITTEN

DEFAULT_RUNTIME_DIR = "/tmp/reed-cms"
DEFAULT_TIMEOUT = 60.0  # seconds without a byte from the core

_READ_SIZE = 256 * 1024
_MAX_RESTARTS = 3  # of the core, during one call
_MAX_RESPONSE = 0xFFFFFFFF  # the buffer grows only with received bytes
_REPORTS_WRITE_ERRORS = frozenset(int(command) for command in Command if command.reports_write_errors)

Responses = list[tuple[Request, bytes | CallError]]


class NoAnswer(ReedError):
    """The connection ended or timed out before the response; the request may have been carried out."""


class ConnectionEnded(NoAnswer):
    """`unsent`: the core had not received the whole request."""

    unsent = False


def core_socket(runtime_dir: str | os.PathLike[str] | None = None) -> str:
    """The path of core.sock; the default folder is REED_RUNTIME_DIR, else /tmp/reed-cms."""
    folder = runtime_dir or os.environ.get("REED_RUNTIME_DIR") or DEFAULT_RUNTIME_DIR
    return os.path.join(used_folder(folder), "core.sock")


class ClientConnection:
    """Does not decode payloads."""

    def __init__(self, path: str | os.PathLike[str] | None = None, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        """`path` is that of core.sock, `timeout` seconds without a byte."""
        self.path = os.fspath(path) if path is not None else core_socket()
        self.timeout = timeout
        self._scratch = memoryview(bytearray(_READ_SIZE))
        self._socket: socket | None = None
        self._buffer = ReceiveBuffer(_MAX_RESPONSE)
        self._assumed = b""  # the payload of CONNECTION_ASSUME, sent first on every connection
        self._connected()

    def close(self) -> None:
        """A later call reconnects."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            self._buffer = ReceiveBuffer(_MAX_RESPONSE)

    def call(self, command: int, payload: bytes = b"", flags: int = 0) -> bytes:
        """Returns the payload of the response, b"" with the flag ASYNC or SIGNAL.

        NoAnswer if the core may have carried out a write.
        """
        for _ in range(_MAX_RESTARTS):
            try:
                return self._call(command, payload, flags)
            except Restarting:
                self.close()
            except ConnectionEnded as error:
                if not (error.unsent or command in IDEMPOTENT):
                    raise
                try:
                    self._connected()
                except ReedError:
                    raise error from None
        return self._call(command, payload, flags)

    def _call(self, command: int, payload: bytes, flags: int) -> bytes:
        unsent = False
        sock = self._connected()
        try:
            try:
                sock.sendall(frames.encode(command, payload, flags))
            except BlockingIOError:
                raise self._timed_out(command) from None
            except ConnectionError:
                unsent = True  # the core has closed; its response, if any, says why
            if flags & (Flag.ASYNC | Flag.SIGNAL):
                return b""
            frame = self._receive(sock, command)
        except ConnectionEnded as error:
            self.close()
            error.unsent = unsent
            raise
        except BaseException:
            self.close()  # or the next call would read this call's response
            raise
        try:
            return _payload(command, frame)
        except TooLarge:
            self.close()  # as the core does
            raise

    def next_response(self, command: int) -> bytes:
        """Wait for one more response to a request that has several (SNIPPET_WATCH); raises the error that it is."""
        try:
            return _payload(command, self._receive(self._connected(), command))
        except BaseException:
            self.close()
            raise

    def pipelined(self, requests: Iterable[Request], window: int = 512) -> Iterator[tuple[Request, bytes | CallError]]:
        """Yields each request with the payload of its response or its error, in order.

        At most `window` requests are in flight. The connection cannot be used otherwise until the iterator ends.
        NoAnswer if the core may have carried out a write.
        """
        source = iter(requests)
        pipeline = Pipeline()
        fruitless = 0  # connections in a row that gave no response
        has_answered = False
        try:
            while True:
                pipeline.fill(source, window)
                if pipeline.in_flight:
                    self._send_some(pipeline)
                    if pipeline.can_send:
                        continue
                    responses = self._receive_some(pipeline, may_retry=fruitless < _MAX_RESTARTS)
                    has_answered = has_answered or bool(responses)
                    yield from responses
                    if not pipeline.ended:
                        continue
                    fruitless = 0 if has_answered else fruitless + 1
                elif not pipeline.unsent:
                    return
                self.close()
                pipeline, has_answered = Pipeline(pipeline.unanswered()), False
        finally:
            if pipeline.in_flight:
                self.close()

    def _send_some(self, pipeline: Pipeline) -> None:
        """Send what fits the socket buffer, blocking only for the oldest request.

        To block for another would be a deadlock if the core waits until its responses are read.
        """
        if not pipeline.unsent:
            return
        due = pipeline.oldest_unsent
        try:
            if due > 0:
                pipeline.mark_sent(self._connected().send(pipeline.unsent[:due]))
            else:
                pipeline.mark_sent(self._connected().send(pipeline.unsent, MSG_DONTWAIT))
        except BlockingIOError:
            if due > 0:
                raise NoAnswer(f"the core read no request within {self.timeout} s") from None
            pipeline.is_full = True
        except ConnectionError:
            pipeline.unsent.clear()  # a response that can still be read says why

    def _receive_some(self, pipeline: Pipeline, *, may_retry: bool) -> Responses:
        """The next responses; none if the pipeline ended."""
        responses: Responses = []
        try:
            frame: Frame | None = self._receive(self._connected(), pipeline.in_flight[0][0].command)
        except ConnectionEnded:
            if not (may_retry and pipeline.can_retry):
                raise
            pipeline.ended = True
            return responses
        while frame is not None:
            request, _ = pipeline.in_flight[0]
            try:
                responses.append((request, _payload(request.command, frame)))
            except Restarting as error:  # the core begins no later request either
                if not may_retry:
                    raise NoAnswer(str(error)) from None
                pipeline.ended = True
                break
            except CallError as error:
                responses.append((request, error))
            pipeline.in_flight.popleft()
            frame = self._next_frame() if pipeline.in_flight else None
        if responses:
            pipeline.core_stopped_reading = isinstance(responses[-1][1], TooLarge)
        return responses

    def _receive(self, sock: socket, command: int) -> Frame:
        while (frame := self._next_frame()) is None:
            self._buffer.keep()
            try:
                size = sock.recv_into(self._scratch)
            except BlockingIOError:
                raise self._timed_out(command) from None
            except ConnectionError:
                size = 0
            if not size:
                raise ConnectionEnded(
                    f"the core closed the connection before it answered {_name(command)}",
                    hint="the request may have been carried out; see the core's log",
                )
            self._buffer.feed(self._scratch[:size])
        return frame

    def _next_frame(self) -> Frame | None:
        try:
            return self._buffer.next_frame()
        except CallError as error:
            raise NoAnswer(f"{self.path}: the peer is not a core: {error.message}") from None

    def _connected(self) -> socket:
        if self._socket is not None:
            return self._socket
        sock = socket(AF_UNIX, SOCK_STREAM)
        try:
            if self.timeout is not None:
                timeval = pack("ll", int(self.timeout), int(self.timeout % 1 * 1e6))
                sock.setsockopt(SOL_SOCKET, SO_RCVTIMEO, timeval)
                sock.setsockopt(SOL_SOCKET, SO_SNDTIMEO, timeval)
            with Address(self.path) as address:
                sock.connect(address)
        except OSError as error:
            sock.close()
            raise _cannot_connect(self.path, error) from None
        self._socket = sock
        if self._assumed:
            self._send_assumed(sock)
        return sock

    def _assume(self, payload: bytes) -> bytes:
        """Send CONNECTION_ASSUME now, and first on every later connection, which would have all permissions again."""
        if self._assumed:
            raise Conflict("this client is that of a user already", hint="make a Client for each user")
        sock = self._connected()
        self._assumed = payload  # also if it is refused: the caller wants less than this client has
        return self._send_assumed(sock)

    def _send_assumed(self, sock: socket) -> bytes:
        """If it fails the connection is closed, and nothing else was sent."""
        command = Command.CONNECTION_ASSUME
        try:
            with suppress(ConnectionError):  # a response that can still be read says why
                sock.sendall(frames.encode(command, self._assumed))
            return _payload(command, self._receive(sock, command))
        except ConnectionEnded as error:
            self.close()
            error.unsent = True
            raise
        except BaseException:
            self.close()
            raise

    def _timed_out(self, command: int) -> NoAnswer:
        hint = "the core may still carry it out"
        return NoAnswer(f"no answer to {_name(command)} within {self.timeout:g} s", hint=hint)


def _payload(command: int, frame: Frame) -> bytes:
    """Raises the error that the response reports."""
    payload = bytes(frame.payload)
    if frame.flags & Flag.ERROR:
        raise _error_of(ErrorResponse.unpack(payload))
    if frame.command_id != command or not frame.flags & Flag.RESPONSE:
        raise NoAnswer(f"the core answered 0x{frame.command_id:02X} instead of {_name(command)}")
    if command in _REPORTS_WRITE_ERRORS:
        status, _, _ = SNIPPET_WRITTEN.unpack_from(payload)
        if status >= 400:
            text = payload[SNIPPET_WRITTEN.size :].decode("utf-8", "replace")
            raise WRITE_ERRORS.get(status, CallError)(text, status=status)
    return payload


def _error_of(response: ErrorResponse) -> CallError:
    """A plain CallError for a plugin's own code."""
    known = {int(each.error_code): each for each in CallError.__subclasses__()}
    found = known.get(response.error_code, CallError)
    return found(response.message, status=response.status, error_code=response.error_code)


def _name(command: int) -> str:
    try:
        return Command(command).name
    except ValueError:
        return f"command 0x{command:02X}"


def _cannot_connect(path: str, error: OSError) -> ReedError:
    if isinstance(error, (FileNotFoundError, ConnectionRefusedError, NotADirectoryError)):
        return CoreNotRunning(f"core not running: nobody listens on {path}", hint="start it with: reed start")
    if isinstance(error, PermissionError):
        return ReedError(
            f"{path}: permission denied", hint="only the core's user and the group socket_group may open it"
        )
    if isinstance(error, BlockingIOError):
        return NoAnswer(f"{path}: the core does not accept connections", hint="see the core's log")
    return ReedError(f"{path}: {error.strerror or error}")
