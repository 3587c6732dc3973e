"""What a real core counts, and what `reed metrics` prints of it."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from reed.client import Client
from reed.errors import CallError, NotFound, PluginBusy
from reed.wire import frames
from reed.wire.codes import Command, Flag

parser = pytest.importorskip("prometheus_client.openmetrics.parser", reason="pip install prometheus_client")

ECHO = """
local plugin = require("reed").create_plugin { name = "echo", version = "1.0.0" }
plugin.action("say", function(input) return input end)
plugin.action("fail", function() error("no") end)
plugin.run()
"""


@pytest.fixture
def echo(site):
    site.add_lua_plugin("echo", ECHO, "actions: {say: {command_id: 1}, fail: {command_id: 2}}\n")
    site.set_rows('echo,lua,{},1.0.0,"","admin",true,""')
    return site.start()


def samples(text: str) -> dict[tuple[str, ...], float]:
    """By name and values of labels."""
    found = {}
    for family in parser.text_string_to_metric_families(text):
        for each in family.samples:
            found[(each.name, *each.labels.values())] = each.value
    return found


def printed(site) -> dict[tuple[str, ...], float]:
    done = site.reed("metrics")
    assert done.returncode == 0, done.stderr
    return samples(done.stdout)


def test_commands_are_counted_with_bytes_errors_and_times(core) -> None:
    body = b'{"a":"%s"}' % (b"x" * 1000)
    with Client(core.socket_path) as client:
        client.registry_define("page", {})
        client.snippet_create("page", "one", body)
        for _ in range(5):
            client.snippet_get("one")
        for _ in range(2):
            with pytest.raises(NotFound):
                client.snippet_get("two")
            with pytest.raises(NotFound):
                client.snippet_update("two", {})  # reports its errors in a response of its own
        with pytest.raises(CallError):
            client.call(0x42)
        found = client.stats()["commands"]
    get = found["SNIPPET_GET"]
    assert (get["calls"], get["errors"], get["bytes_in"]) == (7, {"404": 2}, 7 * (12 + 36))
    assert 5 * len(body) < get["bytes_out"] < 5 * (len(body) + 200) + 2 * 200
    assert sum(get["histogram"]) == 7
    assert 0 < get["seconds"] < 5
    assert (found["SNIPPET_UPDATE"]["calls"], found["SNIPPET_UPDATE"]["errors"]) == (2, {"404": 2})
    assert found["SNIPPET_CREATE"]["errors"] == {}
    assert (found["unknown"]["calls"], found["unknown"]["errors"]) == (1, {"501": 1})
    assert "SNIPPET_LIST" not in found


def test_responses_of_the_cache_and_requests_without_a_response_are_counted(core) -> None:
    with Client(core.socket_path) as client:
        client.registry_define("page", {})
        client.snippet_create("page", "one", {})
        client.snippet_get("one")
        ref = b"one".ljust(36, b"\0")
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(20)
            sock.connect(str(core.socket_path))
            sock.sendall(frames.encode(Command.SNIPPET_GET, ref) * 100)
            left = 100 * len(frames.encode(Command.SNIPPET_GET, client.call(Command.SNIPPET_GET, ref)))
            while left:
                left -= len(sock.recv(min(left, 65536)))
            sock.sendall(frames.encode(Command.SNIPPET_DELETE, ref + b"\0", Flag.ASYNC))
            sock.sendall(frames.encode(Command.SNIPPET_NAMES, bytes(36)))
            assert sock.recv(12, socket.MSG_WAITALL)
        stats = client.stats()
    assert stats["commands"]["SNIPPET_GET"]["calls"] == 102
    assert stats["cache_hits"] >= 100
    assert stats["commands"]["SNIPPET_DELETE"]["calls"] == 1


def test_a_request_that_waits_counts_with_the_time_of_its_wait(echo) -> None:
    main = ECHO.replace('error("no")', "while true do end")
    (echo.root / "plugins/echo/main.lua").write_text(main)
    with echo.config.open("w") as file:
        file.write("plugins: {echo: {limits: {cpu: 200ms}}}\n")
    echo.stop()
    echo.start()
    with Client(echo.socket_path) as client:
        client.plugin_start("echo")
        with pytest.raises(CallError):
            client.plugin_send("echo", "fail")
        send = client.stats()["commands"]["PLUGIN_SEND"]
        (health,) = client.plugin_health("echo")
    assert send["seconds"] > 0.15
    assert sum(send["histogram"][:17]) == 0, "none below 131 ms"
    assert health["errors"] == 1


def test_calls_of_plugins_and_their_queue_are_counted(echo) -> None:
    with Client(echo.socket_path) as client:
        client.plugin_start("echo")
        for _ in range(3):
            assert client.plugin_send("echo", "say", {}).status == 200
        with pytest.raises(CallError):
            client.plugin_send("echo", "fail", {})
    found = printed(echo)
    assert found["reed_up",] == 1
    assert found["reed_plugin_calls_total", "echo"] == 4
    assert found["reed_plugin_errors_total", "echo"] == 1
    assert found["reed_plugin_call_seconds_count", "echo"] == 4
    assert 0 < found["reed_plugin_call_seconds_sum", "echo"] < 20
    assert found["reed_plugin_state", "echo", "ready"] == 1
    assert found["reed_plugin_memory_bytes", "echo"] > 1_000_000
    assert found["reed_plugin_calls_waiting", "echo"] == found["reed_plugin_calls_in_flight", "echo"] == 0
    assert found["reed_command_seconds_count", "PLUGIN_SEND"] == 4
    assert found["reed_command_errors_total", "PLUGIN_SEND", "500"] == 1
    assert found["reed_turn_seconds_count",] > 4
    assert found["reed_cpu_seconds_total",] > 0
    echo.no_tracebacks()


def test_quotas_and_denials_are_counted(site) -> None:
    site.config.write_text(json.dumps({"limits": {"user_connections": 2}, "groups": {"guest": {}}}))
    site.start()
    with Client(site.socket_path) as client, Client(site.socket_path) as guest:
        with Client(site.socket_path) as third, pytest.raises(PluginBusy):
            third.stats()
        guest.assume("anna", "guest")
        with pytest.raises(CallError):
            guest.stats()
        stats = client.stats()
    assert stats["refused"] == {"limits.user_connections": 1}
    assert stats["denied"] == 1


def test_output_is_replaced_in_one_step_and_says_that_the_core_is_down(site, tmp_path: Path) -> None:
    file = tmp_path / "reed.prom"
    site.start()
    assert site.reed("metrics", "--output", str(file)).returncode == 0
    assert samples(file.read_text())["reed_up",] == 1
    before = file.stat()
    site.stop()
    done = site.reed("metrics", "--output", str(file))
    assert done.returncode == 3
    assert "core not running" in done.stderr
    assert samples(file.read_text()) == {("reed_up",): 0}
    assert file.stat().st_ino != before.st_ino
    assert file.stat().st_mode == before.st_mode
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == ["reed.prom"]
    assert site.reed("metrics").stdout == ""


def test_json_has_the_figures(core) -> None:
    found = json.loads(core.reed("metrics", "--json").stdout)
    assert found["stats"]["version"]
    assert found["plugins"] == []
