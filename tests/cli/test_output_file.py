"""Output files: complete or absent, and never behind another user's link."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

import pytest

from reed.cli.output_file import appending, replacing
from reed.errors import ReedError

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="requires root: files of another user")
OTHER = 12345


def write(path: Path | str, content: bytes = b"content") -> None:
    with replacing(os.fspath(path)) as file:
        file.write(content)


@pytest.fixture
def shared(tmp_path) -> Path:
    """A world-writable folder like /tmp."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


@as_root
@pytest.mark.parametrize("mode", [0o1777, 0o777])
def test_another_users_link_is_refused_in_a_folder_that_everyone_may_write_to(shared, tmp_path, mode) -> None:
    shared.chmod(mode)
    treasure = tmp_path / "treasure"
    for exists in (False, True):
        if exists:
            treasure.write_text("unchanged")
        link = shared / f"{exists}.jsonl"
        link.symlink_to(treasure)
        os.lchown(link, OTHER, OTHER)
        with pytest.raises(ReedError, match=str(OTHER)):
            write(link)
        assert treasure.exists() == exists
        assert not exists or treasure.read_text() == "unchanged"
    assert sorted(each.name for each in shared.iterdir()) == ["False.jsonl", "True.jsonl"]


@as_root
def test_another_users_fifo_is_refused(shared) -> None:
    os.mkfifo(shared / "all.jsonl")
    os.chown(shared / "all.jsonl", OTHER, OTHER)
    with pytest.raises(ReedError, match=str(OTHER)):
        write(shared / "all.jsonl")


@as_root
def test_a_link_to_another_users_link_is_refused(shared, tmp_path) -> None:
    (shared / "theirs").symlink_to(tmp_path / "treasure")
    os.lchown(shared / "theirs", OTHER, OTHER)
    (tmp_path / "mine").symlink_to(shared / "theirs")
    with pytest.raises(ReedError, match=str(OTHER)):
        write(tmp_path / "mine")


@as_root
def test_another_users_file_is_not_appended_to_and_its_mode_not_kept(shared) -> None:
    theirs = shared / "all.jsonl"
    theirs.touch()
    theirs.chmod(0o666)
    os.chown(theirs, OTHER, OTHER)
    with pytest.raises(ReedError, match=str(OTHER)), appending(os.fspath(theirs)):
        pass
    old = os.umask(0o077)
    try:
        write(theirs)
    finally:
        os.umask(old)
    assert (theirs.stat().st_uid, stat.S_IMODE(theirs.stat().st_mode)) == (0, 0o600)


def test_appending_creates_a_private_file(tmp_path) -> None:
    for _ in range(2):
        with appending(os.fspath(tmp_path / "record")) as file:
            file.write(b"frame")
    assert (tmp_path / "record").read_bytes() == b"frameframe"
    assert stat.S_IMODE((tmp_path / "record").stat().st_mode) == 0o600


def test_the_users_own_links_are_followed(shared, tmp_path) -> None:
    (shared / "second").symlink_to(tmp_path / "file")
    (tmp_path / "first").symlink_to(shared / "second")
    write(tmp_path / "first", b"one")
    write(tmp_path / "first", b"two")
    assert (tmp_path / "file").read_bytes() == b"two"
    assert (tmp_path / "first").is_symlink()


def test_a_cycle_of_links_is_an_error(tmp_path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(ReedError, match="/a: "):
        write(tmp_path / "a")


def test_the_file_is_private_until_it_is_whole_and_keeps_its_mode(tmp_path) -> None:
    old = os.umask(0o027)
    try:
        with replacing(str(tmp_path / "new")) as file:
            file.write(b"content")
            file.flush()
            (unfinished,) = tmp_path.iterdir()
            assert unfinished.name != "new"
            assert stat.S_IMODE(unfinished.stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640
        (tmp_path / "new").chmod(0o604)
        write(tmp_path / "new", b"again")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o604
    assert (tmp_path / "new").read_bytes() == b"again"


def test_a_failed_write_leaves_no_file_behind(tmp_path) -> None:
    (tmp_path / "file").write_text("old")
    with contextlib.suppress(RuntimeError), replacing(str(tmp_path / "file")) as file:
        file.write(b"half")
        raise RuntimeError
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"


def test_fifos_and_devices_are_written_directly(tmp_path) -> None:
    os.mkfifo(tmp_path / "fifo")
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    try:
        write(tmp_path / "fifo")
        assert os.read(reader, 100) == b"content"
    finally:
        os.close(reader)
    write("/dev/null")
