"""The guide to testing plugins: its commands in an empty folder, as they stand."""

from __future__ import annotations

import json
import re
from pathlib import Path
from textwrap import indent

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "contrib/docs/guide/testing-plugins.md").read_text(encoding="utf-8")


def test_the_test_in_rust_is_one_of_analytics() -> None:
    """`cargo test` of the bundled plugin runs it."""
    (example,) = re.findall(r"^```rust\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    source = (ROOT / "contrib/plugins/analytics/src/main.rs").read_text(encoding="utf-8")
    assert indent(example, "    ") in source


def test_the_commands_of_the_guide(site) -> None:
    script = re.findall(r"^```sh\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    assert len(script) == 4
    printed = site.run("sh", text="set -eu\n" + "".join(script))
    assert "ok\ttests/test_filter.lua\t2 passed" in printed
    assert "ok\ttests/test_events.lua\t5 passed" in printed
    report = json.loads((site.folder / "report.json").read_text())
    assert (report["passed"], report["ok"], report["skipped"]) == (True, 13, 3)
    (command,) = re.findall(r"^ {4}(reed plugin dev .*)$", GUIDE, re.MULTILINE)
    shown = site.run(*command.split(), "--once")
    assert "slugs 1.0.0 is READY in a private core" in shown
    for line in re.findall(r"^ {4}ok +(?!reload)(\S.*)$", GUIDE, re.MULTILINE):
        assert line.replace("manifest             ", "manifest\t") in shown.replace("tests/test_events.lua: ", "")


SLUGS = """
from reed.plugin import plugin, reed


def slug(title):
    return "-".join(title.lower().split())


@plugin.action("check")
def check(_payload, write):
    return {} if write["content"].get("title") else {"refuse": ["a page needs a title"]}


@plugin.action("changed")
def changed(_payload, event):
    page = reed.snippet.get(event["snippet_id"])
    new = slug(page.content["title"])
    reed.snippet.update(page.id, {"slug": new})
    plugin.request("redirects", 0x20, {"from": page.content["slug"], "to": new})
    return {}
"""


def test_the_tests_in_python(site) -> None:
    """They test the plugin of the guide, written in Python."""
    site.run("reed", "init")
    folder = site.folder / "plugins/slugs"
    (folder / "tests").mkdir(parents=True)
    (manifest,) = re.findall(r"plugin.yaml <<'END'\n(.*?)^END$", GUIDE, re.MULTILINE | re.DOTALL)
    (tests,) = re.findall(r"^```python\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    (folder / "plugin.yaml").write_text(manifest)
    (folder / "main.py").write_text(SLUGS)
    (folder / "tests/test_slugs.py").write_text(tests)
    shown = site.run("reed", "plugin", "dev", "plugins/slugs", "--once")
    assert "slugs 1.0.0 is READY" in shown
    assert "ok\ttests/test_slugs.py\t2 passed" in shown
