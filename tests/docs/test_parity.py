"""sdk-parity.md: each function of the SDKs in Lua, Rust and Python is in its tables, and each name in them exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import reed as package
from reed.lua.sandbox import LuaSandbox
from reed.plugin import Batch, plugin, reed
from reed.wire import strict_json

PAGE = Path(__file__).parents[2] / "contrib/docs/reference/sdk-parity.md"
RUST = Path(package.__file__).parent / "rust/src"
LANGUAGES = ("Lua", "Rust", "Python")
# Not what the code of a plugin calls: wire is the protocol, testing a core for tests, the rest is private.
PRIVATE = {
    "wire",
    "testing",
    "testing.rs",
    "fifo.rs",
    "sys.rs",
    "connection.rs",
    "worker.rs",
    "shared.rs",
    "metrics.rs",
}
PRIVATE_TYPES = {"PluginInfo", "Registration", "MainThread", "Pack", "Page", "Sleep", "Inbound", "Outbound", "Peers"}


def in_the_table(language: str) -> list[str]:
    column = LANGUAGES.index(language) + 2
    rows = [line.split("|") for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row[column])]


def of_lua() -> Iterator[str]:
    """What its tables hold; `plugin` repeats those of `reed`, and `reed.json` is `json`."""
    code = b"""
    local reed = require "reed"
    local plugin = reed.create_plugin {}
    local function walk(name, table)
      for key, value in pairs(table) do
        if type(value) == "function" then reed.log.info(name .. "." .. key)
        elseif type(value) == "table" then walk(name .. "." .. key, value) end
      end
    end
    walk("reed", reed) walk("plugin", plugin) walk("json", json)
    """
    spec = {"name": "", "version": "", "actions": {}, "byte_actions": [], "any_action": True, "settings": {}}
    spec |= {"can_write": False, "cpu": 2.0, "memory": 8 << 20, "seed": [1, 2]}
    found: list[str] = []
    sandbox = LuaSandbox()
    services = {b"log": lambda _level, text: found.append(text.decode())}
    sandbox.start(services, memory=8 << 20, spec=strict_json.dumps(spec))  # type: ignore[arg-type]
    assert sandbox.load("main.lua", code).kind == "done"
    own = {name.removeprefix("reed.") for name in found if name.startswith("reed.")}
    for name in found:
        repeats = name.startswith("plugin.") and name.removeprefix("plugin.") in own
        if not repeats and not name.startswith("reed.json."):
            yield name


def of_rust() -> Iterator[str]:
    """`pub fn` in its sources."""
    for path in sorted(RUST.rglob("*.rs")):
        if PRIVATE & set(path.relative_to(RUST).parts):
            continue
        owner = ""
        for line in path.read_text(encoding="utf-8").splitlines():
            if match := re.match(r"impl(?:<[^>]*>)? (?:.* for )?(\w+)", line):
                owner = match[1]
            elif line == "}":
                owner = ""
            if (match := re.match(r"(?: {4})?pub fn (\w+)", line)) and owner not in PRIVATE_TYPES:
                module = f"{path.stem}::" if path.stem in ("log", "strict_json") else ""
                yield f"{owner}::{match[1]}" if owner else f"{module}{match[1]}"


def of_python() -> Iterator[str]:
    yield from ("Answer", "Error")
    yield from functions("reed", reed)
    yield from functions("batch", Batch())
    repeated = {f"plugin.{name.removeprefix('reed.')}" for name in functions("reed", reed)}
    yield from (name for name in functions("plugin", plugin) if name not in repeated)


def functions(name: str, value: object) -> Iterator[str]:
    """Public methods, and those of the objects in its attributes."""
    for key in sorted({*vars(value), *dir(type(value))}):
        if key.startswith("_"):
            continue
        found = getattr(type(value), key, None) if isinstance(getattr(type(value), key, None), property) else None
        found = found or getattr(value, key)
        if callable(found) and not isinstance(found, type):
            yield f"{name}.{key}"
        elif type(found).__module__.startswith("reed.plugin.") and not isinstance(found, (type, tuple)):
            yield from functions(f"{name}.{key}", found)


INTERNAL = {"plugin.manifest", "plugin.action_of", "plugin.call", "batch.add"}  # called by reed.python and reed.plugin


@pytest.mark.parametrize(("language", "names"), [("Lua", of_lua), ("Rust", of_rust), ("Python", of_python)])
def test_the_tables_have_the_functions_of_the_sdk(language: str, names: object) -> None:
    exist = set(names()) - INTERNAL  # type: ignore[operator]
    listed = in_the_table(language)
    assert sorted(exist - set(listed)) == [], "functions that sdk-parity.md lacks"
    assert sorted(set(listed) - exist) == [], "names in sdk-parity.md that do not exist"
    assert sorted(name for name in set(listed) if listed.count(name) > 1) == [], "names in two rows"


def test_no_cell_is_empty() -> None:
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("| ") and not line.startswith("| purpose"):
            assert all(cell.strip() for cell in line.split("|")[2:-1]), line
