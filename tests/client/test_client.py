"""The client against a fake core: requests, results and failures."""

from __future__ import annotations

import json
import socket

import pytest

from reed import errors
from reed.client import Client, NoAnswer, core_socket
from reed.errors import CallError, CoreNotRunning, ErrorCode, ReedError
from reed.wire import frames, structs
from reed.wire.codes import Command, Flag, Signal
from reed.wire.common import Done, ErrorResponse, JsonResponse
from reed.wire.plugins import PluginAnswer, PluginSend
from reed.wire.registry import Definition, RegistryCheck, RegistryDefine, RegistryGot, RegistryPage
from reed.wire.requests import SignalMessage
from reed.wire.schema import SchemaBond, SchemaBonded, SchemaTree, SchemaUnbond
from reed.wire.search import SearchHit, SearchIndexed, SearchPage, SearchQuery
from reed.wire.snippets import (
    Record,
    SnippetCreate,
    SnippetDelete,
    SnippetFind,
    SnippetGot,
    SnippetList,
    SnippetPage,
    SnippetRename,
    SnippetRestore,
    SnippetUpdate,
    SnippetWritten,
)

ID = "0190a5b2-7c3d-7e4f-8a9b-0c1d2e3f4a5b"
RECORD = Record(ID, "page", "home", 3, 1_700_000_000_000_000, 1_700_000_000_000_001, b'{"title": "Home"}')
PLUGINS = [{"name": "simple-seo", "state": "ready"}]
CALLS = [
    (lambda c: c.snippet_create("page", "home", {"a": "ü"}), 0x01,
     SnippetCreate("page", "home", '{"a":"ü"}'.encode()).pack(), SnippetWritten(201, ID), ID),
    (lambda c: c.snippet_create("page", "", b'{ "as" : "it is" }'), 0x01,
     SnippetCreate("page", "", b'{ "as" : "it is" }').pack(), SnippetWritten(201, ID), ID),
    (lambda c: c.snippet_update("home", {"a": None}, if_version=2), 0x02,
     SnippetUpdate("home", 2, b'{"a":null}').pack(), SnippetWritten(200, ID), ID),
    (lambda c: c.snippet_delete(ID, cascade=True), 0x03, SnippetDelete(ID, True).pack(), SnippetWritten(200, ID), ID),
    (lambda c: c.snippet_restore(RECORD), 0x08, SnippetRestore(0, RECORD).pack(),
     SnippetWritten(201, ID), SnippetWritten(201, ID)),
    (lambda c: c.snippet_restore(RECORD, accept_unfit=True, overwrite=True, dry_run=True), 0x08,
     SnippetRestore(7, RECORD).pack(), SnippetWritten(204, ID, "unfit"), SnippetWritten(204, ID, "unfit")),
    (lambda c: c.snippet_get("home"), 0x04, b"home".ljust(36, b"\0"), SnippetGot(200, RECORD), RECORD),
    (lambda c: c.snippet_list("page", ID, 2), 0x05, SnippetList("page", ID, 2).pack(),
     SnippetPage(200, ID, [RECORD]), SnippetPage(200, ID, [RECORD])),
    (lambda c: c.snippet_find("page", {"path": "a"}, ID, 2), 0x07, SnippetFind("page", b'{"path":"a"}', ID, 2).pack(),
     SnippetPage(200, ID, [RECORD]), SnippetPage(200, ID, [RECORD])),
    (lambda c: list(c.snippets("page", 5, {"n": 1})), 0x07, SnippetFind("page", b'{"n":1}', "", 5).pack(),
     SnippetPage(200, "", [RECORD]), [RECORD]),
    (lambda c: c.snippet_rename(ID, "new"), 0x09, SnippetRename(ID, "new").pack(), SnippetWritten(200, ID), ID),
    (lambda c: list(c.snippets("page")), 0x05, SnippetList("page").pack(), SnippetPage(200, "", [RECORD]), [RECORD]),
    (lambda c: c.schema_bond("a", "b", -1, "/b"), 0x10, SchemaBond("a", "b", -1, "/b").pack(),
     SchemaBonded(201, ID), ID),
    (lambda c: c.schema_unbond("a", "b"), 0x11, SchemaUnbond("a", "b").pack(), Done(200), None),
    (lambda c: c.schema_tree("a", 1), 0x12, SchemaTree("a", 1).pack(), JsonResponse(200, b'{"id":1}'), {"id": 1}),
    (lambda c: c.registry_define("page", {}), 0x20, RegistryDefine("page", b"{}").pack(), Done(201), True),
    (lambda c: c.registry_define("page", b"{}"), 0x20, RegistryDefine("page", b"{}").pack(), Done(200), False),
    (lambda c: c.registry_get("page"), 0x21, b"page".ljust(32, b"\0"),
     RegistryGot(200, Definition("page", b"{}")), Definition("page", b"{}")),
    (lambda c: c.registry_list(), 0x22, b"",
     RegistryPage(200, [Definition("page", b"{}")]), [Definition("page", b"{}")]),
    (lambda c: c.registry_check("page", ID, 5), 0x23, RegistryCheck("page", ID, 5).pack(),
     JsonResponse(200, b'{"unfit":1}'), {"unfit": 1}),
    (lambda c: c.registry_delete("page"), 0x24, b"page".ljust(32, b"\0"), Done(200), None),
    (lambda c: c.search("bröd", "page", 5, 10), 0x30, SearchQuery("bröd", "page", 5, 10).pack(),
     SearchPage(200, 1, [SearchHit(ID, "page", "home", 2.0, "…bröd")]),
     SearchPage(200, 1, [SearchHit(ID, "page", "home", 2.0, "…bröd")])),
    (lambda c: c.search_index(), 0x31, bytes(36), SearchIndexed(200, 942), 942),
    (lambda c: c.search_index("home"), 0x31, b"home".ljust(36, b"\0"), SearchIndexed(200, 1), 1),
    (lambda c: c.plugin_list(), 0xF4, b"", JsonResponse(200, json.dumps(PLUGINS).encode()), PLUGINS),
    (lambda c: c.plugin_health(), 0xF2, bytes(32), JsonResponse(200, json.dumps(PLUGINS).encode()), PLUGINS),
    (lambda c: c.plugin_start("a"), 0xF5, b"a".ljust(32, b"\0"), b"\xc8\0", None),
    (lambda c: c.plugin_stop("a"), 0xF6, b"a".ljust(32, b"\0"), b"\xc8\0", None),
    (lambda c: c.plugin_send("seo", "validate", "home"), 0xF7, PluginSend("seo", "validate", b'"home"').pack(),
     PluginAnswer(200, b'{"score":9}'), PluginAnswer(200, b'{"score":9}')),
    (lambda c: c.plugin_send("seo", "raw", b"\xff\0"), 0xF7, PluginSend("seo", "raw", b"\xff\0").pack(),
     PluginAnswer(422, b"\xfe"), PluginAnswer(422, b"\xfe")),
    (lambda c: c.plugin_send_all("count", {}), 0xF7, PluginSend("", "count", b"{}").pack(),
     PluginAnswer(200, b'{"seo":{"status":200}}'), {"seo": {"status": 200}}),
    (lambda c: c.plugin_run_schedule("seo", "nightly"), 0xFA,
     b"seo".ljust(32, b"\0") + b"nightly".ljust(32, b"\0"), PluginAnswer(200, b"{}"), PluginAnswer(200, b"{}")),
    (lambda c: c.plugin_reload(), 0xF8, b"", b"\xc8\0", None),
    (lambda c: c.plugin_reload("seo"), 0xF8, b"seo".ljust(32, b"\0"), b"\xc8\0", None),
    (lambda c: c.plugin_reload_report(), 0xF8, bytes(32) + b"\1", JsonResponse(200, b"[]"), []),
    (lambda c: c.plugin_reload_report("seo"), 0xF8, b"seo".ljust(32, b"\0") + b"\1", JsonResponse(200, b"[]"), []),
    (lambda c: c.snippet_names("blog/", 5), 0x0A, b"blog/".ljust(32, b"\0") + b"\5\0\0\0",
     JsonResponse(200, b'["blog/intro"]'), ["blog/intro"]),
    (lambda c: c.assume("anna", "editor"), 0xF1, b"editor".ljust(32, b"\0") + b"\4\0anna",
     JsonResponse(200, b'{"user":"anna"}'), {"user": "anna"}),
    (lambda c: c.stats(), 0xF9, b"", JsonResponse(200, b'{"pid":1}'), {"pid": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("call", "command", "payload", "answer", "result"), CALLS)
def test_a_method_sends_its_request_and_decodes_the_response(fake_core, call, command, payload, answer, result):
    seen = []

    def reply(command_id, sent):
        seen.append((command_id, sent))
        return fake_core.reply(command_id, answer if isinstance(answer, bytes) else answer.pack())

    with Client(fake_core(fake_core.answering(reply)).path) as client:
        assert call(client) == result
    assert seen == [(command, payload)]


def test_every_method_is_called_above():
    called = {command for _, command, *_ in CALLS}
    assert called == set(Command) - {Command.PLUGIN_REGISTER, Command.PLUGIN_SIGNAL, Command.SNIPPET_WATCH}


def test_a_records_content_is_bytes_and_outlives_the_next_call(fake_core):
    core = fake_core(fake_core.answering(lambda command, _: fake_core.reply(command, SnippetGot(200, RECORD).pack())))
    with Client(core.path) as client:
        first = client.snippet_get("home")
        client.snippet_get("home")
    assert type(first.content) is bytes
    assert json.loads(first.content) == {"title": "Home"}


def test_a_signal_is_answered_only_with_wait(fake_core):
    seen = []

    def talk(connection):
        for command, flags, payload in fake_core.requests(connection):
            seen.append((command, flags, SignalMessage.unpack(payload)[0::2][0]))
            if not flags & Flag.SIGNAL:
                connection.sendall(fake_core.reply(command, b"\xca\0"))

    with Client(fake_core(talk).path) as client:
        client.plugin_signal("seo", Signal.WAKE_UP, wait=False)
        client.plugin_signal("", Signal.RELOAD_CONFIG)
        client.plugin_signal("seo", Signal.HEALTH_CHECK)
    assert seen == [
        (0xF3, Flag.SIGNAL, Signal.WAKE_UP),
        (0xF3, Flag.BROADCAST, Signal.RELOAD_CONFIG),
        (0xF3, 0, Signal.HEALTH_CHECK),
    ]


def test_an_async_request_returns_at_once(fake_core):
    def talk(connection):
        for command, flags, _ in fake_core.requests(connection):
            if not flags & Flag.ASYNC:
                connection.sendall(fake_core.reply(command, JsonResponse(200, b"{}").pack()))

    with Client(fake_core(talk).path) as client:
        assert client.call(Command.SNIPPET_DELETE, SnippetDelete("a", False).pack(), Flag.ASYNC) == b""
        assert client.stats() == {}


@pytest.mark.parametrize("code", ErrorCode)
def test_an_error_code_becomes_its_class(fake_core, code):
    error = ErrorResponse(418, code, "what; do this")
    core = fake_core(fake_core.answering(lambda command, _: fake_core.reply(command, error.pack(), Flag.ERROR)))
    with Client(core.path) as client, pytest.raises(CallError) as caught:
        client.stats()
    assert type(caught.value) is not CallError
    assert type(caught.value).error_code == code
    assert (caught.value.status, caught.value.error_code, str(caught.value)) == (418, code, "what; do this")


def test_an_unknown_error_code_is_a_plain_call_error(fake_core):
    error = ErrorResponse(422, 77, "no title")
    core = fake_core(fake_core.answering(lambda command, _: fake_core.reply(command, error.pack(), Flag.ERROR)))
    with Client(core.path) as client, pytest.raises(CallError) as caught:
        client.plugin_send("seo", "validate")
    assert (type(caught.value), caught.value.status, str(caught.value)) == (CallError, 422, "no title")
    assert caught.value.error_code == 77


@pytest.mark.parametrize(("status", "kind"), [(404, errors.NotFound), (409, errors.Conflict), (422, errors.Invalid)])
def test_a_write_error_in_the_response_struct_is_raised(fake_core, status, kind):
    refused = SnippetWritten(status, "", "the reason")
    core = fake_core(fake_core.answering(lambda command, _: fake_core.reply(command, refused.pack())))
    with Client(core.path) as client:
        for call in (
            lambda: client.snippet_create("page", "", {}),
            lambda: client.snippet_update("a", {}),
            lambda: client.snippet_delete("a"),
        ):
            with pytest.raises(kind) as caught:
                call()
            assert (caught.value.status, str(caught.value)) == (status, "the reason")


def test_no_core(tmp_path):
    path = tmp_path / "core.sock"
    for _ in range(2):
        with pytest.raises(CoreNotRunning) as caught:
            Client(path)
        assert str(path) in str(caught.value)
        if not path.exists():  # next, with the socket of a dead core
            with socket.socket(socket.AF_UNIX) as dead:
                dead.bind(str(path))


def test_a_path_that_is_too_long_for_a_socket(tmp_path):
    path = tmp_path / ("x" * 120)
    with pytest.raises(ReedError):
        Client(path)


def test_the_default_path(monkeypatch):
    monkeypatch.setenv("REED_RUNTIME_DIR", "/run/reed")
    assert core_socket() == "/run/reed/core.sock"
    monkeypatch.delenv("REED_RUNTIME_DIR")
    assert core_socket() == "/tmp/reed-cms/core.sock"
    assert core_socket("/srv/site") == "/srv/site/core.sock"


def test_a_write_is_not_repeated_when_the_core_dies(fake_core):
    def dying(connection):
        connection.recv(100)

    stats = fake_core.answering(lambda command, _: fake_core.reply(command, JsonResponse(200, b"{}").pack()))
    core = fake_core(dying, stats)
    with Client(core.path) as client:
        with pytest.raises(NoAnswer):
            client.snippet_create("page", "", {})
        assert client.stats() == {}
    assert core.connections == 2


def test_a_read_is_repeated_when_the_core_dies(fake_core):
    def dying(connection):
        connection.recv(100)

    stats = fake_core.answering(lambda command, _: fake_core.reply(command, JsonResponse(200, b"{}").pack()))
    core = fake_core(dying, dying, stats)
    with Client(core.path) as client:
        assert client.stats() == {}
    assert core.connections == 3


def test_a_write_is_repeated_when_the_core_has_not_begun_it(fake_core):
    flags = Flag.RESPONSE | Flag.ERROR
    error = ErrorResponse(503, ErrorCode.ERR_RESTARTING, "restarting").pack()

    def restarting(connection):
        connection.recv(100)
        connection.sendall(frames.encode(Command.SNIPPET_CREATE, error, flags))

    made = fake_core.answering(lambda command, _: fake_core.reply(command, SnippetWritten(201, "0" * 36, "").pack()))
    core = fake_core(restarting, made)
    with Client(core.path) as client:
        assert client.snippet_create("page", "", {}) == "0" * 36
    assert core.connections == 2


def test_after_a_timeout_the_late_response_is_not_taken_for_the_next_one(fake_core):
    late = fake_core.reply(Command.SYSTEM_STATS, JsonResponse(200, b'{"late":true}').pack())

    def slow(connection):
        connection.recv(100)
        connection.recv(100)  # until the client closes
        connection.sendall(late)

    fresh = fake_core.answering(lambda command, _: fake_core.reply(command, JsonResponse(200, b"{}").pack()))
    with Client(fake_core(slow, fresh).path, timeout=0.05) as client:
        with pytest.raises(NoAnswer):
            client.stats()
        assert client.stats() == {}


def test_a_peer_that_is_not_a_core(fake_core):
    mail = fake_core(lambda connection: connection.sendall(b"220 mail.example ESMTP\r\n"))
    with Client(mail.path) as client, pytest.raises(NoAnswer):
        client.stats()


def test_a_response_to_another_command(fake_core):
    core = fake_core(fake_core.answering(lambda _, __: fake_core.reply(Command.SNIPPET_GET, b"\xc8\0")))
    with Client(core.path) as client, pytest.raises(NoAnswer):
        client.stats()


def test_too_large_is_raised_although_the_core_stopped_reading(fake_core):
    refusal = ErrorResponse(413, ErrorCode.ERR_TOO_LARGE, "payload of 9000000 bytes")

    def refusing(connection):
        connection.recv(structs.HEADER.size)
        connection.sendall(fake_core.reply(Command.SNIPPET_CREATE, refusal.pack(), Flag.ERROR))

    stats = fake_core.answering(lambda command, _: fake_core.reply(command, JsonResponse(200, b"{}").pack()))
    with Client(fake_core(refusing, stats).path) as client:
        with pytest.raises(errors.TooLarge):
            client.snippet_create("page", "", b"x" * 9_000_000)
        assert client.stats() == {}


def test_a_response_may_be_longer_than_any_request(fake_core):
    body = b"x" * (frames.MAX_PAYLOAD + 10)
    core = fake_core(fake_core.answering(lambda command, _: fake_core.reply(command, PluginAnswer(200, body).pack())))
    with Client(core.path) as client:
        assert client.plugin_send("a", "b").body == body
