"""The examples of README.md and of the tour, run as they stand: in an empty folder, against a core of their own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import reed

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
TOUR = (ROOT / "contrib/docs/guide/tour.md").read_text(encoding="utf-8")
COMMAND = f"""#!/bin/sh
exec {sys.executable} -c 'import sys; from reed.cli import main; sys.exit(main())' "$@"
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


class Site:
    """An empty folder, with `reed` on the path and a runtime folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "site"
        self.folder.mkdir()
        (folder / "bin").mkdir()
        (folder / "bin" / "reed").write_text(COMMAND)
        (folder / "bin" / "reed").chmod(0o755)
        self.environ = {
            **os.environ,
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(Path(reed.__file__).parent.parent),
            "REED_RUNTIME_DIR": str(folder / "run"),
        }
        if not (Path(reed.__file__).parent / "plugins").is_dir():  # only what is installed has them there
            self.environ["REED_PLUGIN_DIR"] = f"plugins:{ROOT / 'contrib/plugins'}"

    def run(self, *command: str, text: str = "") -> str:
        done = subprocess.run(
            command,
            input=text,
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{command} {text}\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    if (tmp_path / "run" / "core.sock").exists():
        site.run("reed", "stop")


def test_the_plugin_in_five_minutes_counts_words(site: Site) -> None:
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


def test_a_core_in_a_program_of_ones_own(site: Site) -> None:
    site.run("reed", "init")
    _, being_one = blocks("python")
    program = being_one.replace("daemon.run()", "daemon.loop.call_later(0, daemon.stop); daemon.run()")
    runtime_dir = f"import os; os.chdir({str(site.folder)!r})\n"
    program = program.replace('load("reed.yaml", {}, {})', 'load("reed.yaml", os.environ, {})')
    site.run(sys.executable, "-", text=runtime_dir + program)


def test_the_tour(site: Site) -> None:
    """Its indented lines are commands, in order; searches find something, and what follows "the reason:" is refused."""
    script = ["set -eu"]
    for before, commands in re.findall(r"^(.*)\n\n?((?: {4}.*\n)+)", TOUR, re.MULTILINE):
        for line in commands.splitlines():
            refused = before.endswith("the reason:")
            finds = " | grep ." if line.strip().startswith("reed search") else ""
            script.append(f"! {line.strip()}" if refused else line.strip() + finds)
    assert len(script) > 20
    printed = site.run("sh", text="\n".join(script))
    assert "Plum jam" not in printed  # it came in last, and was only counted
    assert "patience" in printed


def test_what_plugins_tell_each_other(site: Site) -> None:
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


def test_the_beginning_of_the_guide_to_lua_plugins(site: Site) -> None:
    guide = (ROOT / "contrib/docs/guide/lua-plugin.md").read_text(encoding="utf-8")
    commands = re.findall(r"^ {4}(reed .*)$", guide.partition("## By hand")[0], re.MULTILINE)[:4]
    assert commands[0].startswith("reed plugin scaffold new-lua-plugin")
    site.run("reed", "init")
    site.run("reed", "start")
    printed = [site.run("sh", "-euc", command) for command in commands]
    assert printed[-1].strip() == '{"greeting":"Hello, Ada!"}'
    assert printed[-1].strip() in guide


@pytest.mark.slow
def test_a_plugin_in_rust(site: Site) -> None:
    if not (os.environ.get("REED_SLOW_TESTS") and shutil.which("cargo")):
        pytest.skip("builds a plugin with cargo: half a minute; REED_SLOW_TESTS=1 runs it")
    (script,) = blocks("sh rust")
    site.run("reed", "init")
    site.run("reed", "start")
    assert site.run("sh", "-eu", text=script).splitlines()[-1] in README
    (beginning,) = blocks("rust")
    assert beginning in (site.folder / "plugins/new-rust-plugin/src/main.rs").read_text(encoding="utf-8")
