"""The command table, and every place that a command needs: each test names the commands that lack theirs."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import reed
from reed.client import Client
from reed.errors import CallError, UnknownCommand
from reed.wire.codes import FIRST_ACTION_ID, LAST_ACTION_ID, Command, Permission
from reed.wire.commands import WRITE_ERRORS, record_of

PACKAGE = Path(reed.__file__).parent
VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "wire.json").read_text(encoding="utf-8"))

BY_THE_SDK_ITSELF = {Command.PLUGIN_REGISTER, Command.PLUGIN_SIGNAL}
NOT_IN_THE_CLIENT = {Command.PLUGIN_REGISTER: "only a plugin registers, on its own socket"}
NOT_ON_THE_COMMAND_LINE = {
    **NOT_IN_THE_CLIENT,
    Command.CONNECTION_ASSUME: "for programs that act for several people; a command is that of its Unix user",
}
FOR_OPERATORS = {
    Command.PLUGIN_HEALTH: "figures for operators",
    Command.PLUGIN_LIST: "figures for operators",
    Command.SYSTEM_STATS: "figures for operators",
    Command.SNIPPET_NAMES: "completes names for people who type",
    Command.PLUGIN_SEND: "plugins send each other messages; Rust plugins can use Context::command",
    Command.PLUGIN_RUN_SCHEDULE: "a plugin does what its schedule does without it",
}
FOR_CLIENTS = {Command.SNIPPET_WATCH: "plugins subscribe to events, which wait for them"}
NOT_IN_LUA = {
    **FOR_OPERATORS,
    **FOR_CLIENTS,
    Command.REGISTRY_CHECK: "checks a whole store for an operator",
}
NOT_IN_RUST = {**FOR_OPERATORS, **FOR_CLIENTS}
SHOW_COMMANDS = {"monitor.py"}  # modules of the command line that send none of these

for_plugins = {command for command in Command if command.permission} - BY_THE_SDK_ITSELF


def trees(folder: str, pattern: str = "*.py") -> Iterator[tuple[str, ast.Module]]:
    for path in sorted((PACKAGE / folder).glob(pattern)):
        yield path.name, ast.parse(path.read_text(encoding="utf-8"))


def named_in(tree: ast.AST) -> set[Command]:
    """The commands that stand in a piece of source as Command.NAME."""
    return {
        Command[node.attr]
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Command"
    }


def attributes_in(tree: ast.AST) -> set[str]:
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def client_methods() -> dict[str, set[Command]]:
    """The commands that each method of the client sends, itself or by another method."""
    nodes = [node for _, tree in trees("client") for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    own = {node.name: named_in(node) for node in nodes if hasattr(Client, node.name)}
    called = {node.name: attributes_in(node) & set(own) for node in nodes if node.name in own}
    methods = {name: commands.union(*(own[other] for other in called[name])) for name, commands in own.items()}
    return {name: commands for name, commands in methods.items() if commands}


# The table -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", Command)
def test_the_records_of_a_command_pack_and_unpack(command: Command) -> None:
    for name in filter(None, (command.request, command.response)):
        assert callable(record_of(name).pack)
        assert callable(record_of(name).unpack)


@pytest.mark.parametrize("command", Command)
def test_the_records_of_a_command_have_vectors(command: Command) -> None:
    have = {entry["record"] for entry in VECTORS["payloads"]}
    assert {record.rpartition(".")[2] for record in (command.request, command.response) if record} <= have
    assert VECTORS["constants"]["commands"][command.name] == command


def test_a_write_is_never_repeated() -> None:
    assert not [command for command in Command if command.is_idempotent and command.access == "writes"]


def test_only_writes_report_errors_in_their_response() -> None:
    reporting = [command for command in Command if command.reports_write_errors]
    assert len(reporting) == 5
    assert {command.access for command in reporting} == {"writes"}
    assert set(WRITE_ERRORS) == {404, 409, 422}


def test_every_permission_but_that_of_files_opens_a_command() -> None:
    assert {command.permission for command in Command} == {*Permission} - {Permission.FILE_WRITE} | {None}


def test_commands_that_a_plugin_receives_are_no_actions() -> None:
    actions = range(FIRST_ACTION_ID, LAST_ACTION_ID + 1)
    assert not {Command.PLUGIN_REGISTER, Command.PLUGIN_HEALTH, Command.PLUGIN_SIGNAL} & {*actions}


# What each command needs ---------------------------------------------------------------------------------------------


def test_the_core_handles_every_command(core: Any) -> None:
    unknown = set()
    with Client(core.socket_path) as client:
        for command in Command:
            try:
                client.call(command)
            except UnknownCommand:
                unknown.add(command)
            except CallError:
                pass
    assert not unknown


def test_the_client_has_a_method_for_every_command() -> None:
    assert set(Command) - set().union(*client_methods().values()) == set(NOT_IN_THE_CLIENT)


def test_the_command_line_sends_every_command() -> None:
    methods, sent = client_methods(), set()
    for name, tree in trees("cli", "**/*.py"):
        sent |= set().union(*(methods[method] for method in attributes_in(tree) & set(methods)))
        sent |= set() if name in SHOW_COMMANDS else named_in(tree)
    assert set(Command) - sent == set(NOT_ON_THE_COMMAND_LINE)


def test_lua_has_every_command_that_a_plugin_may_be_permitted() -> None:
    services = set().union(*(named_in(tree) for name, tree in trees("plugin_host") if name == "services.py"))
    services -= BY_THE_SDK_ITSELF
    assert for_plugins - services == set(NOT_IN_LUA)
    sdk = "".join(path.read_text(encoding="utf-8") for path in (PACKAGE / "lua" / "sdk").glob("*.lua"))
    sent = services - BY_THE_SDK_ITSELF
    assert not [command for command in sent if f'"{command.name.lower().replace("_", ".", 1)}"' not in sdk]


def test_rust_has_every_command() -> None:
    source = PACKAGE / "rust" / "src"
    codes = (source / "wire" / "codes.rs").read_text(encoding="utf-8")
    enum = re.search(r"^    Command \{(.*?)\n    \}", codes, re.DOTALL | re.MULTILINE)
    assert enum
    theirs = {name: int(number, 16) for name, number in re.findall(r"(\w+) = 0x(\w+),", enum[1])}
    assert theirs == {rust_name(command): int(command) for command in Command}
    code, _, _ = (source / "commands.rs").read_text(encoding="utf-8").partition("#[cfg(test)]")
    used = re.findall(r"Command::(\w+)", code)
    assert {command for command in for_plugins if rust_name(command) not in used} == set(NOT_IN_RUST)


def rust_name(command: Command) -> str:
    return command.name.title().replace("_", "")
