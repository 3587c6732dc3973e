"""CONNECTION_ASSUME on a real core: an admin's connection becomes that of a named user, for good."""

from __future__ import annotations

import json
import os
import pwd
import socket
import struct
from collections.abc import Callable

import pytest

from reed.client import Client
from reed.client.connection import ConnectionEnded
from reed.errors import CallError, Conflict, Malformed, NotFound, PermissionDenied, PluginBusy
from reed.wire import frames
from reed.wire.codes import Command, Permission
from reed.wire.commands import record_of
from reed.wire.monitor import Monitored
from reed.wire.requests import ConnectionAssume

OWNER = pwd.getpwuid(os.geteuid()).pw_name
GROUPS = {
    "editor": ["snippet_read", "snippet_write", "search_read"],
    "guest": [],
    "everything": [str(each) for each in Permission],
    **{f"only-{each.value.replace('_', '-')}": [str(each)] for each in Permission},
}


@pytest.fixture
def core(site):
    settings = {"groups": {name: {"permissions": each} for name, each in GROUPS.items()}}
    site.config.write_text(json.dumps({**settings, "limits": {"user_connections": 3, "user_connects": 1000}}))
    return site.start()


def allowed(client: Client) -> set[Command]:
    """The commands that an empty payload reaches; it is malformed for all that could change anything."""
    found = set()
    for command in set(Command) - {Command.PLUGIN_RELOAD}:
        try:
            client.call(command)
        except PermissionDenied:
            continue
        except CallError:
            pass
        found.add(command)
    return found


@pytest.mark.parametrize("group", GROUPS)
def test_a_named_user_has_exactly_the_permissions_of_the_group(core, group: str) -> None:
    with Client(core.socket_path) as client:
        found = client.assume("anna", group)
        expected = {command for command in Command if command.permission in GROUPS[group]}
        assert allowed(client) == expected - {Command.PLUGIN_RELOAD}
    assert found == {
        "name": f"{OWNER} as anna",
        "user": "anna",
        "group": group,
        "is_admin": False,
        "permissions": sorted(GROUPS[group]),
    }


def assume(client: Client, user: str, group: str) -> None:
    """The command itself, without what the client's method does."""
    client.call(Command.CONNECTION_ASSUME, ConnectionAssume(user, group).pack())


def test_permissions_never_come_back(core) -> None:
    with Client(core.socket_path) as client:
        assume(client, "anna", "admin")
        assert Command.PLUGIN_STOP in allowed(client)
        with pytest.raises(Conflict, match=r"that of anna; open a connection for each user"):
            assume(client, "bob", "admin")
        assume(client, "anna", "everything")
        for group in ("admin", "everything", "editor"):
            with pytest.raises(PermissionDenied, match=rf"{OWNER} as anna may not CONNECTION_ASSUME"):
                assume(client, "anna", group)
        assert Command.PLUGIN_STOP not in allowed(client)
    assert f"denied: {OWNER} as anna asked for CONNECTION_ASSUME" in core.log.read_text()


def test_a_group_that_reed_yaml_lacks_is_named_and_changes_nothing(core) -> None:
    with Client(core.socket_path) as client:
        with pytest.raises(NotFound, match=r"no group 'editr' in reed\.yaml; groups: admin, editor, everything, guest"):
            assume(client, "anna", "editr")
        with pytest.raises(Malformed, match="no name of a user; 1 to 64 bytes"):
            client.call(Command.CONNECTION_ASSUME, b"editor".ljust(32, b"\0") + b"\3\0a\nb")
        assert Command.PLUGIN_STOP in allowed(client)


def test_a_client_that_was_refused_does_nothing_else(core) -> None:
    with Client(core.socket_path) as client:
        for call in (lambda: client.assume("anna", "editr"), client.stats, client.stats):
            with pytest.raises(NotFound):
                call()
        with pytest.raises(Conflict, match="make a Client for each user"):
            client.assume("anna", "editor")


def test_a_client_that_reconnects_is_still_the_named_user(core) -> None:
    with Client(core.socket_path) as client:
        client.assume("anna", "editor")
        client.close()
        with pytest.raises(PermissionDenied, match=f"{OWNER} as anna may not SYSTEM_STATS"):
            client.stats()
        core.kill()
        with pytest.raises(ConnectionEnded):
            client.search("a")
        core.start()
        assert client.search("a").total == 0
        with pytest.raises(PermissionDenied, match=f"{OWNER} as anna"):
            client.stats()


def test_requests_in_flight_keep_their_permissions(core) -> None:
    """Pipelined behind a write that is not on the disk yet, it is refused; the requests after it are an admin's."""
    create = record_of("snippets.SnippetCreate")("page", "one", b"{}").pack()
    assumed = ConnectionAssume("anna", "guest").pack()
    with Client(core.socket_path) as client:
        client.registry_define("page", {})
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(str(core.socket_path))
        requests = [(Command.SNIPPET_CREATE, create), (Command.CONNECTION_ASSUME, assumed), (Command.SYSTEM_STATS, b"")]
        sock.sendall(b"".join(frames.encode(command, payload) for command, payload in requests))
        assert [status(sock) for _ in requests] == [201, 409, 200]
        requests = [(Command.CONNECTION_ASSUME, assumed), (Command.SYSTEM_STATS, b""), (Command.SNIPPET_GET, bytes(36))]
        sock.sendall(b"".join(frames.encode(command, payload) for command, payload in requests))
        assert [status(sock) for _ in requests] == [200, 403, 403]


def status(sock: socket.socket) -> int:
    header = sock.recv(12, socket.MSG_WAITALL)
    payload = sock.recv(struct.unpack_from("<I", header, 8)[0], socket.MSG_WAITALL)
    return int.from_bytes(payload[:2], "little")


def test_a_cached_response_is_not_for_a_user_who_may_not_read(core) -> None:
    with Client(core.socket_path) as client:
        client.registry_define("page", {})
        client.snippet_create("page", "one", {})
        for _ in range(3):
            client.snippet_get("one")
        client.assume("anna", "guest")
        with pytest.raises(PermissionDenied):
            client.snippet_get("one")


def test_the_log_and_the_monitor_name_both(core) -> None:
    with socket.socket(socket.AF_UNIX) as monitor, Client(core.socket_path) as client:
        monitor.settimeout(20)
        monitor.connect(str(core.runtime_dir / "monitor.sock"))
        wait_for(lambda: "started monitoring" in core.log.read_text())
        client.assume("Anna Grüße", "editor")
        client.search("a")
        seen = [(each.peer, Command(each.command_id)) for each in monitored(monitor, 4)]
    both = f"{OWNER} as Anna Grüße"
    assert seen == [
        (OWNER, Command.CONNECTION_ASSUME),
        (both, Command.CONNECTION_ASSUME),
        (both, Command.SEARCH_QUERY),
        (both, Command.SEARCH_QUERY),
    ]
    assert f"{OWNER} is now Anna Grüße of the group editor, on one connection" in core.log.read_text()


def monitored(sock: socket.socket, count: int) -> list[Monitored]:
    found: list[Monitored] = []
    data = b""
    while len(found) < count:
        more = sock.recv(65536)
        assert more, "the core closed the monitor"
        data += more
        frame, rest = Monitored.unpack_from(memoryview(data))
        while frame is not None:
            found.append(frame)
            frame, rest = Monitored.unpack_from(rest)
        data = bytes(rest)
    return found


def wait_for(condition: Callable[[], bool]) -> None:
    while not condition():
        os.sched_yield()


def test_each_named_user_has_the_quota_of_a_user(core) -> None:
    clients = [Client(core.socket_path) for _ in range(2)]
    for client in clients:
        client.assume("anna", "editor")
    clients.append(Client(core.socket_path))
    clients[-1].assume("anna", "guest")  # three: user_connections
    with Client(core.socket_path) as one_more:
        with pytest.raises(PluginBusy, match=rf"{OWNER} as anna has 3 connections open; limits\.user_connections"):
            assume(one_more, "anna", "editor")
        assert Command.PLUGIN_STOP in allowed(one_more), "it was refused, and is what it was"
        assume(one_more, "bob", "editor")
        clients[0].close()
        with Client(core.socket_path) as again:
            again.assume("anna", "editor")
    for client in clients:
        client.close()


def test_a_group_may_send_to_the_plugins_whose_rows_name_it(site) -> None:
    site.config.write_text(
        json.dumps({"groups": {name: {"permissions": ["plugin_send"]} for name in ("editor", "seo")}})
    )
    plugin = 'require("reed").create_plugin { name = "echo", version = "1.0.0" }'
    main = f'local plugin = {plugin}\nplugin.action("say", function(input) return input end)\nplugin.run()\n'
    site.add_lua_plugin("echo", main, "actions: {say: {command_id: 1}}\n")
    site.set_rows('echo,lua,{},1.0.0,"","seo",true,""')
    site.start()
    with Client(site.socket_path) as admin, Client(site.socket_path) as seo, Client(site.socket_path) as editor:
        admin.plugin_start("echo")
        seo.assume("anna", "seo")
        editor.assume("anna", "editor")
        assert seo.plugin_send("echo", "say", {}).status == 200
        with pytest.raises(PermissionDenied, match=rf"{OWNER} as anna may not send to echo; its row lets in: seo"):
            editor.plugin_send("echo", "say", {})
    site.no_tracebacks()
