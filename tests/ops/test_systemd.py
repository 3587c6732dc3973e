"""contrib/systemd/reed.service, as systemd-analyze sees it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "contrib/systemd/reed.service"
MAX_EXPOSURE = 20  # tenths: systemd calls up to 2.0 "OK", and an ordinary service has 9.6
IN_SECCOMP_OF_REED = {  # what reed confines plugins with, beyond @system-service
    "landlock_create_ruleset",
    "landlock_add_rule",
    "landlock_restrict_self",
    "seccomp",
}

needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not here")


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, check=False, timeout=60)


def service() -> dict[str, list[str]]:
    """The settings of [Service]; a key may have several lines."""
    found: dict[str, list[str]] = {}
    text = UNIT.read_text(encoding="utf-8").partition("[Service]\n")[2].partition("\n[")[0]
    for key, value in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with programs that are on this machine."""
    path = tmp_path / "reed.service"
    path.write_text(UNIT.read_text(encoding="utf-8").replace("/opt/reed/bin/reed", sys.executable), encoding="utf-8")
    return path


@needs_systemd
def test_systemd_understands_every_line(unit: Path) -> None:
    verified = analyze("verify", "--man=no", str(unit))
    if "Failed to initialize manager" in verified.stderr:
        pytest.skip("systemd-analyze verify does not work here: " + verified.stderr.strip())
    assert verified.returncode == 0, verified.stderr
    assert "reed.service" not in verified.stderr, verified.stderr

    unit.write_text(unit.read_text(encoding="utf-8").replace("KillMode=process", "KillMode=proces"), encoding="utf-8")
    assert "reed.service" in analyze("verify", "--man=no", str(unit)).stderr, "mistakes are not seen either"


@needs_systemd
def test_its_exposure_is_low(unit: Path) -> None:
    checked = analyze("security", "--offline=true", f"--threshold={MAX_EXPOSURE}", str(unit))
    if "unrecognized option" in checked.stderr:
        pytest.skip("this systemd-analyze cannot judge a file (before version 250)")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_system_calls_of_the_sandbox_are_allowed() -> None:
    """Those that are in no set of the filter are named one by one."""
    lines = service()["SystemCallFilter"]
    assert lines[0] == "@system-service"
    named = {word for line in lines for word in line.split() if word[0] not in "@~"}
    assert named == IN_SECCOMP_OF_REED


def test_plugins_survive_a_crash_of_the_core() -> None:
    """Only then can the next core adopt them, for which they wait 10 s."""
    settings = service()
    assert settings["KillMode"] == ["process"]
    assert settings["RuntimeDirectoryPreserve"] == ["restart"]
    assert settings["Restart"] == ["on-failure"]
    assert settings["RestartSec"] == ["1s"]
