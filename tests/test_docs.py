"""The documents name everything there is, commands, signals, errors, settings; their bytes are the vectors'."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from reed import config, document, readers
from reed.errors import ConfigError, ErrorCode
from reed.wire import layouts
from reed.wire.codes import Command, Flag, Permission, Signal

ROOT = Path(__file__).parent.parent
PROTOCOL = (ROOT / "contrib/docs/reference/protocol.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
VECTORS = json.loads((ROOT / "tests/vectors/wire.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("command", Command)
def test_every_command_is_in_the_protocol(command: Command) -> None:
    row = rf"^\|(?: [0-9A-F]{{2}})* {command:02X}(?: [0-9A-F]{{2}})* \|.*{command.name}"
    assert re.search(row, PROTOCOL, re.MULTILINE)


@pytest.mark.parametrize("flag", Flag)
def test_every_flag_is_in_the_protocol(flag: Flag) -> None:
    assert f"| 0x{flag:02X} | {flag.name} |" in PROTOCOL


@pytest.mark.parametrize("signal", Signal)
def test_every_signal_is_in_the_protocol(signal: Signal) -> None:
    assert f"| {signal:02X} | {signal.name} |" in PROTOCOL


@pytest.mark.parametrize("name", ErrorCode.__members__)
def test_every_error_is_in_the_protocol(name: str) -> None:
    code, status = VECTORS["constants"]["errors"][name]
    assert f"| {code} | {status} | {name}" in PROTOCOL


def test_the_bytes_in_the_protocol_are_those_of_the_vectors() -> None:
    runs = re.findall(r"^ {4}((?:[0-9a-f]{2} {1,3})+(?:.*)?)$", PROTOCOL, re.MULTILINE)
    stream = "".join("".join(re.findall(r"\b[0-9a-f]{2}\b(?= |$)", before_the_words(run))) for run in runs)
    by_name = {entry["name"]: entry["hex"] for entry in VECTORS["frames"]}
    assert by_name["request"] in stream
    assert by_name["SIGNAL"] in stream


def test_the_example_in_python_finds_the_content() -> None:
    assert f"payload[2 + {layouts.RECORD.size}:]" in PROTOCOL


def before_the_words(run: str) -> str:
    """The bytes of a line; in "04 SNIPPET_GET" and the like a word ends them."""
    return re.split(r" {2,}(?=[^ ]*[g-zG-Z\"])|SNIPPET", run)[0]


def settings() -> list[tuple[str, Any]]:
    found = []
    for each in fields(config.Config):
        found.append((each.name, each))
        if isinstance(each.default, (config.Limits, config.Timing)):
            found += [(f"{each.name}.{inner.name}", inner) for inner in fields(each.default)]
    return found


def settings_block() -> str:
    (block,) = re.findall(r"^```yaml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    return str(block)


@pytest.mark.parametrize("name", [name for name, _ in settings()])
def test_every_setting_is_in_the_readme(name: str) -> None:
    assert re.search(rf"^ *{name.rpartition('.')[2]}:", settings_block(), re.MULTILINE)


def test_the_settings_in_the_readme_are_sound_and_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "reed.yaml"
    file.write_text(settings_block(), encoding="utf-8")
    shown = readers.record(config.Config)(document.read(str(file), ConfigError))
    assert shown.limits == config.Limits()
    assert shown.timing == config.Timing()
    assert shown.log_level == config.Config().log_level
    assert shown.runtime_dir == config.Config().runtime_dir


@pytest.mark.parametrize("permission", Permission)
def test_every_permission_is_in_the_readme(permission: Permission) -> None:
    assert permission in README
