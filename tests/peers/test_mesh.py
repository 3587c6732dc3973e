"""The mesh: a FIFO for every ordered pair, held while one of them runs, watched while the reader sleeps."""

from __future__ import annotations

import logging
import os
import stat

import pytest

from reed.errors import RuntimeFolderError
from reed.loop.loop import Loop
from reed.peer_log import PeerLog
from reed.peers.mesh import Mesh


class Plugins:
    """A mesh on its own loop."""

    def __init__(self, path, max_held: int = 1000) -> None:
        self.path = path
        self.path.mkdir(mode=0o700, exist_ok=True)
        self.woken: list[str] = []
        self.bugs: list[BaseException] = []
        self.loop = Loop(on_exception=self.bugs.append)
        self.links = path.parent / "peers"
        self.links.mkdir(exist_ok=True)
        self.mesh = Mesh(
            path, self.links, self.loop, self.woken.append, PeerLog(logging.getLogger("test"), self.loop), max_held
        )

    def add(self, *names: str) -> None:
        for name in names:
            self.mesh.add(name)

    def remove(self, name: str) -> None:
        self.mesh.remove(name)
        self.settle()

    def settle(self) -> None:
        """Run turns until nothing is left to remove."""
        while self.loop._jobs:
            self.loop.turn(0)

    def open(self, name: str, flags: int) -> int:
        return os.open(self.path / name, flags | os.O_NONBLOCK)

    def names(self) -> set[str]:
        return set(os.listdir(self.path))

    def end(self) -> None:
        self.mesh.close()
        self.loop.close()
        assert self.bugs == []


@pytest.fixture
def plugins(tmp_path):
    plugins = Plugins(tmp_path / "fifos")
    yield plugins
    plugins.end()


def test_every_ordered_pair_has_a_private_fifo_until_a_plugin_is_removed(plugins):
    plugins.add("a", "b", "c")
    assert plugins.names() == {"a→b", "a→c", "b→a", "b→c", "c→a", "c→b"}
    for name in plugins.names():
        mode = os.stat(plugins.path / name).st_mode
        assert stat.S_ISFIFO(mode)
        assert stat.S_IMODE(mode) == 0o600
    plugins.remove("b")
    assert plugins.names() == {"a→c", "c→a"}


def test_fifos_of_plugins_not_in_the_registry_are_removed(plugins):
    os.mkfifo(plugins.path / "gone→a", 0o600)
    plugins.add("a", "b")
    plugins.mesh.remove_stale()
    assert plugins.names() == {"a→b", "b→a"}


def test_only_the_pairs_of_running_plugins_are_held(plugins):
    plugins.add("a", "b", "c", "d")
    assert plugins.mesh.held == 0
    plugins.mesh.set_running("a", True)
    assert plugins.mesh.held == 6
    plugins.mesh.set_running("b", True)
    assert plugins.mesh.held == 10
    plugins.mesh.set_running("a", False)
    assert plugins.mesh.held == 6
    plugins.mesh.set_running("b", False)
    assert plugins.mesh.held == 0


def test_the_number_of_held_fifos_is_limited(tmp_path, caplog):
    plugins = Plugins(tmp_path / "fifos", max_held=4)
    plugins.add("a", "b", "c", "d")
    plugins.mesh.set_running("a", True)
    assert plugins.mesh.held == 4
    assert caplog.text.count("ulimit -n") == 1
    plugins.mesh.set_running("a", False)
    plugins.mesh.set_running("b", True)
    assert plugins.mesh.held == 4
    plugins.end()


def test_unread_messages_survive_writer_and_reader(plugins):
    plugins.add("a", "b")
    plugins.mesh.set_running("a", True)
    writer = plugins.open("a→b", os.O_WRONLY)
    os.write(writer, b"message")
    os.close(writer)
    plugins.add("c")
    plugins.add("a", "b")  # again, as after a restart: nothing is created
    reader = plugins.open("a→b", os.O_RDONLY)
    assert os.read(reader, 100) == b"message"
    os.close(reader)


def test_a_restarted_core_keeps_the_same_fifo(tmp_path):
    first = Plugins(tmp_path / "fifos")
    first.add("a", "b")
    inode = os.stat(tmp_path / "fifos" / "a→b").st_ino
    plugin = first.open("a→b", os.O_RDWR)
    os.write(plugin, b"sent while no core lived")
    first.end()
    second = Plugins(tmp_path / "fifos")
    second.add("a", "b")
    second.mesh.set_running("b", True)
    os.close(plugin)
    assert os.stat(tmp_path / "fifos" / "a→b").st_ino == inode
    reader = second.open("a→b", os.O_RDONLY)
    assert os.read(reader, 100) == b"sent while no core lived"
    os.close(reader)
    second.end()


def test_a_message_wakes_only_its_sleeping_reader(plugins):
    plugins.add("a", "b", "c")
    plugins.mesh.set_running("a", True)
    plugins.mesh.set_running("b", True)
    plugins.mesh.set_sleeping("b", True)
    plugins.loop.turn(0)
    assert plugins.woken == []
    writer = plugins.open("a→b", os.O_WRONLY)
    other = plugins.open("a→c", os.O_WRONLY)
    os.write(other, b"x")
    plugins.loop.turn(0)
    assert plugins.woken == []
    os.write(writer, b"x")
    plugins.loop.turn(0)
    assert plugins.woken == ["b"]
    plugins.mesh.set_sleeping("b", False)
    plugins.loop.turn(0)
    assert plugins.woken == ["b"]
    os.close(writer)
    os.close(other)


@pytest.mark.parametrize("kind", ["file", "link", "open to others"])
def test_anything_but_a_private_fifo_is_refused_by_name(tmp_path, kind):
    (tmp_path / "fifos").mkdir(mode=0o700)
    path = tmp_path / "fifos" / "a→b"
    if kind == "file":
        path.write_text("precious")
    elif kind == "link":
        path.symlink_to("/etc/passwd")
    else:
        os.mkfifo(path)
        path.chmod(0o666)
    plugins = Plugins(tmp_path / "fifos")
    with pytest.raises(RuntimeFolderError, match="/a→b:"):
        plugins.add("a", "b")
    assert path.is_symlink() or path.exists()
    plugins.end()


def test_fifos_that_were_prepared_are_those_that_add_uses(plugins):
    """A reload prepares them in steps. Meanwhile another plugin may come or go."""
    plugins.add("a", "b", "c")
    steps = plugins.mesh.prepare("d")
    next(steps)
    next(steps)
    inode = os.stat(plugins.path / "d→a").st_ino
    plugins.mesh.remove("a")
    plugins.add("e")
    for _ in steps:
        pass
    plugins.add("d")
    plugins.settle()
    others = {"b", "c", "e"}
    assert plugins.names() == {f"{x}→{y}" for x in {*others, "d"} for y in {*others, "d"} if x != y}
    plugins.add("a")
    assert os.stat(plugins.path / "d→a").st_ino != inode
    assert sorted(os.listdir(plugins.links / "d" / "to")) == ["a", "b", "c", "e"]
    assert sorted(os.listdir(plugins.links / "a" / "from")) == ["b", "c", "d", "e"]


def test_a_plugin_that_comes_back_before_its_fifos_were_removed_gets_new_ones(plugins):
    plugins.add("a", "b")
    writer = plugins.open("a→b", os.O_RDWR)
    os.write(writer, b"of the plugin before")
    plugins.mesh.remove("b")
    plugins.add("b")
    plugins.settle()
    assert plugins.names() == {"a→b", "b→a"}
    reader = plugins.open("a→b", os.O_RDWR)
    with pytest.raises(BlockingIOError):
        os.read(reader, 100)
    assert os.listdir(plugins.links / "b" / "from") == ["a"]
    for fd in (writer, reader):
        os.close(fd)
