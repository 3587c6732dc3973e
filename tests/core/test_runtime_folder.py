"""The runtime folder: creation, checks, lock; a refused folder is not changed."""

from __future__ import annotations

import fcntl
import grp
import os
import stat
import subprocess
import sys
import traceback

import pytest

from reed.client import core_socket
from reed.core.runtime_folder import RuntimeFolder, group_id_of, take_lock
from reed.errors import RuntimeFolderError

AS_ROOT = os.geteuid() == 0


def mode_of(path) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def test_the_folder_is_created_private_with_all_subfolders(tmp_path):
    folder = RuntimeFolder.open(tmp_path / "run")
    assert mode_of(tmp_path / "run") == 0o700
    for name in ("plugins", "fifos", "pid", "pid/plugins"):
        assert (tmp_path / "run" / name).is_dir()
    folder.close()


def test_members_of_the_socket_group_may_enter(tmp_path):
    folder = RuntimeFolder.open(tmp_path / "run", group_id=os.getegid())
    assert mode_of(tmp_path / "run") == 0o750
    folder.close()


def test_a_second_core_is_refused_until_the_first_one_ends(tmp_path):
    first = RuntimeFolder.open(tmp_path / "run")
    with pytest.raises(RuntimeFolderError, match=f"pid {os.getpid()}"):
        RuntimeFolder.open(tmp_path / "run")
    first.close()
    RuntimeFolder.open(tmp_path / "run").close()


def test_a_core_whose_lock_file_was_removed_is_noticed(tmp_path):
    RuntimeFolder.open(tmp_path / "run").close()
    program = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); print(); input()"
    words = [sys.executable, "-c", program, str(tmp_path / "run" / "core.sock")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as core:
        core.stdout.readline()
        (tmp_path / "run" / "core.lock").unlink()
        with pytest.raises(RuntimeFolderError, match=f"pid {core.pid}.* answers"):
            RuntimeFolder.open(tmp_path / "run")
        core.stdin.close()
    RuntimeFolder.open(tmp_path / "run").close()


def test_a_cleaner_of_old_files_finds_every_folder_locked(tmp_path):
    """systemd-tmpfiles tries to lock each folder, and leaves out what is in a locked one."""
    folder = RuntimeFolder.open(tmp_path / "run")
    inside = [path for path in (tmp_path / "run").rglob("*") if path.is_dir()]
    assert len(inside) >= 6
    for path in inside:
        assert not can_lock(path)
    folder.close()
    for path in inside:
        assert can_lock(path)


def can_lock(path) -> bool:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


def test_the_lock_of_a_killed_core_is_free_although_its_children_live(tmp_path):
    program = f"""
import subprocess, sys
from pathlib import Path
from reed.core.runtime_folder import take_lock
take_lock(Path({str(tmp_path)!r}))
child = subprocess.Popen(["sleep", "60"], close_fds=False)
print(child.pid, flush=True)
sys.stdin.read()
"""
    core = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child = int(core.stdout.readline())
    try:
        with pytest.raises(RuntimeFolderError, match=f"pid {core.pid}"):
            take_lock(tmp_path)
        core.kill()
        core.wait()
        os.close(take_lock(tmp_path))
    finally:
        os.kill(child, 9)
        core.stdin.close()
        core.stdout.close()


def test_a_link_is_refused_and_its_target_is_unchanged(tmp_path):
    target = tmp_path / "target"
    target.mkdir(mode=0o755)
    (tmp_path / "run").symlink_to(target)
    with pytest.raises(RuntimeFolderError, match="/run:"):
        RuntimeFolder.open(tmp_path / "run")
    assert list(target.iterdir()) == []
    assert mode_of(target) == 0o755


def test_a_linked_subfolder_is_refused(tmp_path):
    RuntimeFolder.open(tmp_path / "run").close()
    (tmp_path / "run" / "plugins").rmdir()
    (tmp_path / "run" / "plugins").symlink_to(tmp_path)
    with pytest.raises(RuntimeFolderError, match="/run/plugins:"):
        RuntimeFolder.open(tmp_path / "run")


@pytest.mark.skipif(not AS_ROOT, reason="only root can make a folder of another user")
def test_another_users_folder_is_refused(tmp_path):
    (tmp_path / "run").mkdir(mode=0o700)
    os.chown(tmp_path / "run", 12345, 12345)
    with pytest.raises(RuntimeFolderError, match="12345"):
        RuntimeFolder.open(tmp_path / "run")


@pytest.mark.parametrize("mode", [0o770, 0o777, 0o702])
def test_a_folder_writable_by_others_is_refused(tmp_path, mode):
    (tmp_path / "run").mkdir()
    (tmp_path / "run").chmod(mode)
    with pytest.raises(RuntimeFolderError, match=f"{mode:04o}"):
        RuntimeFolder.open(tmp_path / "run")
    assert mode_of(tmp_path / "run") == mode


def test_a_folder_that_others_use_is_refused_and_unchanged(tmp_path):
    """Such as /etc, when root mistypes --runtime-dir: nobody else could read it any more."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o755)
    (shared / "passwd").touch()
    with pytest.raises(RuntimeFolderError, match="/shared: is not empty"):
        RuntimeFolder.open(shared)
    assert mode_of(shared) == 0o755
    assert os.listdir(shared) == ["passwd"]


@pytest.mark.parametrize("kept", [None, "core.lock"])
def test_a_folder_that_is_empty_or_was_a_cores_becomes_private(tmp_path, kept):
    """The first is what systemd's RuntimeDirectory= creates."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run").chmod(0o755)
    if kept:
        (tmp_path / "run" / kept).touch()
        (tmp_path / "run" / "web.sock").touch()
    RuntimeFolder.open(tmp_path / "run").close()
    assert mode_of(tmp_path / "run") == 0o700


def test_a_world_writable_parent_needs_the_sticky_bit(tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(RuntimeFolderError, match="/open:"):
        RuntimeFolder.open(tmp_path / "open" / "run")
    (tmp_path / "open").chmod(0o1777)
    RuntimeFolder.open(tmp_path / "open" / "run").close()


def test_a_file_in_its_place_and_a_missing_parent_are_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RuntimeFolderError, match="/file:"):
        RuntimeFolder.open(tmp_path / "file")
    with pytest.raises(RuntimeFolderError, match="/a/b:"):
        RuntimeFolder.open(tmp_path / "a" / "b")


def test_every_world_writable_ancestor_needs_the_sticky_bit(tmp_path):
    (tmp_path / "open" / "a" / "b").mkdir(parents=True)
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "link").symlink_to(tmp_path / "open" / "a")
    for path in (tmp_path / "open" / "a" / "b" / "run", tmp_path / "link" / "run"):
        with pytest.raises(RuntimeFolderError, match="/open:"):
            RuntimeFolder.open(path)
        assert not path.exists()


@pytest.mark.skipif(not AS_ROOT, reason="only root can make a volume, and become another user")
@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775])
def test_on_a_shared_volume_a_private_subfolder_is_used(tmp_path, mode):
    """As a container's emptyDir: owned by root, world-writable, and the core's user cannot change its mode."""
    volume = tmp_path / "volume"
    volume.mkdir()
    if mode == 0o775:
        os.chown(volume, 0, 54321)
    volume.chmod(mode)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(folder.stat().st_mode | 0o011)

    def as_another_user() -> None:
        folder = RuntimeFolder.open(volume)
        assert folder.path.parent == volume
        assert mode_of(folder.path) == 0o700
        assert str(folder.core_socket) == core_socket(volume), "clients look elsewhere"
        assert str(volume) in folder.warnings[0]
        assert any("sticky" in warning for warning in folder.warnings) == (mode == 0o777)
        folder.close()
        below = RuntimeFolder.open(volume / "run")
        assert below.path == volume / "run"
        below.close()

    in_child(as_another_user, groups=[54321])
    with pytest.raises(RuntimeFolderError):  # root can change the mode
        RuntimeFolder.open(volume)


@pytest.mark.skipif(not AS_ROOT, reason="only root can become another user")
def test_a_world_writable_folder_of_another_user_is_refused(tmp_path):
    """Its owner could replace a folder below it."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    theirs.chmod(0o777)
    os.chown(theirs, 12346, 12346)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(folder.stat().st_mode | 0o011)

    def as_another_user() -> None:
        for path in (theirs, theirs / "run"):
            with pytest.raises(RuntimeFolderError):
                RuntimeFolder.open(path)
        assert not list(theirs.iterdir())

    in_child(as_another_user)


@pytest.mark.skipif(not AS_ROOT, reason="only root can become another user")
def test_a_socket_group_without_the_cores_user_is_named(tmp_path):
    group = grp.getgrgid(2)

    def as_another_user() -> None:
        with pytest.raises(RuntimeFolderError, match=f"{group.gr_name}.* 12345"):
            RuntimeFolder.open(tmp_path / "run", group_id_of(group.gr_name))

    os.chown(tmp_path, 12345, 12345)
    for folder in tmp_path.parents[:2]:
        folder.chmod(folder.stat().st_mode | 0o011)
    in_child(as_another_user)


def in_child(action, groups=()) -> None:
    """Run `action` in a process of user 12345; an exception fails the test."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups(list(groups))
            os.setgid(12345)
            os.setuid(12345)
            action()
            os._exit(0)
        except BaseException:  # noqa: BLE001 - the child must not continue as the test
            traceback.print_exc()
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
