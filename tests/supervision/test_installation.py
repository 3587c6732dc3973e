"""A plugin's folder and row change together, whenever the process is killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from reed.supervision import installation, registry_csv
from reed.supervision.installation import Staging, recover

HEADER = "# rows of this site\n" + ",".join(registry_csv.COLUMNS) + "\n"
OTHER = 'other,lua,/tmp/reed-cms/plugins/other.sock,2.0.0,"","",false,"stays"\n'
EVENTS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.chown", "os.listdir", "fcntl.flock"}


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch) -> None:
    """A killed process loses nothing that it has written; fsync is for power cuts, and takes most of the time here."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


def row(version: str) -> str:
    return f'demo,lua,/tmp/reed-cms/plugins/demo.sock,{version},"","admin",false,""' if version else ""


class Folder:
    """A site's plugins and registry; `version` is that of the plugin, "" without one."""

    def __init__(self, root: Path, version: str) -> None:
        self.plugins, self.registry = root / "plugins", root / "plugin-registry.csv"
        self.plugins.mkdir(parents=True)
        self.registry.write_text(HEADER + OTHER + (row(version) + "\n" if version else ""))
        if version:
            make(self.plugins / "demo", version)

    @property
    def state(self) -> tuple[str, str]:
        """The versions of folder and row."""
        manifest = self.plugins / "demo/plugin.yaml"
        rows = {each.plugin_name: each.version for each in registry_csv.load(self.registry, Path("/tmp/reed-cms"))}
        assert self.registry.read_text().startswith(HEADER + OTHER)
        return manifest.read_text() if manifest.exists() else "", rows.get("demo", "")


def make(folder: Path, version: str) -> None:
    (folder / "lib").mkdir(parents=True)
    (folder / "plugin.yaml").write_text(version)
    (folder / "lib/a.lua").write_text(version)


def change(site: Folder, version: str, *, back: bool = False) -> None:
    """Install a version, or remove the plugin; `back`: and come back, as when it does not start."""
    with Staging(site.plugins) as staging:
        if version:
            make(staging.new, version)
            target = staging.target("demo", site.registry, row(version))
        else:
            target = staging.present("demo", site.registry)._replace(row="", folder=0)
        before = staging.present("demo", site.registry)
        staging.decide(target)
        if back:
            staging.decide(before)
        staging.finish()


CHANGES = {  # the version before and after
    "add": ("", "1.0.0", lambda site: change(site, "1.0.0")),
    "upgrade": ("1.0.0", "2.0.0", lambda site: change(site, "2.0.0")),
    "remove": ("1.0.0", "", lambda site: change(site, "")),
    "fail to start": ("1.0.0", "2.0.0", lambda site: change(site, "2.0.0", back=True)),
    "fail to start when new": ("", "1.0.0", lambda site: change(site, "1.0.0", back=True)),
}


def killed_at(number: int, run: Callable[[], Any]) -> bool:
    """Run in a child that kills itself before it changes or opens something for that time; False if it came to its end.

    What is on the disk differs only between two of these events.
    """
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0
        return os.WIFSIGNALED(status)
    seen = 0

    def before(event: str, _: object) -> None:
        nonlocal seen
        seen += event in EVENTS
        if seen == number and event in EVENTS:
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        sys.addaudithook(before)
        run()
        os._exit(0)
    finally:
        os._exit(1)


@pytest.mark.parametrize("exchange", [True, False], ids=["exchange", "two renames"])
@pytest.mark.parametrize("name", CHANGES)
def test_whenever_it_is_killed_it_is_the_old_or_the_new(tmp_path, monkeypatch, name: str, exchange: bool) -> None:
    before, after, run = CHANGES[name]
    if not exchange:
        monkeypatch.setattr(installation, "_exchange", lambda _one, _other: False)
    states: list[tuple[str, str]] = []
    for number in count(1):
        site = Folder(tmp_path / str(number), before)
        was_killed = killed_at(number, lambda site=site: run(site))
        said = list(recover([site.plugins], site.registry))
        assert not [text for text in said if "cannot" in text]
        state = site.state
        assert state in {(before, before), (after, after)}, f"killed at {number}: {state}"
        assert [path.name for path in site.plugins.iterdir()] == (["demo"] if state[0] else [])
        if state[0]:
            assert (site.plugins / "demo/lib/a.lua").read_text() == state[0]
        shutil.rmtree(tmp_path / str(number))
        if not was_killed:
            break
        states.append(state)
    assert len(states) > 20
    assert {(before, before), (after, after)} == set(states)


def test_the_recovery_may_be_killed_too(tmp_path) -> None:
    """Whatever the next one finds, it does the rest."""
    for first in count(1):
        site = Folder(tmp_path / str(first), "1.0.0")
        assert killed_at(first, lambda site=site: change(site, "2.0.0"))
        if (next(site.plugins.glob(".staged-*"), site.plugins) / "journal.json").exists():
            break
    for number in count(1):
        site = Folder(tmp_path / f"again-{number}", "1.0.0")
        assert killed_at(first, lambda site=site: change(site, "2.0.0"))
        assert site.state == ("1.0.0", "1.0.0")
        was_killed = killed_at(number, lambda site=site: list(recover([site.plugins], site.registry)))
        list(recover([site.plugins], site.registry))
        assert site.state == ("2.0.0", "2.0.0")
        assert [path.name for path in site.plugins.iterdir()] == ["demo"]
        if not was_killed:
            return


def test_what_a_living_process_works_on_is_left_alone(tmp_path) -> None:
    site = Folder(tmp_path, "1.0.0")
    with Staging(site.plugins) as staging:
        make(staging.new, "2.0.0")
        assert list(recover([site.plugins], site.registry)) == []
        staging.decide(staging.target("demo", site.registry, row("2.0.0")))
        assert list(recover([site.plugins], site.registry)) == []
        staging.finish()
    assert site.state == ("2.0.0", "2.0.0")


@pytest.mark.parametrize(
    "journal",
    [
        {"name": "../../etc", "registry": "REGISTRY", "folder": 0, "row": ""},
        {"name": "demo", "registry": "/elsewhere.csv", "folder": 0, "row": ""},
        {"name": "demo", "registry": "REGISTRY", "folder": 12345678901, "row": ""},
        {"name": "demo"},
    ],
)
def test_a_journal_that_cannot_be_right_changes_nothing(tmp_path, journal: dict[str, Any]) -> None:
    site = Folder(tmp_path, "1.0.0")
    folder = site.plugins / ".staged-0123456789abcdef"
    folder.mkdir()
    text = json.dumps({key: str(site.registry) if value == "REGISTRY" else value for key, value in journal.items()})
    (folder / "journal.json").write_text(text)
    (said,) = recover([site.plugins], site.registry)
    assert "cannot be finished" in said
    assert site.state == ("1.0.0", "1.0.0")


def test_a_linked_folder_is_replaced_and_what_it_leads_to_stays(tmp_path) -> None:
    site = Folder(tmp_path / "site", "")
    make(tmp_path / "work", "1.0.0")
    (site.plugins / "demo").symlink_to(tmp_path / "work")
    change(site, "2.0.0")
    assert site.state == ("2.0.0", "2.0.0")
    assert (tmp_path / "work/lib/a.lua").read_text() == "1.0.0"
    shutil.rmtree(site.plugins / "demo")
    (site.plugins / "demo").symlink_to(tmp_path / "work")
    change(site, "")
    assert site.state == ("", "")
    assert (tmp_path / "work/lib/a.lua").read_text() == "1.0.0"


def test_the_plugin_folder_may_be_a_link(tmp_path) -> None:
    site = Folder(tmp_path / "site", "1.0.0")
    site.plugins.rename(tmp_path / "elsewhere")
    site.plugins.symlink_to(tmp_path / "elsewhere")
    change(site, "2.0.0")
    assert site.state == ("2.0.0", "2.0.0")
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["demo"]


def test_without_a_decision_nothing_is_left(tmp_path) -> None:
    site = Folder(tmp_path, "1.0.0")
    with Staging(site.plugins) as staging:
        make(staging.new, "2.0.0")
    assert site.state == ("1.0.0", "1.0.0")
    assert [path.name for path in site.plugins.iterdir()] == ["demo"]
