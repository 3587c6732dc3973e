"""The hard links to FIFOs in the folders of each plugin."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from reed.loop.loop import Loop
from reed.peer_log import PeerLog
from reed.peers.mesh import Mesh


@pytest.fixture
def mesh(tmp_path: Path):
    for folder in ("fifos", "peers"):
        (tmp_path / folder).mkdir(mode=0o700)
    loop = Loop(on_exception=lambda error: pytest.fail(str(error)))
    mesh = Mesh(
        tmp_path / "fifos", tmp_path / "peers", loop, lambda _name: None, PeerLog(logging.getLogger("test"), loop)
    )
    yield mesh
    mesh.close()
    loop.close()


def links(root: Path) -> dict[str, str]:
    """Every link, and the FIFO that it links to."""
    fifos = {path.stat().st_ino: path.name for path in (root / "fifos").iterdir()}
    found = (root / "peers").glob("*/*/*")
    return {str(path.relative_to(root / "peers")): fifos.get(path.lstat().st_ino, "nothing") for path in found}


ALL = {"a/to/b": "a→b", "b/from/a": "a→b", "b/to/a": "b→a", "a/from/b": "b→a"}


def test_each_fifo_has_a_link_for_its_writer_and_its_reader(mesh: Mesh, tmp_path: Path) -> None:
    mesh.add("a")
    assert sorted(os.listdir(tmp_path / "peers/a")) == ["from", "to"]
    mesh.add("b")
    assert links(tmp_path) == ALL
    assert {os.stat(path).st_mode & 0o777 for path in (tmp_path / "peers").rglob("*") if path.is_dir()} == {0o700}


def test_a_plugins_folder_keeps_its_inode_while_others_come_and_go(mesh: Mesh, tmp_path: Path) -> None:
    mesh.add("a")
    granted = (tmp_path / "peers/a/to").stat().st_ino
    mesh.add("b")
    mesh.remove("b")
    while mesh._loop._jobs:  # they are removed in slices
        mesh._loop.turn(0)
    assert links(tmp_path) == {}
    assert os.listdir(tmp_path / "peers") == ["a"]
    mesh.add("b")
    assert links(tmp_path) == ALL
    assert (tmp_path / "peers/a/to").stat().st_ino == granted


def test_wrong_links_are_replaced(mesh: Mesh, tmp_path: Path) -> None:
    for folder in ("a/to", "a/from", "gone/to"):
        (tmp_path / "peers" / folder).mkdir(parents=True)
    os.mkfifo(tmp_path / "peers/a/to/b")
    os.symlink("/etc/passwd", tmp_path / "peers/a/from/b")
    os.mkfifo(tmp_path / "peers/a/to/gone")
    mesh.add("a")
    mesh.add("b")
    mesh.remove_stale()
    assert links(tmp_path) == ALL
    assert sorted(os.listdir(tmp_path / "peers")) == ["a", "b"]


def test_the_fifo_folders_time_changes_after_its_links_exist(mesh: Mesh, tmp_path: Path) -> None:
    mesh.add("a")
    os.utime(tmp_path / "fifos", (1, 1))
    mesh.add("b")
    newest = max(path.stat().st_mtime_ns for path in (tmp_path / "peers").glob("*/*"))
    assert (tmp_path / "fifos").stat().st_mtime_ns >= newest
