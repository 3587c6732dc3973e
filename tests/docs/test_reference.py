"""Every setting, key, command, option, error, permission, limit and SDK function is on its reference page."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from reed import config, document, errors
from reed.cli import COMMANDS, subcommands
from reed.cli.parse import GLOBAL_OPTIONS, usage
from reed.document import Node
from reed.errors import CallError, ConfigError, ErrorCode
from reed.lua.sandbox import LuaSandbox
from reed.plugin_packages import archive, files
from reed.plugin_types import TYPES
from reed.supervision import manifest
from reed.supervision import registry_csv as rows
from reed.supervision.schedule import Schedule
from reed.wire import strict_json
from reed.wire.codes import Command, MessageType, Permission, Signal

REFERENCE = Path(__file__).parents[2] / "contrib" / "docs" / "reference"


def page(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


def table_row(text: str, first: str) -> list[str]:
    """The cells of the table row whose first cell is this, in code."""
    found = re.search(rf"^\| `{re.escape(first)}` \|(.*)\|$", text, re.MULTILINE)
    assert found, f"no row `{first}`"
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", found[1])]


def section(text: str, title: str) -> str:
    """The text below a heading, up to the next one of its level."""
    found = re.search(rf"^(#+) {re.escape(title)}$", text, re.MULTILINE)
    assert found, f"no heading {title!r}"
    return re.split(rf"^#{{1,{len(found[1])}}} ", text[found.end() :], maxsplit=1, flags=re.MULTILINE)[0]


# Settings ------------------------------------------------------------------------------------------------------------

NESTED = (config.Limits, config.Timing)


def settings(cls: type[Any] = config.Config, above: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Each setting with its default and its reader; of a group "groups.NAME.users"."""
    hints = get_type_hints(cls, include_extras=True)
    for each in fields(cls):
        default = each.default if each.default_factory is MISSING else each.default_factory()
        if isinstance(default, (*NESTED, config.PluginLimits)):
            yield from settings(type(default), f"{above}{each.name}.")
        elif each.name in {"groups", "plugins"}:
            inner = config.Group if each.name == "groups" else config.PluginConfig
            yield from settings(inner, f"{each.name}.NAME.")
        else:
            yield above + each.name, default, getattr(hints[each.name], "__metadata__", [None])[0]


SETTINGS = {name: (default, reader) for name, default, reader in settings()}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_has_a_row_with_its_default(name: str) -> None:
    default, reader = SETTINGS[name]
    shown = table_row(page("configuration.md"), name)[0].strip("`")
    if isinstance(default, (int, float)):
        assert reader(Node(shown, name, "", ConfigError)) == default
    elif isinstance(default, Path) and default.is_relative_to(Path.cwd()):
        assert shown == default.name
    elif isinstance(default, (Path, str)):
        assert shown == str(default)


@pytest.mark.parametrize("name", [name for name in SETTINGS if ".NAME." not in name])
def test_a_setting_names_the_variable_and_the_flag_that_give_it(name: str) -> None:
    cells = " ".join(table_row(page("configuration.md"), name))
    variable, flag = config._variable(name), config._flag(name)
    is_flag = any(option.name == flag for option in (*SUBCOMMANDS["serve"].options, *GLOBAL_OPTIONS))
    assert f"`{variable}`" in cells
    assert (f"`{flag}`" in cells) == is_flag


def test_a_variable_that_is_no_setting_is_named_too() -> None:
    own_tests = {"REED_PAGES", "REED_SLOW_TESTS", "REED_TESTS_TARGET", "REED_FAULTS", "REED_FAULTS_P99", "REED_VECTORS"}
    own_tests |= {"REED_BENCH", "REED_STALLS", "REED_HISTORIES", "REED_AXE", "REED_BASE_IMAGE"}
    for name in config.OTHER_VARIABLES - own_tests - {"REED_HANDED_OVER"}:
        assert f"`{name}`" in page("configuration.md"), name


def test_the_example_of_reed_yaml_is_read(tmp_path: Path) -> None:
    examples = re.findall(r"^```yaml\n(.*?)^```", page("configuration.md"), re.MULTILINE | re.DOTALL)
    assert examples
    for number, text in enumerate(examples):
        file = tmp_path / f"{number}.yaml"
        file.write_text(text, encoding="utf-8")
        config.load(file, {}, {})


# plugin.yaml and plugin-registry.csv ---------------------------------------------------------------------------------

MANIFEST_KEYS = [
    *(each.name for each in fields(manifest.Manifest)),
    *(f"actions.NAME.{each.name}" for each in fields(manifest.Action) if each.name != "name"),
    *(f"filters.NAME.{each.name}" for each in fields(manifest.Filter)),
    *(f"schedules.NAME.{each.name}" for each in fields(Schedule) if each.name != "changed_by"),
    *(f"sleep.{each.name}" for each in fields(manifest.Sleep)),
    *(f"limits.{each.name}" for each in fields(config.PluginLimits)),
]


@pytest.mark.parametrize("key", MANIFEST_KEYS)
def test_a_key_of_plugin_yaml_has_a_row(key: str) -> None:
    table_row(page("plugin-yaml.md"), key)


@pytest.mark.parametrize("name", [*manifest.EVENTS, *manifest.FILTERS])
def test_an_event_or_filter_is_named(name: str) -> None:
    assert f"`{name}`" in page("plugin-yaml.md")


def test_the_examples_of_plugin_yaml_are_read(tmp_path: Path) -> None:
    examples = re.findall(r"^```yaml\n(.*?)^```", page("plugin-yaml.md"), re.MULTILINE | re.DOTALL)
    assert examples
    for text in examples:
        (tmp_path / manifest.FILE_NAME).write_text(text, encoding="utf-8")
        manifest.load(tmp_path)


@pytest.mark.parametrize("column", rows.COLUMNS)
def test_a_column_of_the_registry_has_a_row(column: str) -> None:
    table_row(page("plugin-registry.md"), column)


def test_every_plugin_type_is_documented() -> None:
    (values, _meaning) = table_row(page("plugin-registry.md"), "plugin_type")
    assert values == " or ".join(TYPES)


def test_the_example_of_the_registry_is_read(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```csv\n(.*?)^```", page("plugin-registry.md"), re.MULTILINE | re.DOTALL)
    assert rows.parse(example.encode(), "plugin-registry.csv", tmp_path)


# Commands ------------------------------------------------------------------------------------------------------------


SUBCOMMANDS = {name: each for noun in COMMANDS for name, each in subcommands(noun).items()}


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_a_command_has_a_section_with_its_usage_and_options(name: str) -> None:
    subcommand = SUBCOMMANDS[name]
    text = section(page("command-line.md"), f"reed {name}")
    assert f"    {usage(name, subcommand)}\n" in text
    for option in subcommand.options:
        written = f"{option.name} {option.value}" if option.value else option.name
        assert f"`{written}`" in text, written
        assert not option.short or f"`{option.short}`" in text, option.short


def test_the_options_of_every_command_are_listed_once() -> None:
    text = section(page("command-line.md"), "Global options")
    for option in GLOBAL_OPTIONS:
        assert f"`{option.name}" in text


def test_no_command_is_described_that_does_not_exist() -> None:
    described = re.findall(r"^### reed (.+)$", page("command-line.md"), re.MULTILINE)
    assert sorted(described) == sorted(SUBCOMMANDS)


@pytest.mark.parametrize("command", Command)
def test_a_command_of_the_protocol_has_its_id_and_name(command: Command) -> None:
    row = rf"^\|(?: [0-9A-F]{{2}})* {command:02X}(?: [0-9A-F]{{2}})* \|.*\b{command.name}\b"
    assert re.search(row, page("protocol.md"), re.MULTILINE)


def test_the_properties_of_the_commands_are_those_of_the_table() -> None:
    rows = [
        f"| {command:02X} | {command.name} | {command.permission or 'admin'} | {command.access} "
        f"| {'yes' if command.is_idempotent else 'no'} |"
        for command in Command
    ]
    rows[list(Command).index(Command.PLUGIN_REGISTER)] = "| F0 | PLUGIN_REGISTER | a plugin, on its socket | – | no |"
    assert "\n".join(rows) in section(page("protocol.md"), "Properties of commands")


@pytest.mark.parametrize("kind", MessageType)
def test_a_message_type_is_in_the_protocol(kind: MessageType) -> None:
    assert f"{kind:02X} {kind.name}" in page("protocol.md")


def test_the_rules_of_the_protocol_are_numbered_within_their_sections() -> None:
    sections = re.split(r"^#+ ", page("protocol.md"), flags=re.MULTILINE)
    numbers = [[int(number) for number in re.findall(r"^(\d+)\. ", each, re.MULTILINE)] for each in sections]
    assert all(each == list(range(1, len(each) + 1)) for each in numbers)
    assert sum(map(len, numbers)) > 40


# Errors and permissions ----------------------------------------------------------------------------------------------


def error_classes() -> dict[int, type[CallError]]:
    """The class of each error code."""
    return {
        int(each.error_code): each
        for _, each in inspect.getmembers(errors, inspect.isclass)
        if issubclass(each, CallError) and each is not CallError
    }


@pytest.mark.parametrize("code", ErrorCode)
def test_an_error_code_has_a_row(code: ErrorCode) -> None:
    found = error_classes()[code]
    row = rf"^\| {code:d} \| {found.status} \| `{code.name}` \| `{found.__name__}` \| [^|]+ \| [^|]+ \|$"
    assert re.search(row, page("errors.md"), re.MULTILINE)


@pytest.mark.parametrize("permission", Permission)
def test_a_permission_has_a_row_with_its_commands(permission: Permission) -> None:
    cells = table_row(page("permissions.md"), permission)
    named = set(re.findall(r"`([A-Z_]+)`", " ".join(cells)))
    assert named == {command.name for command in Command if command.permission is permission}


def test_every_other_command_is_said_to_be_for_admins_or_plugins() -> None:
    text = section(page("permissions.md"), "Commands without a permission")
    assert not [command for command in Command if not command.permission and f"`{command.name}`" not in text]


# Limits --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in SETTINGS if "limits." in name])
def test_a_limit_that_can_be_set_is_on_the_page_of_limits(name: str) -> None:
    assert f"`{name}`" in page("limits.md")


@pytest.mark.parametrize(
    ("what", "limit"),
    [
        ("plugin-registry.csv", f"{rows.MAX_BYTES // 1024 // 1024} MiB"),
        ("version of a plugin", f"{rows.MAX_VERSION} bytes"),
        (
            "reed.yaml and plugin.yaml",
            f"{document.MAX_BYTES // 1024} KiB, {document.MAX_DEPTH} levels, {document.MAX_VALUES:,} values",
        ),
        ("JSON", f"{strict_json.MAX_DEPTH} levels"),
        ("files and folders", f"{files.MAX_FILES:,}"),
        (
            "their content",
            f"{files.MAX_BYTES // 1024**2} MiB; beyond the first MiB at most {archive.MAX_RATIO} times the size of the "
            "archive",
        ),
    ],
)
def test_a_fixed_limit_is_what_the_program_has(what: str, limit: str) -> None:
    assert f"| {what} | {limit} |" in page("limits.md")


# The SDK of Lua ------------------------------------------------------------------------------------------------------

PROBE = b"""
local reed = require "reed"
local plugin = reed.create_plugin { name = "probe", version = "1.0.0" }
local names = {}
local function collect(prefix, value)
  for key, each in pairs(value) do
    if type(each) == "function" then names[#names + 1] = prefix .. key end
    if type(each) == "table" and (prefix == "reed.") and key ~= "json" then collect(prefix .. key .. ".", each) end
  end
end
collect("reed.", reed)
collect("json.", json)
collect("io.", io)
for key, each in pairs(plugin) do
  if type(each) == "function" and each ~= reed[key] then names[#names + 1] = "plugin." .. key end
end
for name in pairs(reed.signals) do names[#names + 1] = "reed.signals." .. name end
for name in pairs(reed.messages) do names[#names + 1] = "reed.messages." .. name end
reed.log.info(table.concat(names, " "))
"""


def sdk_names() -> list[str]:
    """Every function and constant that a Lua plugin is given."""
    lines: list[bytes] = []
    spec = {"name": "probe", "version": "1.0.0", "actions": {}, "cpu": 5, "seed": [1, 2], "settings": {}}
    sandbox = LuaSandbox()
    log = {b"log": lambda _level, text: lines.append(text) or b""}
    sandbox.start(log, memory=16 * 1024 * 1024, spec=strict_json.dumps({**spec, "can_write": True}))
    outcome = sandbox.load("main.lua", PROBE)
    assert outcome.kind == "done", outcome
    return sorted(b"".join(lines).decode().split())


def test_the_probe_finds_the_sdk() -> None:
    assert {"reed.snippet.get", "reed.fail", "plugin.run", "json.null", "io.open"} - {"json.null"} <= {*sdk_names()}


@pytest.mark.parametrize("name", sdk_names())
def test_a_function_of_the_lua_sdk_is_documented(name: str) -> None:
    assert re.search(rf"`{re.escape(name)}(?![\w])", page("lua-api.md")), name


@pytest.mark.parametrize("signal", Signal)
def test_every_signal_has_a_name_in_lua(signal: Signal) -> None:
    assert f"reed.signals.{signal.name.removeprefix('PLUGIN_')}" in sdk_names()


TESTING_PROBE = b"""
local names = {}
for key in pairs(assert) do names[#names + 1] = "assert." .. key end
for _, name in ipairs { "describe", "it", "before_each", "call", "assert" } do names[#names + 1] = _G[name] and name end
for key in pairs(core) do names[#names + 1] = "core." .. key end
require("reed").log.info(table.concat(names, " "))
"""


def test_the_functions_for_tests_are_documented() -> None:
    lines: list[bytes] = []
    spec = {"name": "probe", "version": "1.0.0", "actions": {}, "cpu": 5, "seed": [1, 2], "settings": {}}
    sandbox = LuaSandbox()
    log = {b"log": lambda _level, text: lines.append(text) or b""}
    sandbox.start(log, memory=16 * 1024 * 1024, spec=strict_json.dumps({**spec, "can_write": False}))
    sandbox.run_sdk_file("testing", *sandbox.modules)
    sandbox.run_sdk_file("test_core", *sandbox.modules)
    assert sandbox.load("main.lua", TESTING_PROBE).kind == "done"
    names = b"".join(lines).decode().split()
    assert len(names) > 20
    missing = [name for name in names if f"`{name}(" not in section(page("lua-api.md"), "Tests")]
    assert not missing


def test_the_methods_of_a_file_are_documented() -> None:
    source = (Path(inspect.getfile(LuaSandbox)).parent / "sdk" / "files.lua").read_text(encoding="utf-8")
    methods = re.findall(r"^function file:(\w+)", source, re.MULTILINE)
    assert methods
    assert not [name for name in methods if f"`file:{name}(" not in section(page("lua-api.md"), "Files")]
