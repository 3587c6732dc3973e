"""Plugin types: recognising them by their files, and a type that consists of nothing but its object."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from reed.config import Config
from reed.loop.loop import Loop
from reed.peer_log import PeerLog
from reed.plugin_types import NATIVE, TYPES, type_of
from reed.plugin_types.plugin_type import ENTRY, NAME, PluginType, Project
from reed.sandbox.confine import Sandbox
from reed.supervision import registry_csv
from reed.supervision.launch_spec import LaunchSpec, specify
from reed.supervision.manifest import Manifests
from reed.zygote.launcher import ZygoteLauncher


@pytest.mark.parametrize(
    ("files", "entry", "expected"),
    [
        (["main.lua"], "", "lua"),
        (["p.lua", "Cargo.toml"], "", "lua"),
        ([], "src/start.lua", "lua"),
        (["p"], "", "native"),
        ([], "bin/run", "native"),
        (["other.lua"], "", "native"),
    ],
)
def test_the_type_is_recognised_by_its_files(tmp_path: Path, files: list[str], entry: str, expected: str) -> None:
    for name in files:
        (tmp_path / name).touch()
    assert type_of(tmp_path, "p", entry).name == expected


@pytest.mark.parametrize("plugin_type", TYPES.values(), ids=lambda each: each.name)
def test_only_a_type_with_a_command_executes_programs(plugin_type: PluginType) -> None:
    assert bool(plugin_type.command) == plugin_type.profile.executes


def no_tests(_project: Project) -> Iterator[tuple[str, str, str]]:
    yield "tests", "skipped", "none"


SHELL = PluginType(
    name="shell",
    language="shell",
    entry_points=("main.sh", f"{NAME}.sh"),
    suffix=".sh",
    missing_entry="write it",
    command=("/bin/sh", "-e", ENTRY),
    profile=NATIVE.profile,
    watches_subfolders=False,
    memory=None,
    max_private=8 * 1024 * 1024,
    tests=no_tests,
)


def test_a_new_type_is_registered_found_and_launched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in adding-a-plugin-type.md: the rest of reed needs no change."""
    monkeypatch.setitem(TYPES, SHELL.name, SHELL)
    folder = tmp_path / "plugins/hello"
    folder.mkdir(parents=True)
    (folder / "plugin.yaml").write_text("name: hello\nversion: 1.0.0\n")
    (folder / "hello.sh").write_text('echo "$REED_PLUGIN_NAME $0"; ulimit -c')
    header = ",".join(registry_csv.COLUMNS)
    text = f'{header}\nhello,shell,{tmp_path}/plugins/hello.sock,1.0.0,"","",false,""\n'
    (row,) = registry_csv.parse(text.encode(), "rows.csv", tmp_path)
    config = Config(runtime_dir=tmp_path, plugin_dirs=(tmp_path / "plugins",))
    spec = specify(row, config, Manifests()).launch
    assert (spec.plugin_type, spec.entry) == (SHELL, folder / "hello.sh")
    assert output_of(spec) == [f"hello {folder}/hello.sh", "0"]


def output_of(spec: LaunchSpec) -> list[str]:
    """Launches the plugin and returns the lines that it wrote."""
    loop = Loop(on_exception=lambda error: pytest.fail(str(error)))
    launcher = ZygoteLauncher(loop, Sandbox(), PeerLog(logging.getLogger("tests.plugin_types"), loop))
    reading, writing = os.pipe()
    pids: list[int] = []
    launcher.launch(spec, writing, pids.append, pytest.fail)
    os.close(writing)
    while not pids:
        loop.turn(0.02)
    with os.fdopen(reading) as output:
        lines = output.read().splitlines()
    os.waitpid(pids[0], 0)
    launcher.close()
    loop.close()
    return lines
