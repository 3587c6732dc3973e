"""Permissions of commands, and groups of Unix users."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

import pytest

from reed import config
from reed.errors import ConfigError, Malformed
from reed.supervision.groups import People
from reed.supervision.permissions import PERMISSION_OF, commands_for, permission
from reed.wire.codes import Command, Permission

ADMIN_ONLY = {Command.PLUGIN_SIGNAL, Command.PLUGIN_START, Command.PLUGIN_STOP, Command.PLUGIN_RELOAD}

# permissions.md, line by line; and SNIPPET_NAMES.
WIRE = {
    "snippet_read": {0x04, 0x05, 0x07, 0x0A, 0x23},
    "snippet_write": {0x01, 0x02, 0x03, 0x09},
    "snippet_restore": {0x08},
    "schema_read": {0x12},
    "registry_read": {0x21, 0x22},
    "search_read": {0x30},
    "system_stats": {0xF2, 0xF4, 0xF9},
    "file_write": set(),
    "schema_write": {0x10, 0x11},
    "registry_write": {0x20},
    "search_write": {0x31},
    "plugin_send": {0xF7},
}


def test_the_table_is_that_of_the_protocol() -> None:
    assert {str(each) for each in Permission} == set(WIRE)
    for name, commands in WIRE.items():
        assert commands_for([name]) == commands


def test_every_command_has_a_permission_or_is_reserved() -> None:
    assert set(Command) - set(PERMISSION_OF) == {*ADMIN_ONLY, Command.PLUGIN_REGISTER}
    assert commands_for([], is_admin=True) == set(Command)
    assert commands_for(Permission) == set(PERMISSION_OF)


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
