"""The examples of README.md, and those that were too long for it, run and read as they stand."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from reed import config, document, readers
from reed.errors import ConfigError

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def page(name: str) -> str:
    return (ROOT / "contrib/docs" / name).read_text(encoding="utf-8")


def test_the_plugin_in_five_minutes_counts_words(site) -> None:
    printed = ""
    for block in blocks(README, "sh"):
        printed = site.run("sh", "-eu", text=block)
    (promised,) = re.findall(r"The last line prints `(.*?)`\.", README)
    assert site.run("reed", "plugin", "send", "word-count", "count", "blog/intro").strip() == promised
    assert json.loads(promised)["words"] == 6
    assert '"words"' in printed
    site.run("reed", "plugin", "restart", "word-count")
    site.run("reed", "plugin", "logs", "word-count")


def test_what_plugins_tell_each_other(site) -> None:
    (told,) = blocks(page("guide/messages.md"), "lua")
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


def settings() -> list[tuple[str, Any]]:
    found = []
    for each in fields(config.Config):
        found.append((each.name, each))
        if isinstance(each.default, (config.Limits, config.Timing)):
            found += [(f"{each.name}.{inner.name}", inner) for inner in fields(each.default)]
    return found


def settings_block() -> str:
    (block,) = blocks(page("reference/configuration.md"), "yaml")
    return block


@pytest.mark.parametrize("name", [name for name, _ in settings()])
def test_every_setting_is_in_the_example(name: str) -> None:
    assert re.search(rf"^ *{name.rpartition('.')[2]}:", settings_block(), re.MULTILINE)


def test_the_settings_of_the_example_are_sound_and_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "reed.yaml"
    file.write_text(settings_block(), encoding="utf-8")
    shown = readers.record(config.Config)(document.read(str(file), ConfigError))
    assert shown.limits == config.Limits()
    assert shown.timing == config.Timing()
    assert shown.log_level == config.Config().log_level
    assert shown.runtime_dir == config.Config().runtime_dir


def test_the_picture_is_what_its_script_draws() -> None:
    drawn = subprocess.run(
        [sys.executable, ROOT / "contrib/draw_architecture.py"], capture_output=True, text=True, check=True
    )
    assert (ROOT / "contrib/docs/architecture.svg").read_text(encoding="utf-8") == drawn.stdout


def test_the_readme_fits_on_a_few_screens_and_names_the_two_commands() -> None:
    assert README.count("\n") <= 120
    assert "sh contrib/quickstart.sh" in README
    assert "sh contrib/test.sh" in README
