"""Checks of a folder for `reed doctor`: owner, mode, free space, file system."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from reed.cli.doctor import Finding, error, ok, warning
from reed.figures import size
from reed.process_handle import owner, user_name

MB = 1024 * 1024
_LITTLE, _VERY_LITTLE = 200 * MB, 20 * MB  # free space
_FEW_INODES = 1000
_REMOTE = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "fuse.sshfs", "fuse.glusterfs"}
_VOLATILE = {"tmpfs", "ramfs", "overlay", "aufs"}


def check_folder(name: str, path: Path, user: int, *, is_private: bool) -> Iterator[Finding]:
    """`user` is the one who runs the core, which refuses a private folder that others may write to."""
    existing = next((each for each in (path, *path.parents) if each.exists()), path)
    if existing != path:
        what = f"{name} {path} does not exist"
        if user == 0 or _may_write(os.stat(existing), user):
            yield ok(f"{what}; the core creates it")
        else:
            yield error(
                what,
                f"{user_name(user)} cannot create it in {existing}",
                f"create it and give it to {user_name(user)}, or name another one",
            )
        return
    found = os.stat(path)
    mode = stat.S_IMODE(found.st_mode)
    space = os.statvfs(path)
    free = space.f_bavail * space.f_frsize
    shown = f"{name} {path}: {owner(path)}, {mode:04o}, {size(free)} free"
    if not stat.S_ISDIR(found.st_mode):
        yield error(f"{name} {path} is not a folder", "the core does not start", "remove it, or name another")
    elif user and found.st_uid != user and (is_private or not _may_write(found, user)):
        yield error(
            shown,
            f"the core's user {user_name(user)} does not own it",
            f"chown {user_name(user)} {path}, or name another folder",
        )
    elif mode & (stat.S_IWGRP | stat.S_IWOTH):
        yield Finding("error" if is_private else "warning", shown, "others may write to it", f"chmod go-w {path}")
    elif mode & (stat.S_IRGRP | stat.S_IROTH) and not is_private:
        yield warning(shown, "other users may read the names of its files", f"chmod 700 {path}")
    else:
        yield ok(shown)
    yield from _space(path, free, space.f_favail if space.f_files else _FEW_INODES)


def _may_write(found: os.stat_result, user: int) -> bool:
    return bool(found.st_mode & stat.S_IWOTH or (found.st_uid == user and found.st_mode & stat.S_IWUSR))


def _space(path: Path, free: int, inodes: int) -> Iterator[Finding]:
    if free < _LITTLE:
        yield Finding(
            "error" if free < _VERY_LITTLE else "warning",
            f"{path}: only {size(free)} free",
            "on a full disk writes fail with 507; reads go on",
            "free some space",
        )
    if inodes < _FEW_INODES:
        yield warning(f"{path}: only {inodes} inodes free", "no further files can be made", "remove files")


def check_file_system(path: Path, *, is_sqlite: bool) -> Iterator[Finding]:
    kind = _kind_of(path)
    if kind in _REMOTE and is_sqlite:
        yield error(
            f"the data folder is on {kind}",
            "SQLite's log does not work on network file systems",
            "use a local disk, or PostgreSQL",
        )
    elif kind in _VOLATILE:
        yield warning(
            f"the data folder is on {kind}",
            "its content is gone with the container or at a boot",
            "mount a volume there",
        )
    elif kind:
        yield ok(f"the data folder is on {kind}")


def _kind_of(path: Path) -> str:
    """The type of the file system that is mounted the deepest above the path."""
    real, best, kind = os.path.realpath(path), "", ""
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        before, _, after = line.partition(" - ")
        point = before.split()[4].replace("\\040", " ")
        if (real == point or real.startswith(point.rstrip("/") + "/")) and len(point) >= len(best):
            best, kind = point, after.split()[0]
    return kind
