"""Frames to the core and back: one blocking connection, one call at a time or many under way.

    call        request ──> answer
    pipelined   requests ──> … ──> answers, in order: a window of them is under way

Timeouts are those of the socket itself (SO_RCVTIMEO), so that a call costs one write and one read.
"""

from __future__ import annotations

import os

# The module `socket` takes as long to import as all of this one: the command line would feel it.
from _socket import AF_UNIX, MSG_DONTWAIT, SO_RCVTIMEO, SO_SNDTIMEO, SOCK_STREAM, SOL_SOCKET, socket
from collections.abc import Iterable, Iterator
from struct import pack

from reed.client.pipeline import Line, Request
from reed.errors import CallError, Conflict, CoreNotRunning, Invalid, NotFound, ReedError, Restarting, TooLarge
from reed.runtime_paths import Address, used_folder
from reed.wire import frames
from reed.wire.codes import READS, SNIPPET_WRITES, Command, Flag
from reed.wire.common import ErrorResponse
from reed.wire.frames import Frame, ReceiveBuffer
from reed.wire.structs import SNIPPET_WRITTEN

DEFAULT_RUNTIME_DIR = "/tmp/reed-cms"
DEFAULT_TIMEOUT = 60.0  # seconds without a byte from the core

_READ_SIZE = 256 * 1024
_MOST_RESTARTS = 3  # in the way of one call
_LARGEST_ANSWER = 0xFFFFFFFF  # memory grows only with what has really come


class NoAnswer(ReedError):
    """The connection ended or the time was over before the answer came; what was asked may have been done or not."""


class ConnectionEnded(NoAnswer):
    """The core closed the connection, or died. `unsent`: before it had got the whole request."""

    unsent = False


def core_socket(runtime_dir: str | os.PathLike[str] | None = None) -> str:
    """Where the core of a runtime folder listens; by default that of REED_RUNTIME_DIR, or of /tmp/reed-cms."""
    folder = runtime_dir or os.environ.get("REED_RUNTIME_DIR") or DEFAULT_RUNTIME_DIR
    return os.path.join(used_folder(folder), "core.sock")


class Connection:
    """Frames to the core and back, without knowing what they mean."""

    def __init__(self, path: str | os.PathLike[str] | None = None, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        """`path` is that of core.sock; `timeout` in seconds without a byte, None: for ever."""
        self.path = os.fspath(path) if path is not None else core_socket()
        self.timeout = timeout
        self._scratch = memoryview(bytearray(_READ_SIZE))
        self._socket: socket | None = None
        self._buffer = ReceiveBuffer(_LARGEST_ANSWER)
        self._connected()

    def close(self) -> None:
        """End the connection; a later call opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            self._buffer = ReceiveBuffer(_LARGEST_ANSWER)

    def call(self, command: int, payload: bytes = b"", flags: int = 0) -> bytes:
        """Send a request and wait for the payload of its answer; with ASYNC or SIGNAL nothing is answered: b"".

        Where the core ended or restarts, what it has not begun for certain, and what only reads, is asked once more of
        the next core. A write that may have been done is not: NoAnswer.
        """
        for _ in range(_MOST_RESTARTS):
            try:
                return self._call(command, payload, flags)
            except Restarting:
                self.close()
            except ConnectionEnded as error:
                if not (error.unsent or command in READS):
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
                raise self._too_slow(command) from None
            except ConnectionError:
                unsent = True  # the core refused it before it had read all of it: its answer says why, if it gave one
            if flags & (Flag.ASYNC | Flag.SIGNAL):
                return b""
            frame = self._receive(sock, command)
        except ConnectionEnded as error:
            self.close()
            error.unsent = unsent
            raise
        except BaseException:
            self.close()  # else the answer would be taken for that of the next call
            raise
        try:
            return _answer(command, frame)
        except TooLarge:
            self.close()  # the core does so too
            raise

    def pipelined(self, requests: Iterable[Request], window: int = 512) -> Iterator[tuple[Request, bytes | CallError]]:
        """Every request with the payload of its answer or its error, in order.

        At most `window` requests are under way; `requests` is asked for more as answers come. It cannot lock up: where
        the core takes no more, answers are read first. Until it is exhausted, the connection is for nothing else.

        It goes on over a restart of the core, as `call` does: what was not begun is asked of the next one. NoAnswer
        where the connection ended and a write that has no answer may have been done.
        """
        source = iter(requests)
        line = Line()
        in_vain = 0
        try:
            while True:
                line.fill(source, window)
                if line.waiting:
                    self._send_some(line)
                    if line.may_go_on:
                        continue
                    yield from self._receive_some(line, may_go_anew=in_vain < _MOST_RESTARTS)
                    if not line.is_over:
                        continue
                    in_vain = 0 if line.has_answered else in_vain + 1
                elif not line.unsent:
                    return
                self.close()  # it begins nothing more of what is under way: that goes anew
                line = Line(line.requests())
        finally:
            if line.waiting:
                self.close()

    def _send_some(self, line: Line) -> None:
        """Send what the core takes at once. Wait for it only to take the rest of the oldest request: while the core has
        not got that whole, it has no answer to give that could be in the way.
        """
        if not line.unsent:
            return
        try:
            if line.owed > 0:
                line.took(self._connected().send(line.unsent[: line.owed]))
            else:
                line.took(self._connected().send(line.unsent, MSG_DONTWAIT))
        except BlockingIOError:
            if line.owed > 0:
                raise NoAnswer(f"the core took no request within {self.timeout} s") from None
            line.is_full = True
        except ConnectionError:
            line.unsent.clear()  # an answer that is still to be read says why, or that it ended

    def _receive_some(self, line: Line, *, may_go_anew: bool) -> list[tuple[Request, bytes | CallError]]:
        """The next answer, once it is there, and those that came along with it; none where the line is over."""
        answers: list[tuple[Request, bytes | CallError]] = []
        try:
            frame: Frame | None = self._receive(self._connected(), line.waiting[0][0].command)
        except ConnectionEnded:
            if not (may_go_anew and line.was_not_begun):
                raise
            line.is_over = True
            return answers
        while frame is not None:
            request, _ = line.waiting[0]
            try:
                answers.append((request, _answer(request.command, frame)))
            except Restarting as error:  # nor does it begin any that comes after
                if not may_go_anew:
                    raise NoAnswer(str(error)) from None
                line.is_over = True
                break
            except CallError as error:
                answers.append((request, error))
            line.waiting.popleft()
            frame = self._next_frame() if line.waiting else None
        if answers:
            line.has_answered = True
            line.reads_no_more = isinstance(answers[-1][1], TooLarge)
        return answers

    def _receive(self, sock: socket, command: int) -> Frame:
        while (frame := self._next_frame()) is None:
            self._buffer.keep()
            try:
                size = sock.recv_into(self._scratch)
            except BlockingIOError:
                raise self._too_slow(command) from None
            except ConnectionError:
                size = 0
            if not size:
                raise ConnectionEnded(
                    f"the core closed the connection before it answered {_name(command)}",
                    hint="it may have been done or not; the core's log says more",
                )
            self._buffer.feed(self._scratch[:size])
        return frame

    def _next_frame(self) -> Frame | None:
        try:
            return self._buffer.next_frame()
        except CallError as error:
            raise NoAnswer(f"{self.path}: what answers there is no core: {error.message}") from None

    def _connected(self) -> socket:
        if self._socket is not None:
            return self._socket
        sock = socket(AF_UNIX, SOCK_STREAM)
        try:
            if self.timeout is not None:
                spell = pack("ll", int(self.timeout), int(self.timeout % 1 * 1e6))
                sock.setsockopt(SOL_SOCKET, SO_RCVTIMEO, spell)
                sock.setsockopt(SOL_SOCKET, SO_SNDTIMEO, spell)
            with Address(self.path) as address:
                sock.connect(address)
        except OSError as error:
            sock.close()
            raise _cannot_connect(self.path, error) from None
        self._socket = sock
        return sock

    def _too_slow(self, command: int) -> NoAnswer:
        return NoAnswer(f"no answer to {_name(command)} within {self.timeout:g} s", hint="it may still be done")


def _answer(command: int, frame: Frame) -> bytes:
    """The payload of an answer, which is the caller's own; or its error, raised."""
    payload = bytes(frame.payload)
    if frame.flags & Flag.ERROR:
        raise _error_of(ErrorResponse.unpack(payload))
    if frame.command_id != command or not frame.flags & Flag.RESPONSE:
        raise NoAnswer(f"the core answered 0x{frame.command_id:02X} where {_name(command)} was due")
    if command in SNIPPET_WRITES:
        status, _, _ = SNIPPET_WRITTEN.unpack_from(payload)
        if status >= 400:
            # What is wrong with the snippet itself is told in the answer's own struct (protocol.md#responses).
            text = payload[SNIPPET_WRITTEN.size :].decode("utf-8", "replace")
            raise _WRITE_ERRORS.get(status, CallError)(text, status=status)
    return payload


_WRITE_ERRORS: dict[int, type[CallError]] = {404: NotFound, 409: Conflict, 422: Invalid}


def _error_of(response: ErrorResponse) -> CallError:
    """The error as the core raised it; a plain CallError for a code that is not the core's."""
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
            f"{path}: permission denied", hint="the core's user may open it, and the group socket_group names"
        )
    if isinstance(error, BlockingIOError):
        return NoAnswer(f"{path}: the core does not accept connections", hint="its log says more")
    return ReedError(f"{path}: {error.strerror or error}")
