"""The examples and settings of README.md, run and read as they stand."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from reed import config, document, readers
from reed.errors import ConfigError
from reed.wire.codes import Permission

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_plugin_in_five_minutes_counts_words(site) -> None:
    printed = ""
    for block in blocks("sh"):
        printed = site.run("sh", "-eu", text=block)
    (promised,) = re.findall(r"The last line prints `(.*?)`\.", README)
    assert site.run("reed", "plugin", "send", "word-count", "count", "blog/intro").strip() == promised
    assert json.loads(promised)["words"] == 6
    assert '"words"' in printed
    site.run("reed", "plugin", "restart", "word-count")
    site.run("reed", "plugin", "logs", "word-count")

    talking, _ = blocks("python")
    assert site.run(sys.executable, "-", text=talking).strip() == "1"


def test_a_core_in_a_program_of_ones_own(site) -> None:
    site.run("reed", "init")
    _, being_one = blocks("python")
    program = being_one.replace("daemon.run()", "daemon.loop.call_later(0, daemon.stop); daemon.run()")
    runtime_dir = f"import os; os.chdir({str(site.folder)!r})\n"
    program = program.replace('load("reed.yaml", {}, {})', 'load("reed.yaml", os.environ, {})')
    site.run(sys.executable, "-", text=runtime_dir + program)


def test_what_plugins_tell_each_other(site) -> None:
    (told,) = blocks("lua")
    handler, _, asking = told.partition("\n\n")
    start = 'local reed = require "reed"\nlocal plugin = reed.create_plugin { name = "NAME", version = "1.0.0" }\n'
    action = f'plugin.action("ask", function()\n{asking}\nreturn answer\nend)\n'
    site.run("reed", "init")
    with (site.folder / "plugin-registry.csv").open("a") as rows:
        for name, main in (("other", handler), ("asker", action)):
            folder = site.folder / "plugins" / name
            folder.mkdir(parents=True)
            (folder / "main.lua").write_text(start.replace("NAME", name) + main + "plugin.run()\n")
            actions = "actions: {ask: {command_id: 1}}\n" if name == "asker" else ""
            (folder / "plugin.yaml").write_text(f"name: {name}\nversion: 1.0.0\n{actions}")
            rows.write(f'{name},lua,/tmp/reed-cms/plugins/{name}.sock,1.0.0,"","admin",true,""\n')
    site.run("reed", "start")
    site.run("reed", "plugin", "start", "other", "asker")
    assert json.loads(site.run("reed", "plugin", "send", "asker", "ask")) == {"doubled": 42}


@pytest.mark.slow
def test_a_plugin_in_rust(site) -> None:
    if not (os.environ.get("REED_SLOW_TESTS") and shutil.which("cargo")):
        pytest.skip("builds a plugin with cargo: half a minute; REED_SLOW_TESTS=1 runs it")
    (script,) = blocks("sh rust")
    site.run("reed", "init")
    site.run("reed", "start")
    assert site.run("sh", "-eu", text=script).splitlines()[-1] in README
    (beginning,) = blocks("rust")
    assert beginning in (site.folder / "plugins/new-rust-plugin/src/main.rs").read_text(encoding="utf-8")


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
