"""The runtime folder: the sockets, FIFOs and pid files of one core (the source, Socket File Structure).

    <runtime folder>/           0700, or 0750 with a group; the core's own, no link, not writable by others
    ├── core.lock               held for as long as the core lives: one core per folder
    ├── core.sock
    ├── monitor.sock            what passes, for admins (core.monitor)
    ├── plugins/NAME.sock
    ├── fifos/A→B
    ├── output/NAME.N           stdout and stderr of a plugin's process (reed.supervision.output)
    ├── peers/A/to/B, B/from/A  the same FIFOs by a second name (reed.peers.links)
    └── pid/core.pid, pid/plugins/NAME.pid

A folder in /tmp may have been prepared by someone else (SECURITY.md, Files): it is opened without following links, what
was opened is checked, and nothing is changed in a folder that is refused. The lock comes before any socket is bound.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import grp
import os
import stat
from pathlib import Path

from reed.errors import RuntimeFolderError
from reed.process_handle import user_name
from reed.runtime_paths import used_folder

_SUBFOLDERS = ("plugins", "fifos", "peers", "output", "pid", "pid/plugins")


class RuntimeFolder:
    """An open, checked and locked runtime folder."""

    def __init__(self, path: Path, lock_fd: int, warnings: list[str]) -> None:
        self.path = path
        self.warnings = warnings  # what its operator should know
        self._lock_fd = lock_fd

    @classmethod
    def open(cls, path: Path, group_id: int | None = None) -> RuntimeFolder:
        """Make or check the folder and take its lock; RuntimeFolderError says what is wrong with it."""
        asked_for = Path(os.path.abspath(path))
        path = _used(asked_for)
        warnings = [] if path == asked_for else [f"{asked_for}: others may write to it; {path} is used instead"]
        warnings += _check_ancestors(path)
        mode = 0o700 if group_id is None else 0o750
        _make(path, mode)
        fd = _open_folder(path)
        try:
            _check(path, fd)
            if group_id is not None:
                _give_to_group(path, fd, group_id)
            lock_fd = take_lock(path)
            os.fchmod(fd, mode)
        finally:
            os.close(fd)
        for name in _SUBFOLDERS:
            _make(path / name, mode)
            subfolder_fd = _open_folder(path / name)
            try:
                _check(path / name, subfolder_fd)
            finally:
                os.close(subfolder_fd)
        return cls(path, lock_fd, warnings)

    @property
    def core_socket(self) -> Path:
        return self.path / "core.sock"

    @property
    def monitor_socket(self) -> Path:
        return self.path / "monitor.sock"

    @property
    def core_pid_file(self) -> Path:
        return self.path / "pid" / "core.pid"

    @property
    def fifos(self) -> Path:
        return self.path / "fifos"

    @property
    def peers(self) -> Path:
        return self.path / "peers"

    def close(self) -> None:
        """Give the lock up; the files stay for the next core."""
        os.close(self._lock_fd)


def group_id_of(name: str | None) -> int | None:
    """The id of `socket_group`."""
    if not name:
        return None
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise RuntimeFolderError(
            f"socket_group: no Unix group {name!r} on this machine", hint="name one in reed.yaml"
        ) from None


def take_lock(folder: Path) -> int:
    """The descriptor that holds `folder`/core.lock until it is closed; children never inherit it."""
    path = folder / "core.lock"
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise RuntimeFolderError(f"{path}: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise RuntimeFolderError(f"{path}: is not a file", hint="remove it")
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
        os.close(fd)
        raise RuntimeFolderError(
            f"{folder}: another core{f' (pid {holder})' if holder else ''} runs on this folder",
            hint="stop it with `reed stop`, or name another folder",
        ) from None
    except OSError as error:
        os.close(fd)
        raise RuntimeFolderError(
            f"{path}: cannot be locked (flock): {error.strerror}",
            hint="allow flock in the container's seccomp profile, or name a folder on a file system that has locks",
        ) from None
    with contextlib.suppress(OSError):  # a full disk: it only tells the next one who holds the lock
        os.ftruncate(fd, 0)
        os.pwrite(fd, b"%d\n" % os.getpid(), 0)
    return fd


def _make(path: Path, mode: int) -> None:
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        return
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        raise RuntimeFolderError(
            f"{path}: cannot make the folder: {error.strerror}",
            hint="free some space there" if full else "its parent must exist and be writable",
        ) from None


def _give_to_group(path: Path, fd: int, group_id: int) -> None:
    try:
        os.fchown(fd, -1, group_id)
    except OSError as error:
        user, group = user_name(os.geteuid()), _group_name(group_id)
        raise RuntimeFolderError(
            f"{path}: cannot be given to socket_group {group!r}: {error.strerror}; "
            f"the core's user {user} must be in that group",
            hint=f"add it (usermod -aG {group} {user}) and log in again, or name another group in reed.yaml",
        ) from None


def _group_name(group_id: int) -> str:
    try:
        return grp.getgrgid(group_id).gr_name
    except KeyError:
        return str(group_id)


def _open_folder(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if path.is_symlink():
            reason = "is a link"
        elif path.exists() and not path.is_dir():
            reason = "is not a folder"
        else:
            reason = error.strerror or str(error)
        raise RuntimeFolderError(f"{path}: {reason}", hint="remove it, or name another runtime folder") from None


def _used(path: Path) -> Path:
    """A user who may not change the mode of a volume gets a folder of its own below it."""
    return Path(used_folder(path)) if os.geteuid() else path


def _check_ancestors(path: Path) -> list[str]:
    """In a folder that everyone may write to, only the sticky bit keeps others from renaming away what is below it.

    Where it is root's and this user may not set that bit, as on a container's volume, it is a warning.
    """
    warnings = []
    for folder in sorted({*path.parents, *Path(os.path.realpath(path)).parents}):
        try:
            status = os.stat(folder)
        except OSError:
            continue  # it is made or refused next, with the reason
        if not status.st_mode & stat.S_IWOTH or status.st_mode & stat.S_ISVTX:
            continue
        mode = stat.S_IMODE(status.st_mode)
        problem = f"{folder}: everyone may write to it and it has no sticky bit (mode {mode:04o})"
        if not os.geteuid() or status.st_uid:
            raise RuntimeFolderError(problem, hint=f"chmod +t {folder}, or name a runtime folder elsewhere")
        warnings.append(f"{problem}: who may write there can put another folder in the place of {path}")
    return warnings


def _check(path: Path, fd: int) -> None:
    """Refuse what another user made or could change."""
    status = os.fstat(fd)
    if status.st_uid != os.geteuid():
        raise RuntimeFolderError(
            f"{path}: belongs to user {status.st_uid}, and the core runs as user {os.geteuid()}",
            hint="name another runtime folder (--runtime-dir or REED_RUNTIME_DIR), or have its owner remove it",
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise RuntimeFolderError(
            f"{path}: is writable by others (mode {stat.S_IMODE(status.st_mode):04o})", hint=f"chmod go-w {path}"
        )
