"""Quotas: errors name the caller, the amount and the limit; others are not affected."""

from __future__ import annotations

import contextlib
import json
import socket
import struct

from reed.wire import frames
from reed.wire.codes import Command
from reed.wire.plugins import PluginSend

PAUSE = "main(lambda seconds: time.sleep(seconds))"
CROWD = """
HELD = []
def crowd(count):
    said = []
    for _ in range(count):
        other = socket.socket(socket.AF_UNIX)
        other.connect(os.environ["REED_RUNTIME_DIR"] + "/core.sock")
        try:
            other.sendall(HEADER.pack(0x52454544, 1, 4, 0, 0, 36) + b"none".ljust(36, b"\\0"))
        except BrokenPipeError:
            pass  # refused already; the response says why
        said.append(other.recv(4096)[12:].decode("latin-1"))
        HELD.append(other)
    return said
main(crowd)
"""


def opened(ground) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(20)
    sock.connect(str(ground.site.socket_path))
    return sock


def error_on(sock: socket.socket) -> str:
    """Status and text of the next ErrorResponse."""
    data = b""
    while len(data) < 20:
        data += sock.recv(4096) or b"\0" * 20
    return f"{struct.unpack_from('<H', data, 12)[0]} {data[20:].decode()}"


def ask(ground, seconds: float) -> socket.socket:
    """A connection with a call in flight that takes `seconds`."""
    sock = opened(ground)
    given = str(seconds).encode()
    payload = struct.pack("<32s32sI", b"slow", b"do", len(given)) + given
    sock.sendall(frames.encode(Command.PLUGIN_SEND, payload))
    return sock


def test_too_many_connections_of_one_user(ground, times) -> None:
    ground.config = "limits: {user_connections: 20}\n"
    client = ground.start()
    with ground.fault("too many connections of one user", "429 with caller and limit") as fault:
        for _ in range(times(2, 100)):
            crowd = [opened(ground) for _ in range(30)]
            text = error_on(crowd[-1])
            assert text.startswith("429 ")
            assert "limits.user_connections in reed.yaml is 20" in text
            for sock in crowd:
                sock.close()
            ground.until(lambda: client.stats()["connections"] < 5)
            fault.injected(10)


def test_too_many_connections_of_one_plugin(ground) -> None:
    ground.config = "sandbox: off\nlimits: {plugin_connections: 8}\n"
    ground.native("greedy", CROWD)
    client = ground.start()
    with ground.fault("too many connections of one plugin", "429 with caller and limit") as fault:
        said = json.loads(bytes(client.plugin_send("greedy", "do", 12).body))
        assert sum("plugin greedy has 8" in text for text in said) == 5, said
        assert all("limits.plugin_connections in reed.yaml is 8" in text for text in said[7:])
        fault.injected(5)


def test_too_many_calls_of_one_user(ground) -> None:
    ground.config = "limits: {user_calls: 4}\n" + "timing: {start_deadline: 15s}\nsandbox: off\n"
    ground.native("slow", PAUSE)
    client = ground.start()
    with ground.fault("too many calls of one user", "429 with caller and limit") as fault:
        waiting = [ask(ground, 0.5) for _ in range(4)]
        for _ in range(20):
            with ask(ground, 0) as sock:
                text = error_on(sock)
                assert text.startswith("429 ")
                assert "limits.user_calls in reed.yaml is 4" in text
            fault.injected()
        for sock in waiting:
            assert sock.recv(4096)
            sock.close()
        assert client.plugin_send("slow", "do", 0).status == 200


def test_too_many_bytes_of_one_user_in_incomplete_requests(ground, times) -> None:
    ground.config = "limits: {user_bytes: 4MB}\n"
    ground.start()
    header = frames.header(Command.SNIPPET_CREATE, 16 * 1024 * 1024)
    with ground.fault("too many bytes in stalled requests", "429 with caller and limit") as fault:
        for _ in range(times(1, 50)):
            stalled = [opened(ground) for _ in range(6)]
            refused = 0
            for sock in stalled:
                with contextlib.suppress(ConnectionError):
                    sock.sendall(header + bytes(1024 * 1024))
            for sock in stalled:
                sock.settimeout(1)
                try:
                    text = error_on(sock)
                    assert text.startswith("429 ")
                    assert "limits.user_bytes in reed.yaml is 4194304" in text
                    refused += 1
                except (TimeoutError, ConnectionError):
                    pass
                sock.close()
            assert 1 <= refused <= 3
            fault.injected(6)


def test_too_many_bytes_of_one_user_that_wait_for_a_plugin(ground) -> None:
    ground.config = "limits: {user_bytes: 4MB}\ntiming: {start_deadline: 15s}\nsandbox: off\n"
    ground.native("slow", PAUSE)
    client = ground.start()
    given = b"0.3" + b" " * 1024 * 1024
    request = frames.encode(Command.PLUGIN_SEND, PluginSend("slow", "do", given).pack())
    with (
        ground.fault("too many bytes in inputs of a plugin", "429 with caller and limit") as fault,
        opened(ground) as sock,
    ):
        for _ in range(8):
            sock.sendall(request)
        statuses = []
        while len(statuses) < 8:
            _, size = struct.unpack("<8sI", sock.recv(12, socket.MSG_WAITALL))
            payload = sock.recv(size, socket.MSG_WAITALL)
            statuses.append(struct.unpack_from("<H", payload)[0])
            assert statuses[-1] == 200 or b"limits.user_bytes in reed.yaml is 4194304" in payload
        assert statuses[:3] == [200] * 3
        assert 429 in statuses[3:]
        fault.injected(statuses.count(429))
        assert client.plugin_send("slow", "do", given).status == 200


def test_a_user_who_reads_no_responses_is_disconnected(ground, times) -> None:
    ground.config = "limits: {user_bytes: 4MB}\n"
    client = ground.start()
    client.snippet_create("page", "big", b'{"body":"%s"}' % (b"x" * 1_000_000))
    get = frames.encode(Command.SNIPPET_GET, b"big".ljust(36, b"\0"))
    with ground.fault("unread responses", "disconnected; the log names caller and limit") as fault:
        for _ in range(times(1, 50)):
            deaf = [opened(ground) for _ in range(8)]
            for sock in deaf:
                sock.sendall(get * 4)
            ground.until(lambda: "limits.user_bytes in reed.yaml is 4194304" in ground.site.log.read_text())
            for sock in deaf:
                sock.close()
            fault.injected(8)
