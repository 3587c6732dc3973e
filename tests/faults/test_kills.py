"""Killed and suspended processes: plugins, the core during writes, and all at once."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import struct
import time

from reed.client import Client
from reed.client.connection import NoAnswer
from reed.errors import CallError, NotFound, PluginOffline
from reed.wire import frames
from reed.wire.codes import Command

ECHO = 'plugin.action("echo", function(text) return text end)'
ACTIONS = "actions:\n  echo: {command_id: 1}\n"
OFTEN = "timing: {restart_limit: 1000, health_interval: 200ms, health_misses: 3, start_deadline: 15s}\n"


def test_every_call_to_a_killed_plugin_is_answered_and_it_restarts(ground, times) -> None:
    ground.config = OFTEN
    ground.lua("tool", ECHO, ACTIONS)
    client = ground.start()
    payload = struct.pack("<32s32sI", b"tool", b"echo", 1) + b"1"
    statuses: dict[int, int] = {}
    with ground.fault("kill -9 of a plugin with 50 calls", "each call gets 200 or 502") as fault:
        for _ in range(times(4, 400)):
            client.plugin_start("tool")
            pid = ground.plugin_pid(client, "tool")
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(20)
                sock.connect(str(ground.site.socket_path))
                sock.sendall(frames.encode(Command.PLUGIN_SEND, payload) * 50)
                os.kill(pid, signal.SIGKILL)
                for status in read_statuses(sock, 50):
                    statuses[status] = statuses.get(status, 0) + 1
            fault.injected()
        assert set(statuses) <= {200, 502}, statuses
        assert client.plugin_send("tool", "echo", 1).body == b"1"


def test_acknowledged_writes_survive_kill_9_of_the_core(ground, times) -> None:
    ground.lua("tool", ECHO, ACTIONS)
    ground.start().close()
    seed = random.randrange(1 << 32)
    rnd = random.Random(seed)
    kept: dict[str, int] = {}
    with ground.fault("kill -9 of the core during writes", "acknowledged writes are there") as fault:
        for turn in range(times(3, 200)):
            kept |= cut_short(ground, f"t{turn}", rnd.randrange(1, 400))
            ground.site.start()
            fault.injected()
        with ground.client() as client:
            missing = [name for name, number in kept.items() if not there(client, name, number)]
        assert not missing, f"seed {seed}: {missing[:5]}"


def test_acknowledged_writes_survive_kill_9_of_all_processes(ground, times) -> None:
    """The core, the zygote and every plugin."""
    ground.config = OFTEN
    ground.lua("tool", ECHO, ACTIONS)
    ground.lua("other", ECHO, ACTIONS)
    ground.start().close()
    with ground.fault("kill -9 of core and plugins at once", "acknowledged writes are there") as fault:
        for turn in range(times(2, 100)):
            kept = cut_short(ground, f"a{turn}", 50 + turn, everyone=True)
            ground.site.start()
            with ground.client() as client:
                assert all(there(client, name, number) for name, number in kept.items())
                client.plugin_start("tool")
                assert client.plugin_send("tool", "echo", 1).body == b"1"
            fault.injected()


def test_a_plugin_in_a_crash_loop_fails_with_its_last_lines(ground, times) -> None:
    ground.config = "timing: {restart_limit: 2, start_deadline: 15s}\n"
    ground.lua("crash", 'plugin.action("echo", function() end)\nerror("no way")', ACTIONS, auto=False)
    ground.lua("tool", ECHO, ACTIONS)
    client = ground.start()
    with ground.fault("a plugin crashes in a loop", "failed, with its last lines") as fault:
        for _ in range(times(1, 50)):
            with contextlib.suppress(PluginOffline):
                client.plugin_start("crash")
            ground.until(lambda: ground.state(client, "crash") == "failed")
            assert any("no way" in line for line in client.plugin_health("crash")[0]["last_lines"])
            assert client.plugin_send("tool", "echo", 1).body == b"1"
            fault.injected(3)


def test_a_plugin_stopped_by_sigstop_is_killed_and_restarted(ground, times) -> None:
    ground.config = OFTEN
    ground.lua("tool", ECHO, ACTIONS)
    client = ground.start()
    with ground.fault("SIGSTOP of a plugin", "killed after three health checks") as fault:
        for _ in range(times(2, 50)):
            pid = ground.plugin_pid(client, "tool")
            os.kill(pid, signal.SIGSTOP)
            ground.until(lambda pid=pid: ground.plugin_pid(client, "tool") not in {0, pid})
            client.plugin_start("tool")
            assert client.plugin_send("tool", "echo", 1).body == b"1"
            fault.injected()
        assert "health checks" in ground.site.log.read_text()


def test_a_core_stopped_by_sigstop_continues_and_kills_no_plugin(ground, times) -> None:
    ground.config = OFTEN
    ground.lua("tool", ECHO, ACTIONS)
    client = ground.start()
    pid = ground.plugin_pid(client, "tool")
    with ground.fault("SIGSTOP of the core for a second", "continues, no plugin killed") as fault:
        for _ in range(times(1, 30)):
            os.kill(ground.pid, signal.SIGSTOP)
            time.sleep(1.0)
            os.kill(ground.pid, signal.SIGCONT)
            assert client.plugin_send("tool", "echo", 1).body == b"1"
            fault.injected()
        ground.until(lambda: client.plugin_health("tool")[0]["state"] == "ready")
        assert ground.plugin_pid(client, "tool") == pid


def cut_short(ground, name: str, after: int, *, everyone: bool = False) -> dict[str, int]:
    """Kill the core after `after` acknowledged writes, with 64 more in flight; returns the acknowledged ones."""
    kept: dict[str, int] = {}
    victims = [ground.pid, *(ground.descendants() if everyone else [])]
    with Client(ground.site.socket_path) as client:
        contents = ((f"{name}/{number}", number) for number in range(1_000_000))
        requests = (created(*content) for content in contents)
        try:
            for request, answer in client.pipelined(requests, window=64):
                assert not isinstance(answer, CallError), answer
                kept[request.tag[0]] = request.tag[1]
                if len(kept) == after:
                    for victim in victims:
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(victim, signal.SIGKILL)
        except NoAnswer:
            pass
    ground.site.process.wait()
    return kept


def created(name: str, number: int):
    from reed.client.connection import Request

    content = b'{"n":%d}' % number
    payload = struct.pack("<32s32sI", b"page", name.encode(), len(content)) + content
    return Request(Command.SNIPPET_CREATE, payload, (name, number))


def there(client: Client, name: str, number: int) -> bool:
    try:
        return bytes(client.snippet_get(name).content) == b'{"n":%d}' % number
    except NotFound:
        return False


def read_statuses(sock: socket.socket, count: int) -> list[int]:
    data = b""
    found = []
    while len(found) < count:
        piece = sock.recv(1 << 20)
        assert piece, f"the core closed after {len(found)} answers"
        data += piece
        while len(data) >= 12 and len(data) >= 12 + (size := struct.unpack_from("<I", data, 8)[0]):
            found.append(struct.unpack_from("<H", data, 12)[0])
            data = data[12 + size :]
    return found
