"""A fake core: a thread that runs a test's conversation on each connection."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reed.wire import frames
from reed.wire.frames import ReceiveBuffer

Conversation = Callable[[socket.socket], None]


class FakeCore:
    """Listens on `path`. Each connection runs the next conversation; the last one serves all later connections."""

    def __init__(self, path: Path, *conversations: Conversation) -> None:
        self.path = path
        self.connections = 0
        self._conversations = conversations
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(path))
        self._socket.listen(8)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            conversation = self._conversations[min(self.connections, len(self._conversations) - 1)]
            self.connections += 1
            with connection, contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the client closed first
                conversation(connection)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(10)


def requests(connection: socket.socket) -> Iterator[tuple[int, int, bytes]]:
    """(command_id, flags, payload) of each request, until the client closes."""
    buffer = ReceiveBuffer()
    while data := connection.recv(65536):
        buffer.feed(memoryview(data))
        while (frame := buffer.next_frame()) is not None:
            yield frame.command_id, frame.flags, bytes(frame.payload)
        buffer.keep()


def answering(answer: Callable[[int, bytes], bytes]) -> Conversation:
    """A conversation that answers every request with the frame `answer(command_id, payload)`."""

    def talk(connection: socket.socket) -> None:
        for command_id, _, payload in requests(connection):
            connection.sendall(answer(command_id, payload))

    return talk


@pytest.fixture
def fake_core(tmp_path):
    """Make a fake core: `fake_core(conversation, …)`."""
    made: list[FakeCore] = []

    def make(*conversations: Conversation) -> FakeCore:
        made.append(FakeCore(tmp_path / f"core{len(made)}.sock", *conversations))
        return made[-1]

    make.answering = answering  # type: ignore[attr-defined]
    make.requests = requests  # type: ignore[attr-defined]
    make.reply = lambda command, payload, flags=0: frames.encode(command, payload, flags | 8)  # type: ignore[attr-defined]
    yield make
    for core in made:
        core.close()
