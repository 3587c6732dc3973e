"""A peer's lines in the core's log are limited, counted, and cannot be forged."""

from __future__ import annotations

import os
import re
import signal
import socket

import pytest

from reed.wire import frames
from reed.wire.codes import Command, Flag

MAX_LOG_BYTES = 400 * 1024  # in the few seconds of a test
LUA_FLOOD = """
plugin.action("do", function(count)
  for number = 1, count do reed.log.error("%d %s", number, ("x"):rep(1000)) end
  return {}
end)
"""
MANIFEST = "actions:\n  do: {command_id: 1, timeout: 30s}\nlimits: {cpu: 20s}\n"
FLOODS = {
    "its stdout": "sys.stdout.write('a line of a flood, no ' + str(number) + 'x' * 500 + chr(10))",
    "PLUGIN_ERROR": """
        send(0xF3, struct.pack("<BQ32sH", 5, 0, NAME.encode(), 500) + b"y" * 500, 2)""",
    "responses to nothing": "send(9, b'', 8)",
    "denied ASYNC commands": "send(3, b'none'.ljust(36, b'\\0'), 1)",
    "signals that no plugin sends": 'send(0xF3, struct.pack("<BQ32sH", 0x10, 0, NAME.encode(), 0), 2)',
    "connections to a neighbour's socket": """
        other = socket.socket(socket.AF_UNIX)
        other.connect(os.environ["REED_RUNTIME_DIR"] + "/plugins/neighbour.sock")
        try: other.recv(1)
        except OSError: pass
        time.sleep(0.001)""",
    "frames that end in the middle": """
        other = socket.socket(socket.AF_UNIX)
        other.connect(os.environ["REED_RUNTIME_DIR"] + "/core.sock")
        try: other.sendall(b"x" * 20); other.recv(1)
        except OSError: pass  # refused: too many a second
        time.sleep(0.001)""",
}
NATIVE_FLOOD = """
def flood(count):
    for number in range(count):
        {}
    sys.stdout.flush()
    return count
main(flood)
"""
HOSTILE = "\x1b[31m\x1b]0;x\x07 \u202egnp.exe\u2066\u2028\x85\n2026-01-01 00:00:00,000 ERROR   the disk burns\r\x9b2J"
COUNT_SUPPRESSED = re.compile(r"WARNING (?:output of |plugin )?(\S+): (\d+) more log lines suppressed")


def suppressed(ground, name: str) -> int:
    return sum(int(count) for who, count in COUNT_SUPPRESSED.findall(ground.site.log.read_text()) if who == name)


def test_a_lua_handler_that_logs_in_a_loop(ground, times) -> None:
    ground.config = "timing: {start_deadline: 15s}\n"
    ground.lua("chatty", LUA_FLOOD, MANIFEST)
    client = ground.start()
    with ground.fault("log.error in a loop", "limited in every log, and counted") as fault:
        for _ in range(times(2, 20)):
            client.plugin_send("chatty", "do", 5000)
            fault.injected(5000)
        ground.until(lambda: suppressed(ground, "chatty") > 5000)
    assert ground.site.log.stat().st_size < MAX_LOG_BYTES
    assert sum(path.stat().st_size for path in ground.site.data_dir.glob("logs/chatty.log*")) < 3 * 1024 * 1024


@pytest.mark.parametrize("what", FLOODS)
def test_a_native_plugin_that_floods_the_log(ground, what) -> None:
    ground.config = "timing: {start_deadline: 15s}\nsandbox: off\n"
    ground.native("loud", NATIVE_FLOOD.format(FLOODS[what].strip()))
    ground.native("neighbour", "main(lambda _: 1)")
    client = ground.start()
    with ground.fault(f"a flood of the log: {what}", "limited, and counted") as fault:
        client.plugin_send("loud", "do", 2000)
        fault.injected(2000)
        ground.until(lambda: suppressed(ground, "loud") > 1000)
        client.plugin_send("neighbour", "do", 1)
        os.kill(ground.plugin_pid(client, "loud"), signal.SIGKILL)
        ground.until(lambda: ground.site.log.read_text().count("loud: ready after") == 2, "the flood hid a crash")
    assert ground.site.log.stat().st_size < MAX_LOG_BYTES


def test_failing_async_commands_on_new_connections_do_not_flood_the_log(ground, times) -> None:
    ground.start()
    bad = frames.encode(Command.SNIPPET_DELETE, b"none".ljust(36, b"\0"), flags=Flag.ASYNC)
    with ground.fault("failing ASYNC commands on new connections", "limited, and counted") as fault:
        for _ in range(times(50, 1000)):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(ground.site.socket_path))
                sock.sendall(bad * 40)
                sock.shutdown(socket.SHUT_WR)
                assert sock.recv(1) == b""
            fault.injected(40)
        ground.until(lambda: "more log lines suppressed" in ground.site.log.read_text())
    assert ground.site.log.stat().st_size < MAX_LOG_BYTES


def test_a_plugins_text_forges_no_log_line_and_no_escape_sequence(ground) -> None:
    ground.config = "timing: {start_deadline: 15s}\nsandbox: off\n"
    data = HOSTILE.encode()
    ground.native(
        "liar",
        f"DATA = {data!r}\n"
        "def lie(_):\n"
        '    send(0xF3, struct.pack("<BQ32sH", 5, 0, NAME.encode(), len(DATA)) + DATA, 2)\n'
        "    os.write(1, DATA + b'\\n')\n"
        "    return 1\n"
        "main(lie)",
    )
    client = ground.start()
    with ground.fault("escape sequences and forged lines in PLUGIN_ERROR and stdout", "shown as text") as fault:
        client.plugin_send("liar", "do", 1)
        ground.until(lambda: "the disk burns" in ground.site.log.read_text())
        ground.until(lambda: "2J" in (ground.site.data_dir / "logs/liar.log").read_text())
        fault.injected()
    health = client.plugin_health("liar")[0]
    assert "the disk burns" in health["last_error"]
    logs = [ground.site.log, ground.site.data_dir / "logs/liar.log"]
    for text in (health["last_error"], *health["last_lines"], *(line for log in logs for line in lines_of(log))):
        assert text.isprintable(), text
    for line in lines_of(ground.site.log):
        assert "disk burns" not in line or " liar: " in line, line


def test_a_plugins_error_forges_no_line_on_the_terminal(ground) -> None:
    ground.config = "timing: {start_deadline: 15s}\n"
    fail = 'reed.fail(422, "no \\27[2J\\u{202E}\\nreed: all is well\\n2026-01-01 00:00:00,000 ERROR   forged")'
    ground.lua("liar", f'plugin.action("do", function() {fail} end)', MANIFEST)
    ground.start()
    with ground.fault("escape sequences and forged lines in an error", "shown as text") as fault:
        said = ground.site.reed("plugin", "send", "liar", "do")
        fault.injected()
    assert said.returncode != 0
    first, *more = said.stderr.removesuffix("\n").split("\n")
    assert first.startswith("reed: ")
    assert "all is well" in said.stderr
    assert all(line.isprintable() for line in (first, *more))
    assert all(line.startswith("  ") for line in more)


def lines_of(path) -> list[str]:
    return path.read_bytes().decode().removesuffix("\n").split("\n")
