"""The example of the guide to schedules, typed in an empty folder."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

GUIDE = Path(__file__).parents[2] / "contrib" / "docs" / "guide" / "schedules.md"


def test_the_example_runs(site) -> None:
    build, look, change = re.findall(r"^```sh\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    site.run("sh", "-eu", "-c", build)
    shown = site.run("sh", "-eu", "-c", look)
    assert shown.startswith('{"snippets":0}\n')
    deadline = time.monotonic() + 30
    while ": 0 snippets" not in (log := site.run("reed", "plugin", "logs", "housekeeping")) or "often, due" not in log:
        assert time.monotonic() < deadline, log
    assert "nightly, due 20" in log
    site.run("sh", "-eu", "-c", change)
    found = json.loads(site.run("reed", "plugin", "status", "housekeeping", "--json"))[0]["schedules"]
    assert [(each["name"], each["state"], each["rule"]) for each in found] == [
        ("often", "off", "every 2s"),
        ("nightly", "waiting", "cron 30 4 * * mon-fri"),
    ]
    assert found[1]["runs"] == 1
