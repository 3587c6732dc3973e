"""Every permission x command through a real core: plugins on both sockets, people in groups, admins.

Each command is sent with an empty payload; any status but 403 means that it is allowed.
"""

from __future__ import annotations

import grp
import json
import os
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from reed.client import Client

# permissions.md: what each opens.
OPENS = {
    "snippet_read": {0x04, 0x05, 0x07, 0x0A, 0x23},
    "snippet_write": {0x01, 0x02, 0x03, 0x09},
    "snippet_restore": {0x08},
    "schema_read": {0x12},
    "schema_write": {0x10, 0x11},
    "registry_read": {0x21, 0x22},
    "registry_write": {0x20},
    "search_read": {0x30},
    "search_write": {0x31},
    "system_stats": {0xF2, 0xF4, 0xF9},
    "plugin_send": {0xF7},
    "file_write": set(),
    "": set(),
}
ADMIN = {0xF1, 0xF3, 0xF5, 0xF6, 0xF8}
COMMANDS = sorted(set().union(*OPENS.values()) | ADMIN)
HEADER = struct.Struct("<IBBBBI")
FIRST_UID = 61000
AS_ROOT = os.geteuid() == 0
NATIVE = Path(__file__).parent / "hostile" / "native.py"


def ask(sock: socket.socket, command: int) -> int:
    """The status of a command with an empty payload."""
    sock.sendall(HEADER.pack(0x52454544, 1, command, 0, 0, 0))
    _, _, answered, _, _, size = HEADER.unpack(sock.recv(HEADER.size, socket.MSG_WAITALL))
    assert answered == command
    return int.from_bytes(sock.recv(size, socket.MSG_WAITALL)[:2], "little")


def opened(path: Path) -> set[int]:
    """The commands that this process may use."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(str(path))
        return {command for command in COMMANDS if ask(sock, command) != 403}


def as_user(uid: int, gids: list[int], job: Callable[[], object]) -> str:
    """The result of a job in a process of that user, as text."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups(gids)
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            answer = repr(job())
        except BaseException as error:  # noqa: BLE001 - reported to the parent
            answer = repr(error)
        os.write(writing, answer.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return said


ON_BOTH = """
import struct
def own(command):
    send(core, command, b"")
    while True:
        answered, flags, payload = receive(core)
        if flags & 8:
            return int.from_bytes(payload[:2], "little")
result = [[c for c in {commands} if ask({path!r}, c) != 403], [c for c in {commands} if own(c) != 403]]
"""


def test_a_plugin_has_the_permissions_of_its_row_on_both_sockets(site) -> None:
    rows, names = [], {}
    for permission in OPENS:
        name = names[permission] = f"p-{permission.replace('_', '-')}".rstrip("-")
        folder = site.root / "plugins" / name
        folder.mkdir()
        (folder / "plugin.yaml").write_text(f"name: {name}\nversion: 1.0.0\nactions: {{do: {{command_id: 1}}}}\n")
        (folder / name).write_text(f"#!{sys.executable}\n{NATIVE.read_text()}")
        (folder / name).chmod(0o755)
        rows.append(f'{name},native,{{}},1.0.0,"{permission}","admin",false,""')
    paths = sorted({sys.prefix, sys.base_prefix, *filter(None, sys.path)})
    site.config.write_text(json.dumps({"plugins": {name: {"paths": paths} for name in names.values()}}))
    site.set_rows(*rows)
    site.start()
    code = ON_BOTH.format(commands=COMMANDS, path=str(site.socket_path))
    with Client(site.socket_path) as client:
        for permission, name in names.items():
            client.plugin_start(name)
            found = json.loads(bytes(client.plugin_send(name, "do", code).body))
            assert found == [sorted(OPENS[permission])] * 2, name
            client.plugin_stop(name)
        refused = len(OPENS) * len(COMMANDS) - sum(map(len, OPENS.values()))
        assert client.stats()["denied"] == 2 * refused
    log = site.log.read_text()
    assert "denied: plugin p-snippet-read asked for PLUGIN_STOP: plugin p-snippet-read may not PLUGIN_STOP" in log
    assert log.count("denied: plugin p-plugin-send asked for ") == 2 * (len(COMMANDS) - 1)
    site.no_tracebacks()


@pytest.mark.skipif(not AS_ROOT, reason="only root can become another user")
def test_people_have_the_permissions_of_their_group(site) -> None:
    users = {permission: FIRST_UID + number for number, permission in enumerate(OPENS)}
    groups = {
        f"g{uid}": {"users": [str(uid)], "permissions": [permission] if permission else []}
        for permission, uid in users.items()
    }
    admin, by_unix_group = FIRST_UID + 50, FIRST_UID + 51
    groups["admin"] = {"users": [str(admin)]}
    groups["reviewer"] = {"unix_groups": ["games"], "permissions": ["schema_read", "search_read"]}
    site.config.write_text(json.dumps({"socket_group": "users", "groups": groups}))
    for folder in (site.root, *site.root.parents):
        if str(folder).startswith("/tmp/") and folder.stat().st_uid == os.geteuid():
            os.chmod(folder, 0o755)
    site.start()
    may_connect = grp.getgrnam("users").gr_gid
    for permission, uid in users.items():
        found = as_user(uid, [may_connect], lambda: sorted(opened(site.socket_path)))
        assert found == repr(sorted(OPENS[permission])), permission
    assert as_user(FIRST_UID + 60, [may_connect], lambda: opened(site.socket_path)) == "set()", "in no group"
    games = grp.getgrnam("games").gr_gid
    found = as_user(by_unix_group, [may_connect, games], lambda: sorted(opened(site.socket_path)))
    assert found == repr([0x12, 0x30])
    assert as_user(admin, [may_connect], lambda: sorted(opened(site.socket_path))) == repr(COMMANDS)
    assert "PermissionError" in as_user(admin, [], lambda: opened(site.socket_path)), "the socket's own mode"
    assert opened(site.socket_path) == set(COMMANDS), "who runs the core"
    log = site.log.read_text()
    assert f"denied: uid {users['snippet_read']} asked for SNIPPET_CREATE: " in log
    site.no_tracebacks()


@pytest.mark.skipif(not AS_ROOT, reason="only root can become another user")
def test_user_groups_restrict_calls_and_are_explained(site) -> None:
    site.add_lua_plugin(
        "tool",
        'local p = require("reed").create_plugin{name = "tool", version = "1.0.0"}\n'
        'p.action("echo", function(text) return text end)\np.run()\n',
        "actions: {echo: {command_id: 1}}\n",
    )
    site.set_rows('tool,lua,{},1.0.0,"","editor",true,""')
    groups = {
        "editor": {"users": [str(FIRST_UID)], "permissions": ["plugin_send"]},
        "guest": {"users": [str(FIRST_UID + 1)], "permissions": ["plugin_send"]},
    }
    site.config.write_text(json.dumps({"socket_group": "users", "groups": groups}))
    for folder in (site.root, *site.root.parents):
        if str(folder).startswith("/tmp/") and folder.stat().st_uid == os.geteuid():
            os.chmod(folder, 0o755)
    site.start()

    def send() -> str:
        with Client(site.socket_path) as client:
            return bytes(client.plugin_send("tool", "echo", 1).body).decode()

    may_connect = grp.getgrnam("users").gr_gid
    assert as_user(FIRST_UID, [may_connect], send) == "'1'"
    assert "may not send to tool; its row lets in: editor" in as_user(FIRST_UID + 1, [may_connect], send)
    assert f"denied: uid {FIRST_UID + 1} asked for PLUGIN_SEND: uid {FIRST_UID + 1} may not send to tool" in (
        site.log.read_text()
    )
