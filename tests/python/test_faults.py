"""A Python plugin that misbehaves: one call fails, the log names file and line, the core and its neighbours go on."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reed.client import Client
from reed.errors import CallError, PluginCrashed
from reed.sandbox import landlock
from reed.sandbox.kernel import Kernel
from reed.testing.site import Core
from tests.python.site import log_of, start, write_plugin

BAD = """
import ctypes
import os
import threading
import time


@plugin.action("echo")
def echo(payload, data):
    return payload


@plugin.action("bad")
def bad(payload, data):
    return globals()[data]()


def raises():
    return {}["nothing"]


def loops():
    while True:
        try:
            while True: pass  # the line that is named
        except Exception:
            pass


def loops_in_c():
    return sum(range(10**12))


def leaks():
    kept = []
    while True:
        kept.append(bytes(100_000))


def forks():
    os.fork()


def executes():
    os.execv("/bin/true", ["true"])


def leaves():
    os._exit(0)


def exits():
    raise SystemExit(3)


def crashes():
    ctypes.string_at(0)


def recurses():
    return recurses()


def threads():
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()
    return "joined"


def asks_from_a_thread():
    found = []
    def ask():
        try:
            reed.snippet.list()
        except plugin.Error as error:
            found.append(str(error))
    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    return found


def answers_no_json():
    return object()
"""
BROKEN = [
    ("def f(:\n", "main.py:2: SyntaxError: invalid syntax"),
    ("import words_that_no_library_has\n", "main.py:2: ModuleNotFoundError: No module named"),
    ("x = 1 / 0\n", "main.py:2: ZeroDivisionError: division by zero"),
    ("while True: pass\n", "main.py:2: time limit of 0.2 s reached"),
    ("\n@plugin.action('other')\ndef f(payload, data): ...\n", "plugin.yaml has no action 'other'; its actions: a"),
    ("\n@plugin.action('a')\ndef f(payload): ...\n", "takes 1 arguments; it is called with (payload, decoded)"),
    ("\n", "main.py sets no handler for a, declared in plugin.yaml"),
    ("reed.snippet.list()\n", "no connection to the core yet"),
    ("import helper\n", "helper.py:2: ValueError: in the helper"),
]
ACTIONS = "actions: {echo: {command_id: 1}, bad: {command_id: 2}}\n"
LIMITS = "limits: {cpu: 200ms, memory: 24M}\n"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    site = Core(tmp_path_factory.mktemp("faults"))
    write_plugin(site.plugins / "bad", BAD, ACTIONS + LIMITS)
    write_plugin(site.plugins / "neighbour", BAD, ACTIONS)
    for number, (code, _says) in enumerate(BROKEN):
        manifest = "actions: {a: {command_id: 1}}\nlimits: {cpu: 200ms}\n"
        helper = "\nraise ValueError('in the helper')\n"
        write_plugin(site.plugins / f"broken-{number}", code, manifest, helper_py=helper)
    client = start(site)
    client.plugin_start("bad")
    client.plugin_start("neighbour")
    yield client
    site.stop()


def line_of(text: str) -> int:
    return next(number for number, line in enumerate(f"\n{BAD}".splitlines(), 1) if text in line)


@pytest.mark.parametrize(
    ("function", "status", "place", "says"),
    [
        ("raises", 500, '{}["nothing"]', "KeyError: 'nothing'"),
        ("loops", 504, "# the line that is named", "time limit of 0.2 s reached"),
        ("leaks", 500, "kept.append", "memory limit of 24 MB reached"),
        ("forks", 500, "os.fork()", "PermissionError"),
        ("executes", 500, "os.execv", "PermissionError"),
        ("exits", 500, "raise SystemExit", "SystemExit: 3"),
        ("recurses", 500, "return recurses", "RecursionError"),
    ],
)
def test_a_failed_call_names_file_and_line(client: Client, function: str, status: int, place: str, says: str) -> None:
    pid = client.plugin_health("bad")[0]["pid"]
    with pytest.raises(CallError) as failed:
        client.plugin_send("bad", "bad", function)
    assert failed.value.status == status
    expected = f"main.py:{line_of(place)}: {says}"
    assert expected in failed.value.message
    assert expected in log_of(client, "bad")
    assert client.plugin_send("bad", "echo", 1).body == b"1"
    assert client.plugin_health("bad")[0]["pid"] == pid, "the process goes on"
    assert client.plugin_send("neighbour", "echo", 1).body == b"1"


@pytest.mark.parametrize(
    ("function", "error", "place"),
    [
        ("leaves", PluginCrashed, "main.py:{}: os._exit(0) ends the plugin's process"),
        ("crashes", PluginCrashed, "line {} in crashes"),
        ("loops_in_c", CallError, "line {} in loops_in_c"),
    ],
)
def test_a_process_that_ends_is_replaced_and_its_log_names_the_line(
    client: Client, function: str, error: type[CallError], place: str
) -> None:
    lines = {"leaves": "os._exit(0)", "crashes": "ctypes.string_at", "loops_in_c": "return sum"}
    with pytest.raises(error):
        client.plugin_send("bad", "bad", function)
    assert client.plugin_send("neighbour", "echo", 1).body == b"1"
    client.plugin_start("bad")
    assert client.plugin_send("bad", "echo", 1).body == b"1"
    text = log_of(client, "bad")
    possible = [n for n, line in enumerate(f"\n{BAD}\n".splitlines(keepends=True), 1) if lines[function] in line]
    assert any(place.format(number) in text for number in possible), text


def test_threads_cannot_harm_the_connection(client: Client) -> None:
    """Where its user may have no further process, the kernel refuses the thread."""
    if os.geteuid():
        with pytest.raises(CallError, match="can't start new thread"):
            client.plugin_send("bad", "bad", "threads")
    else:
        assert client.plugin_send("bad", "bad", "threads").body == b"joined"
        answer = client.plugin_send("bad", "bad", "asks_from_a_thread").body
        assert b"only the plugin's main thread may" in answer
    assert client.plugin_send("bad", "echo", 1).body == b"1"


def test_an_answer_that_is_no_json_is_an_error(client: Client) -> None:
    with pytest.raises(CallError, match="not JSON"):
        client.plugin_send("bad", "bad", "answers_no_json")


def test_code_that_cannot_be_loaded_names_file_and_line(client: Client) -> None:
    for number, (_code, says) in enumerate(BROKEN):
        with pytest.raises(CallError) as failed:
            client.plugin_start(f"broken-{number}")
        assert says in failed.value.message
        assert says in log_of(client, f"broken-{number}")


@pytest.mark.skipif(not landlock.abi(Kernel()), reason="this kernel lacks Landlock")
def test_secrets_of_the_core_stay_with_the_core(site: Core, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the operator")
    site.environ["PGPASSWORD"] = "of the database"
    code = f"""
    import os

    @plugin.action("look")
    def look(payload, data):
        found = [dict(os.environ), open("/proc/self/environ").read()]
        for path in ({str(secret)!r}, {str(site.registry)!r}, "/etc/passwd", "/proc/1/environ"):
            try:
                found.append(open(path).read())
            except OSError as error:
                found.append(error.strerror)
        return found
    """
    write_plugin(site.plugins / "curious", code, "actions: {look: {command_id: 1}}\n")
    with start(site) as client:
        client.plugin_start("curious")
        answer = client.plugin_send("curious", "look", None).body
    assert b"of the" not in answer
    assert answer.count(b"Permission denied") == 4, answer


def test_it_runs_the_python_of_the_core(site: Core) -> None:
    code = """
    import sys

    @plugin.action("version")
    def version(payload, data):
        return [__name__, __file__, *sys.version_info[:3]]
    """
    folder = write_plugin(site.plugins / "which", code, "actions: {version: {command_id: 1}}\n")
    with start(site) as client:
        client.plugin_start("which")
        expected = ["main", str(folder / "main.py"), *sys.version_info[:3]]
        assert json.loads(client.plugin_send("which", "version", None).body) == expected
