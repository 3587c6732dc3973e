"""`reed plugin …` against a socket that answers as the test says."""

from __future__ import annotations

import io
import json
import socket
import sys
import threading

import pytest

from reed.wire import frames
from reed.wire.codes import Command, Flag, Signal
from reed.wire.common import ErrorResponse, JsonResponse
from reed.wire.frames import ReceiveBuffer
from reed.wire.plugins import PluginAnswer, PluginSend
from reed.wire.requests import Name, SignalMessage

ACTIONS = {
    "validate": {"command_id": 1, "input": "snippet", "description": ""},
    "check": {"command_id": 2, "input": "json", "description": ""},
    "raw": {"command_id": 3, "input": "bytes", "description": ""},
}
LIST = [
    {"name": "seo", "type": "lua", "version": "1.2.0", "state": "ready", "auto_start": True, "permissions": [],
     "user_groups": [], "description": "SEO\tcheck", "actions": ACTIONS, "pid": 7, "reason": ""},
]  # fmt: skip
HEALTH = [
    {"name": "seo", "type": "lua", "version": "1.2.0", "state": "ready", "pid": 7, "uptime_s": 61.5, "restarts": 0,
     "memory_bytes": 812340, "calls": 3, "errors": 0, "latency_ms": {"p50": 0.25, "p99": 1.5}, "ready_ms": 3.2,
     "reason": "", "last_error": "no key", "error_data": "no key", "last_lines": [], "log": "/x/seo.log",
     "events_waiting": 12},
    {"name": "bad", "type": "lua", "version": "1.0.0", "state": "failed", "pid": None, "uptime_s": 0, "restarts": 5,
     "memory_bytes": 0, "calls": 0, "errors": 0, "latency_ms": {"p50": None, "p99": None}, "ready_ms": None,
     "reason": "bad: it crashed 5 times", "last_error": "exit 1", "error_lines": ["main.lua:3: \x1b[1moops"],
     "last_lines": ["main.lua:3: \x1b[1moops", "  \tmain.lua:9: in main chunk"],
     "log": "/x/bad.log", "error_data": "", "events_waiting": 0},
]  # fmt: skip


SANDBOX = {
    "mode": "auto",
    "no_new_privs": True,
    "landlock": 0,
    "seccomp": True,
    "missing": ["landlock: plugins read and write all that their user may"],
}


class Plugins:
    """A core that records requests; `answer` is its response to PLUGIN_SEND."""

    def __init__(self, path):
        self.asked = []
        self.answer = PluginAnswer(200, b'{"score": 9}')
        self.may_list = True
        self.changes = []  # report of a reload
        self.broadcast = False  # flag of the latest request
        self.log = ""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            buffer = ReceiveBuffer()
            with connection:
                while data := connection.recv(65536):
                    buffer.feed(memoryview(data))
                    while (frame := buffer.next_frame()) is not None:
                        self.broadcast = bool(frame.flags & Flag.BROADCAST)
                        answer, flags = self._reply(frame.command_id, bytes(frame.payload))
                        connection.sendall(frames.encode(frame.command_id, answer, Flag.RESPONSE | flags))
                    buffer.keep()

    def _reply(self, command, payload):
        if command == Command.PLUGIN_LIST:
            if not self.may_list:
                return ErrorResponse(403, 10004, "anna may not PLUGIN_LIST").pack(), Flag.ERROR
            return JsonResponse(200, json.dumps(LIST).encode()).pack(), 0
        if command == Command.PLUGIN_HEALTH:
            name = Name.unpack(payload).name
            chosen = [{**each, "log": self.log} for each in HEALTH if name in ("", each["name"])]
            return JsonResponse(200, json.dumps(chosen).encode()).pack(), 0
        if command == Command.SYSTEM_STATS:
            return JsonResponse(200, json.dumps({"sandbox": SANDBOX}).encode()).pack(), 0
        if command == Command.PLUGIN_SEND:
            self.asked.append(bytes(PluginSend.unpack(payload).input))
            return self.answer.pack(), Flag.ERROR if isinstance(self.answer, ErrorResponse) else 0
        if command == Command.PLUGIN_SIGNAL:
            self.asked.append(SignalMessage.unpack(payload).signal_type)
            return b"\xca\0", 0
        if command == Command.PLUGIN_RELOAD and len(payload) == 33:
            self.asked.append(("report", payload[:32].rstrip(b"\0").decode()))
            return JsonResponse(200, json.dumps(self.changes).encode()).pack(), 0
        self.asked.append((Command(command).name, payload.rstrip(b"\0").decode()))
        if self.asked[-1][1] == "nobody":
            return ErrorResponse(404, 10001, "no plugin nobody").pack(), Flag.ERROR
        return b"\xc8\0", 0

    def close(self):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(10)


@pytest.fixture
def plugins(reed, tmp_path, monkeypatch):
    monkeypatch.setenv("REED_RUNTIME_DIR", str(tmp_path))
    plugins = Plugins(tmp_path / "core.sock")
    yield plugins
    plugins.close()


def test_list(reed, plugins):
    assert reed("plugin", "list").out == "seo\tlua\t1.2.0\tready\tyes\tvalidate,check,raw\tSEO\\tcheck\n"
    assert json.loads(reed("plugin", "list", "--json").out) == LIST


def test_status_and_health(reed, plugins):
    assert reed("plugin", "status").out.splitlines() == [
        "seo\tready\t7\t61.5\t812340\t3\t0\t0.25\t1.5\t0\t\tno key",
        "bad\tfailed\t\t0\t0\t0\t0\t\t\t5\tbad: it crashed 5 times\t",
    ]
    assert reed("plugin", "status", "bad").out.startswith("bad\tfailed")
    assert reed("plugin", "health", "seo").out == "seo\tready\t3.2\t61.5\t3\t0\t0\t12\tno key\n"
    assert [each["name"] for each in json.loads(reed("plugin", "health", "--json").out)] == ["seo", "bad"]
    assert [each["sandbox"] for each in json.loads(reed("plugin", "status", "--json").out)] == [SANDBOX, SANDBOX]


def test_status_on_a_terminal_prints_reasons_and_reported_errors(reed, plugins, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

        def fileno(self):
            raise OSError

    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    reed("plugin", "status")
    heading, seo, bad, *rest = sys.stdout.getvalue().splitlines()
    assert heading.split() == [
        "NAME", "STATE", "PID", "UPTIME", "MEMORY", "CALLS", "ERRORS", "P50", "P99", "RESTARTS",
    ]  # fmt: skip
    assert seo.split() == ["seo", "ready", "7", "1", "min", "793", "KB", "3", "0", "0.2", "ms", "1.5", "ms", "0"]
    assert bad.split() == ["bad", "failed", "-", "-", "-", "0", "0", "-", "-", "5"]
    assert "    main.lua:3: \\x1b[1moops" in rest
    for shown in (
        "no key",
        "it crashed 5 times",
        "reed plugin logs bad",
        "no_new_privs, seccomp",
        SANDBOX["missing"][0],
    ):
        assert any(shown in line for line in rest), shown


def test_start_stop_restart_reload(reed, plugins):
    for words in (["start", "seo", "bad"], ["stop", "seo"], ["restart", "seo"], ["reload"]):
        assert reed("plugin", *words).code == 0
    assert plugins.asked == [
        ("PLUGIN_START", "seo"), ("PLUGIN_START", "bad"), ("PLUGIN_STOP", "seo"),
        ("PLUGIN_RELOAD", "seo"), ("PLUGIN_START", "seo"), ("report", ""),
    ]  # fmt: skip


def test_reload_prints_changes_and_fails_if_one_failed(reed, plugins):
    plugins.changes = [
        {"name": "seo", "result": "renewed", "reason": ""},
        {"name": "old", "result": "removed", "reason": ""},
    ]
    ran = reed("plugin", "reload")
    assert (ran.code, ran.out) == (0, "renewed\tseo\t\nremoved\told\t\n")
    plugins.changes.append({"name": "bad", "result": "failed", "reason": "plugin bad: exit\tstatus 1"})
    ran = reed("plugin", "reload")
    assert (ran.code, ran.out.splitlines()[2]) == (1, "failed\tbad\tplugin bad: exit\\tstatus 1")
    ran = reed("plugin", "reload", "--json", "seo")
    assert (ran.code, json.loads(ran.out)) == (1, plugins.changes)
    assert plugins.asked[-1] == ("report", "seo")


def test_an_error_of_an_action_names_plugin_and_action_once(reed, plugins):
    for text, shown in (
        ("no such page", "plugin seo, action check: no such page"),
        ("seo.check: main.lua:4: oops", "plugin seo, action check: main.lua:4: oops"),
        ("plugin seo, action check: exit status 1", "plugin seo, action check: exit status 1"),
        ("plugin seo is stopped; reed plugin start seo", "plugin seo is stopped; reed plugin start seo"),
        ("seoul is not a page", "plugin seo, action check: seoul is not a page"),
    ):
        plugins.answer = ErrorResponse(404, 30001, text)
        ran = reed("plugin", "send", "seo", "check", "{}")
        assert (ran.code, ran.err) == (1, f"reed: {shown}\n")
    error = json.loads(reed("plugin", "send", "seo", "check", "{}", "--json").out)["error"]
    assert (error["status"], error["code"]) == (404, 30001)
    assert error["message"].startswith("plugin seo, action check: ")


def test_a_plugin_that_fails_to_start_does_not_stop_the_others(reed, plugins):
    ran = reed("plugin", "start", "nobody", "seo")
    assert (ran.code, ran.err) == (1, "reed: no plugin nobody\n")
    assert plugins.asked == [("PLUGIN_START", "nobody"), ("PLUGIN_START", "seo")]


@pytest.mark.parametrize(
    ("words", "payload"),
    [
        (["validate", "blog/intro"], b'"blog/intro"'),
        (["validate", "$blog/intro"], b'"blog/intro"'),
        (["validate", "123"], b'"123"'),
        (["check", '{"a": [1]}'], b'{"a": [1]}'),
        (["check", "blog/intro"], b'"blog/intro"'),
        (["check", "$blog/intro"], b'"blog/intro"'),
        (["check"], b""),
        (["raw", '{"a": 1'], b'{"a": 1'),
        (["raw", "$x"], b"$x"),
        (["nosuch", "0190a5b2-7c3d-7e4f-8a9b-0c1d2e3f4a5b"], b'"0190a5b2-7c3d-7e4f-8a9b-0c1d2e3f4a5b"'),
    ],
)
def test_send_encodes_the_input_as_the_action_declares(reed, plugins, words, payload):
    ran = reed("plugin", "send", "seo", *words)
    assert (ran.code, ran.out) == (0, '{"score": 9}\n')
    assert plugins.asked == [payload]


def test_send_without_the_permission_to_list_guesses_the_input(reed, plugins):
    plugins.may_list = False
    for written in ("blog/intro", '{"a": 1}'):
        assert reed("plugin", "send", "seo", "validate", written).code == 0
    assert plugins.asked == [b'"blog/intro"', b'{"a": 1}']


def test_send_reads_standard_input(reed, plugins, monkeypatch):
    for data, action in ((b"\xff\0bytes", "raw"), (b'{"a":\n1}', "check")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        assert reed("plugin", "send", "seo", action, "-").code == 0
        assert plugins.asked.pop() == data


def test_an_action_with_a_snippet_requires_a_ref(reed, plugins):
    ran = reed("plugin", "send", "seo", "validate")
    assert ran.code == 2
    assert "reed plugin send seo validate REF" in ran.err
    assert reed("plugin", "send", "seo", "validate", "").code == 2  # as from an unset "$snippet_id"
    assert plugins.asked == []


def test_answers_are_printed_as_they_came(reed, plugins):
    plugins.answer = PluginAnswer(422, b'{"errors": ["no title"]}')
    ran = reed("plugin", "send", "seo", "check", "1")
    assert (ran.code, ran.out) == (1, '{"errors": ["no title"]}\n')
    assert ran.err.startswith("reed: plugin seo, action check: ")
    assert "422" in ran.err
    plugins.answer = PluginAnswer(200, b"\xff\0\n")
    assert reed("plugin", "send", "seo", "raw", "1").out == "\udcff\0\n"
    assert json.loads(reed("plugin", "send", "seo", "raw", "1", "--json").out) == "\ufffd\0\n"
    plugins.answer = PluginAnswer(200, b"")
    assert reed("plugin", "send", "seo", "raw", "1").out == ""
    plugins.answer = ErrorResponse(502, 10005, "plugin seo, action check: main.lua:3: \x1b[1mattempt")
    ran = reed("plugin", "send", "seo", "check", "1")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "reed: plugin seo, action check: main.lua:3: \\x1b[1mattempt\n"


@pytest.mark.parametrize(
    ("word", "signal"),
    [
        ("wake", Signal.WAKE_UP),
        ("reload", Signal.RELOAD_CONFIG),
        ("health", Signal.HEALTH_CHECK),
        ("shutdown", Signal.SHUTDOWN_GRACEFUL),
    ],
)
def test_plugin_signal(reed, plugins, word, signal):
    assert reed("plugin", "signal", "seo", word).code == 0
    assert plugins.asked == [signal]


def test_plugin_signal_to_all(reed, plugins):
    ran = reed("plugin", "signal", "--all", "wake")
    assert (ran.code, plugins.asked, plugins.broadcast) == (0, [Signal.WAKE_UP], True)
    assert reed("plugin", "signal", "wake").code == 2
    assert reed("plugin", "signal", "--all", "seo", "wake").code == 2


def test_send_to_all(reed, plugins):
    answers = {"seo": {"status": 200, "answer": 9}, "bad": {"status": 503, "error_code": 10002, "error": "offline"}}
    plugins.answer = PluginAnswer(200, json.dumps(answers).encode())
    ran = reed("plugin", "send", "validate", "--all", "blog/intro")
    assert (ran.code, json.loads(ran.out), plugins.broadcast) == (1, answers, True)
    assert plugins.asked == [b'"blog/intro"']
    plugins.answer = PluginAnswer(200, b"{}")
    assert reed("plugin", "send", "--all", "check", '{"a": 1}').code == 0
    assert plugins.asked.pop() == b'{"a": 1}'
    nobody = reed("plugin", "send", "--all", "chek", "{}")
    assert (nobody.code, nobody.out) == (0, "{}\n")
    assert "chek" in nobody.err
    assert "reed plugin send --all validate REF" in reed("plugin", "send", "--all", "validate").err


def test_plugin_logs(reed, plugins, tmp_path):
    plugins.log = str(tmp_path / "seo.log")
    assert reed("plugin", "logs", "seo").out == ""
    (tmp_path / "seo.log").write_text("one\ntwo\nthree\n")
    assert reed("plugin", "logs", "seo").out == "one\ntwo\nthree\n"
    assert reed("plugin", "logs", "seo", "-n", "2").out == "two\nthree\n"


def test_plugin_logs_without_a_core(reed, tmp_path):
    assert reed("plugin", "logs", "seo").code == 3
    (tmp_path / "data/logs").mkdir(parents=True)
    (tmp_path / "data/logs/seo.log").write_text("the last words\n")
    assert reed("plugin", "logs", "seo").out == "the last words\n"
    assert reed("plugin", "logs", "../logs/seo").code == 3
