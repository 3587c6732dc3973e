"""The guide to watching, typed as it stands: its commands in two terminals, and its program, which is killed."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

GUIDE = (Path(__file__).parents[2] / "contrib/docs/guide/watching.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^ {4}(reed .*)$", GUIDE, re.MULTILINE)


class Terminal:
    """A command that runs until Ctrl-C."""

    def __init__(self, site: Any, *command: str) -> None:
        self.process = subprocess.Popen(
            command,
            cwd=site.folder,
            env={**site.environ, "PYTHONUNBUFFERED": "1"},  # as on a terminal, each line is written at once
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def message(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.readline()

    def end(self) -> str:
        self.process.send_signal(signal.SIGINT)
        _, errors = self.process.communicate(timeout=30)
        return errors


def test_the_commands(site: Any) -> None:
    init, start, define, watch, create, update, delete = COMMANDS
    for command in (init, start, define):
        site.run("sh", "-euc", command)
    terminal = Terminal(site, *watch.split())
    assert re.fullmatch(r"watching from [0-9a-f]{8}-1; Ctrl-C ends it\n", terminal.message())
    for command in (create, update):
        site.run("sh", "-euc", command)
    shown = [json.loads(line.replace("…", "").replace(", }", "}")) for line in re.findall(r"^ {4}({.*)$", GUIDE, re.M)]
    for expected in shown:
        found = json.loads(terminal.line())
        assert {key: found[key] for key in ("kind", "type", "name", "version")} == {
            key: expected[key] for key in ("kind", "type", "name", "version")
        }
        assert found["cursor"].partition("-")[2] == expected["cursor"].partition("-")[2]
    go_on = re.search(r"go on with: (reed watch --from \S+)", terminal.end())
    assert go_on
    assert terminal.process.returncode == 130
    site.run("sh", "-euc", delete)
    again = Terminal(site, *go_on[1].split())
    assert json.loads(again.line())["kind"] == "snippet.deleted"
    site.run("reed", "restart")
    site.run("reed", "snippet", "create", "page", "{}")
    assert json.loads(again.line())["kind"] == "snippet.created"
    again.end()


def test_the_mirror(site: Any) -> None:
    (program,) = re.findall(r"^```python\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    (site.folder / "mirror.py").write_text(program, encoding="utf-8")
    for command in ("init", "start"):
        site.run("reed", command)
    site.run("reed", "registry", "define", "page", "{}")
    site.run("reed", "registry", "define", "note", "{}")
    first = site.run("reed", "snippet", "create", "page", "--name", "first", '{"title":"First"}').strip()
    mirror = site.folder / "mirror"

    def pages() -> dict[str, str]:
        return {path.name: path.read_text() for path in mirror.iterdir() if path.name != "cursor"}

    def change(name: str, *words: str) -> None:
        site.run("reed", "snippet", *words)
        assert terminal.line().split()[1] == name

    terminal = Terminal(site, sys.executable, "mirror.py")
    while not (mirror / first).exists():
        assert terminal.process.poll() is None, terminal.message()
    site.run("reed", "snippet", "create", "note", "{}")
    change("second", "create", "page", "--name", "second", '{"title":"Second"}')
    terminal.process.kill()
    terminal.process.communicate()
    site.run("reed", "snippet", "update", "first", '{"title":"Missed"}')
    site.run("reed", "snippet", "delete", "second")
    terminal = Terminal(site, sys.executable, "mirror.py")
    assert terminal.line().split() == ["snippet.updated", "first"]
    assert terminal.line().split() == ["snippet.deleted", "second"]
    assert pages() == {first: '{"title":"Missed"}'}
    (mirror / "cursor").write_text("0badcafe-1")
    terminal.process.kill()
    terminal.process.communicate()
    terminal = Terminal(site, sys.executable, "mirror.py")
    assert "watch without a cursor" in terminal.line()
    while not (mirror / first).exists():
        assert terminal.process.poll() is None, terminal.message()
    change("third", "create", "page", "--name", "third", "{}")
    assert len(pages()) == 2
    terminal.process.kill()
    terminal.process.communicate()
