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
