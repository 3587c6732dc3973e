"""Permissions of commands, and groups of Unix users."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

import pytest

from reed import config
from reed.errors import ConfigError, Malformed
from reed.supervision.permissions import People, commands_for, permission
from reed.wire.codes import Command, Permission


def test_a_permission_opens_its_commands() -> None:
    opened = commands_for(["snippet_read"])
    assert opened == {command for command in Command if command.permission is Permission.SNIPPET_READ}
    assert Command.SNIPPET_GET in opened
    assert commands_for(["file_write", "no_such"]) == frozenset()


def test_no_permission_opens_the_commands_of_admins() -> None:
    of_admins = {Command.PLUGIN_SIGNAL, Command.PLUGIN_START, Command.PLUGIN_STOP, Command.PLUGIN_RELOAD}
    not_of_plugins = {*of_admins, Command.PLUGIN_REGISTER, Command.CONNECTION_ASSUME}
    assert set(Command) - commands_for(Permission) == not_of_plugins
    assert commands_for([], is_admin=True) == set(Command)


def test_an_unknown_permission_names_the_nearest() -> None:
    with pytest.raises(Malformed) as caught:
        permission("snipet_read")
    assert "'snippet_read'" in caught.value.hint


NOBODY = pwd.getpwnam("nobody")
STRANGER = 54321


def people(tmp_path: Path, text: str, owner: int = 1000) -> People:
    (tmp_path / "reed.yaml").write_text(text)
    return People(config.load(tmp_path / "reed.yaml", {}, {}).groups, owner)


def test_root_and_the_user_of_the_core_are_admins() -> None:
    who = People({}, 1000).who
    owner, root, other = who(1000, 1000, []), who(0, 0, []), who(STRANGER, STRANGER, [])
    assert owner.is_admin
    assert root.is_admin
    assert owner.permissions == frozenset(Permission)
    assert (other.is_admin, other.groups, other.permissions) == (False, frozenset(), frozenset())
    assert other.name == f"uid {STRANGER}"
    assert root.name == "root"


def test_users_and_unix_groups_are_mapped(tmp_path: Path) -> None:
    unix_group = grp.getgrgid(NOBODY.pw_gid).gr_name
    who = people(
        tmp_path,
        f"""
groups:
  editor: {{users: [nobody], permissions: [snippet_read, plugin_send]}}
  reader: {{unix_groups: [{unix_group}, "77"], permissions: [search_read]}}
  admin: {{users: ["{STRANGER}"]}}
""",
    ).who
    nobody = who(NOBODY.pw_uid, NOBODY.pw_gid, [])
    assert nobody.name == "nobody"
    assert nobody.groups == {"editor", "reader"}
    assert nobody.permissions == {Permission.SNIPPET_READ, Permission.PLUGIN_SEND, Permission.SEARCH_READ}
    assert not nobody.is_admin
    assert who(60000, 60000, [77]).groups == {"reader"}
    assert who(60000, 60000, []).groups == frozenset(), "the same user without that group"
    assert who(STRANGER, 1, []).is_admin


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("groups: {editor: {permissions: [snippet_wri]}}", 33),
        ("groups: {editor: {users: [no-such-user]}}", 27),
        ("groups: {editor: {unix_groups: [no-such-group]}}", 33),
    ],
)
def test_an_invalid_group_is_an_error_with_line_and_column(tmp_path: Path, text: str, column: int) -> None:
    with pytest.raises(ConfigError) as caught:
        people(tmp_path, text)
    assert (caught.value.path, caught.value.line, caught.value.column) == (f"{tmp_path}/reed.yaml", 1, column)


def test_people_are_cached() -> None:
    who = People({}, os.getuid()).who
    assert who(7, 7, [1, 2]) is who(7, 7, [2, 1])
