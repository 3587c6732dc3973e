"""The guide to Python plugins and the blocks of the Python API, as a reader follows them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.test_examples import DOCS, blocks

GUIDE = "guide/python-plugin.md"
API = "reference/python-api.md"


def commands(section: str) -> list[str]:
    """The indented lines `reed …` below a heading, or of the beginning."""
    text = (DOCS / GUIDE).read_text(encoding="utf-8")
    part = re.split(r"^## ", text, flags=re.MULTILINE)
    (found,) = [each for each in part if each.startswith(section)]
    return re.findall(r"^ {4}(reed .*)$", found, re.MULTILINE)


def write_files(folder: Path) -> None:
    """Each block that follows a line "plugins/…:"."""
    text = (DOCS / GUIDE).read_text(encoding="utf-8")
    text = text.replace("The tests, in test_count.py of its folder tests:", "plugins/word-count/tests/test_count.py:")
    files = re.findall(r"^(plugins/\S+):\n\n```\w+\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(files) == 5
    for path, content in files:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content, encoding="utf-8")


def test_the_guide_to_python_plugins(site) -> None:
    """All its commands in one empty folder."""
    answers = [site.run("sh", "-euc", command) for command in commands("# A Python plugin")]
    assert json.loads(answers[-1]) == {"greeting": "Hello, Ada!"}
    write_files(site.folder)
    answers = [site.run("sh", "-euc", command) for command in commands("Start and call")]
    assert json.loads(answers[-1]) == {"minutes": 1, "words": 6}
    answers = [site.run("sh", "-euc", command) for command in commands("Reacting to changes")]
    assert json.loads(answers[-1])["slug"] == "a-second-page"
    assert json.loads(site.run("reed", "snippet", "get", "blog/intro"))["slug"] == "intro", "on_start wrote it"


def test_the_blocks_of_the_api_and_the_guide_are_typed(tmp_path: Path) -> None:
    """mypy --strict, as in the folder of a plugin."""
    pytest.importorskip("mypy", reason="mypy is not installed")
    for number, text in enumerate([*blocks(API, "python"), *blocks(GUIDE, "python")]):
        (tmp_path / f"block_{number}.py").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), *tmp_path.glob("*.py")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Success" in done.stdout, done.stdout + done.stderr


def test_the_blocks_of_the_api_run(site) -> None:
    """The plugin, its tests, and the batch as the handler of an action."""
    plugin, errors, batch, tests = blocks(API, "python")
    folder = site.folder / "plugins/word-count"
    (folder / "tests").mkdir(parents=True)
    check = '    if "body" not in page["content"]: reed.fail(422, "no body")\n'
    handler = plugin.replace("    return {", f"{check}    return {{")
    run = "\n\n@plugin.action('publish')\ndef publish(_payload, data):\n" + re.sub(r"(?m)^(?=.)", "    ", batch)
    code = handler + errors + run + "    return find('index').name\n"
    (folder / "main.py").write_text(code, encoding="utf-8")
    (folder / "tests/test_count.py").write_text(tests, encoding="utf-8")
    (folder / "plugin.yaml").write_text(
        "name: word-count\nversion: 1.0.0\npermissions: [snippet_read, snippet_write]\n"
        "actions: {count: {command_id: 1, input: snippet}, publish: {command_id: 2}}\n"
    )
    site.run("reed", "init")
    site.run("reed", "plugin", "add", "word-count", "--yes")
    assert "failed" not in site.run("reed", "plugin", "test", "word-count")
    site.run("reed", "start")
    site.run("reed", "registry", "define", "page", "{}")
    site.run("reed", "snippet", "create", "page", "--name", "home", '{"title": "Home", "draft": true}')
    site.run("reed", "plugin", "start", "word-count")
    assert site.run("reed", "plugin", "send", "word-count", "publish", "{}").strip() == "index"
    assert json.loads(site.run("reed", "snippet", "get", "home"))["draft"] is False
