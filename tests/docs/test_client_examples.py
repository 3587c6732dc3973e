"""The guide to clients runs as it stands, with one core for the whole page; its programs print what it says."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

GUIDE = (Path(__file__).parents[2] / "contrib/docs/guide/clients.md").read_text(encoding="utf-8")


def test_the_programs_print_what_the_guide_says(site: Any) -> None:
    for command in re.findall(r"^ {4}(reed .*)$", GUIDE, re.MULTILINE):
        site.run("sh", "-euc", command)
    first, many, changes = re.findall(r"^```python\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    printed = site.run(sys.executable, "-", text=first) + site.run(sys.executable, "-", text=many)
    said = re.findall(r"^It prints:\n\n((?: {4}.*\n)+)", GUIDE, re.MULTILINE)
    assert printed.splitlines() == [line[4:] for text in said for line in text.splitlines()]
    assert f"It prints `{site.run(sys.executable, '-', text=changes).strip()}`" in GUIDE
