"""The examples of the guides run as they stand, each page in an empty folder with a core of its own.

Fenced blocks marked `sh`, `python` or `lua` are examples that run; the tour and the beginning of the guide to Lua
plugins are typed line by line. Other blocks are pictures and fragments.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from reed.lua.sandbox import LuaSandbox
from reed.wire import strict_json
from tests.waiting import until

DOCS = Path(__file__).parents[2] / "contrib" / "docs"
TOUR = (DOCS / "guide/tour.md").read_text(encoding="utf-8")
CODE = {"sh", "python", "rust", "lua"}
TESTED = {  # the documents with such blocks, each run by a test below
    "guide/backup.md": {"sh"},
    "guide/events.md": {"lua"},
    "guide/messages.md": {"lua"},  # test_readme
    "guide/lua-plugin.md": {"lua"},
    "guide/rust-plugin.md": {"sh", "rust"},
    "guide/bundled-plugins.md": {"sh"},
    "guide/reload-and-restart.md": {"sh"},
    "guide/schedules.md": {"sh"},  # test_schedules_examples
    "guide/containers.md": {"sh"},  # tests/ops/test_image.py
    "guide/testing-plugins.md": {"sh", "rust", "python"},  # test_testing_examples.py
    "guide/clients.md": {"python"},  # test_client_examples.py
    "guide/embedding.md": {"python", "sh"},  # test_embedding_examples
    "guide/testing-your-program.md": {"python", "sh"},  # the same
    "guide/watching.md": {"python"},  # test_watching_examples.py
    "guide/site.md": {"sh"},  # test_site_examples
    "guide/python-plugin.md": {"python"},  # test_python_examples
    "reference/python-api.md": {"python"},  # test_python_examples
    "reference/lua-api.md": {"lua"},
    "reference/permissions.md": {"python"},
}


def blocks(document: str, language: str) -> list[str]:
    text = (DOCS / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_every_block_that_is_marked_as_code_is_run_by_a_test() -> None:
    found = {}
    for path in DOCS.rglob("*.md"):
        marks = set(re.findall(r"^```(\w+)$", path.read_text(encoding="utf-8"), re.MULTILINE)) & CODE
        if marks and path.name != "reedcms-10.md":  # quotes
            found[str(path.relative_to(DOCS))] = marks
    assert found == TESTED


def test_the_tour(site) -> None:
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


def test_the_beginning_of_the_guide_to_lua_plugins(site) -> None:
    guide = (DOCS / "guide/lua-plugin.md").read_text(encoding="utf-8")
    commands = re.findall(r"^ {4}(reed .*)$", guide.partition("## Step by step")[0], re.MULTILINE)[:4]
    assert commands[0].startswith("reed plugin scaffold new-lua-plugin")
    site.run("reed", "init")
    site.run("reed", "start")
    printed = [site.run("sh", "-euc", command) for command in commands]
    assert printed[-1].strip() == '{"greeting":"Hello, Ada!"}'
    assert printed[-1].strip() in guide


def write_plugin(site, plugin: str, document: str) -> None:
    """The plugin of a guide, in the site's folder of plugins."""
    folder = site.folder / "plugins" / plugin
    folder.mkdir(parents=True)
    for name, language in (("plugin.yaml", "yaml"), ("main.lua", "lua")):
        text, *_ = blocks(document, language)
        (folder / name).write_text(text, encoding="utf-8")


def test_the_plugin_of_the_guide_to_lua_plugins(site) -> None:
    site.run("reed", "init")
    write_plugin(site, "word-count", "guide/lua-plugin.md")
    (row,) = blocks("guide/lua-plugin.md", "csv")
    with (site.folder / "plugin-registry.csv").open("a", encoding="utf-8") as registry:
        registry.write(row)
    site.run("reed", "start")
    site.run("reed", "registry", "define", "page", "{}")
    site.run("reed", "snippet", "create", "page", "--name", "blog/intro", '{"body": "A few words, to be counted."}')
    guide = (DOCS / "guide/lua-plugin.md").read_text(encoding="utf-8")
    commands = re.findall(
        r"^ {4}(reed .*)$", guide.partition("## Start and call")[2].partition("\n## ")[0], re.MULTILINE
    )
    assert len(commands) == 3
    printed = [site.run("sh", "-euc", command) for command in commands][-1]
    assert printed.strip() in guide


def test_a_plugin_is_shared(site) -> None:
    guide = (DOCS / "guide/lua-plugin.md").read_text(encoding="utf-8")
    commands = re.findall(r"^ {4}(reed .*)$", guide.partition("## Sharing")[2].partition("\n## ")[0], re.MULTILINE)
    site.run("reed", "init")
    write_plugin(site, "word-count", "guide/lua-plugin.md")
    site.run("reed", "plugin", "add", "word-count", "--yes")
    site.run("reed", "start")
    assert [command.split()[2] for command in commands] == ["pack", "remove", "add"]
    for command in commands:
        site.run("sh", "-euc", command)
    site.run("reed", "plugin", "start", "word-count")


def test_the_bundled_plugins(site) -> None:
    """The example, and then the commands that follow it for backup."""
    (script,) = blocks("guide/bundled-plugins.md", "sh")
    guide = (DOCS / "guide/bundled-plugins.md").read_text(encoding="utf-8")
    site.run("reed", "init")
    site.run("reed", "start")
    site.run("reed", "registry", "define", "page", "{}")
    site.run("reed", "snippet", "create", "page", "--name", "home", '{"title": "Home"}')
    site.run("sh", "-eu", text=script)
    snapshot, restore = re.findall(r"^ {4}(reed (?:plugin send backup|import) .*)$", guide, re.MULTILINE)
    written = json.loads(site.run("sh", "-euc", snapshot))["file"]
    site.run("reed", "snippet", "delete", "home")
    site.run("sh", "-euc", re.sub(r"snapshot-[0-9-]+\.jsonl", written, restore))
    assert json.loads(site.run("reed", "snippet", "get", "home")) == {"title": "Home"}


def test_the_filter_and_the_events_of_the_guide(site) -> None:
    site.run("reed", "init")
    write_plugin(site, "checker", "guide/events.md")
    with (site.folder / "plugin-registry.csv").open("a", encoding="utf-8") as registry:
        socket = "/tmp/reed-cms/plugins/checker.sock"
        registry.write(f'checker,lua,{socket},1.0.0,"snippet_read,snippet_write","admin",true,""\n')
    site.run("reed", "start")
    site.run("reed", "plugin", "start", "checker")
    site.run("reed", "registry", "define", "page", "{}")
    site.run("sh", "-euc", "! reed snippet create page '{}'")
    site.run("reed", "snippet", "create", "page", "--name", "bread", '{"title": "Rye bread"}')
    assert json.loads(site.run("reed", "snippet", "get", "bread"))["slug"] == "rye-bread"
    until(lambda: "snippet.created: bread" in site.run("reed", "plugin", "logs", "checker"))


def test_backup_and_restore(site) -> None:
    (script,) = blocks("guide/backup.md", "sh")
    site.run("reed", "init")
    site.run("reed", "start")
    site.run("reed", "registry", "define", "page", "{}")
    site.run("reed", "snippet", "create", "page", "--name", "home", '{"title": "Home"}')
    site.run("sh", "-eu", text=script)
    assert json.loads(site.run("reed", "snippet", "get", "home")) == {"title": "Home"}
    assert list((site.folder / "data").glob("replaced-*/content.db"))


def test_reload_and_restart(site) -> None:
    (script,) = blocks("guide/reload-and-restart.md", "sh")
    printed = site.run("sh", "-eu", text=script).splitlines()
    (status,) = [line.split("\t") for line in printed if line.startswith("simple-seo\t")]
    assert status[1] in {"ready", "starting"}  # adopted, or about to be
    assert status[9] == "0"  # restarts


def test_a_named_user(site) -> None:
    (example,) = blocks("reference/permissions.md", "python")
    site.run("reed", "init")
    (site.folder / "reed.yaml").write_text("groups: {editor: {permissions: [snippet_read]}}\n")
    site.run("reed", "start")
    printed = site.run(sys.executable, "-", text=example).splitlines()
    assert printed == ["['snippet_read']", "403", "no group 'editr' in reed.yaml; groups: admin, editor"]
    text = " ".join((DOCS / "reference/permissions.md").read_text(encoding="utf-8").split())
    assert all(f"`{line}`" in text for line in printed)


def test_the_examples_of_the_lua_api() -> None:
    plugin, *fragments = blocks("reference/lua-api.md", "lua")
    fragment = "\n".join(f"do {each} end" for each in fragments)
    spec = {"name": "word-count", "version": "1.0.0", "actions": {"count": 1}, "cpu": 5, "seed": [1, 2]}
    sandbox = LuaSandbox()
    prepared = strict_json.dumps({**spec, "settings": {}, "can_write": False})
    sandbox.start({}, memory=16 * 1024 * 1024, spec=prepared)
    assert sandbox.load("main.lua", plugin.encode()).kind == "run"
    answered = sandbox.call(1, b'{"content": {"body": "a few words"}}')
    assert (answered.kind, answered.results[1]) == ("done", b'{"words":3}')
    wrapped = f'local reed = require "reed"\nfunction fragment()\n{fragment}\nend\n'
    other = LuaSandbox()
    other.start({}, memory=16 * 1024 * 1024, spec=prepared)
    assert other.load("main.lua", wrapped.encode()).kind == "done"


@pytest.mark.slow
def test_the_guide_to_rust_plugins(site) -> None:
    if not (os.environ.get("REED_SLOW_TESTS") and shutil.which("cargo")):
        pytest.skip("builds plugins with cargo: a minute; REED_SLOW_TESTS=1 runs it")
    (script,) = blocks("guide/rust-plugin.md", "sh")
    assert site.run("sh", "-eu", text=script).splitlines()[-1] == '{"greeting":"Hello, Ada!"}'
    site.run("reed", "plugin", "scaffold", "word-count", "--lang", "rust")
    for main in blocks("guide/rust-plugin.md", "rust"):
        (site.folder / "plugins/word-count/src/main.rs").write_text(main, encoding="utf-8")
        site.run("cargo", "check", "--quiet", folder="plugins/word-count")
