"""The runtime folder: the sockets, FIFOs and pid files of one core (reedcms-10.md#socket-file-structure).

    <runtime folder>/           0700, or 0750 with a group
    ├── core.lock               locked while the core runs
    ├── core.sock, monitor.sock, plugins/NAME.sock
    ├── fifos/A→B
    ├── peers/A/to/B, B/from/A  hard links to FIFOs (reed.peers.links)
    ├── output/NAME.N           of a plugin's process (reed.supervision.output)
    └── pid/core.pid, pid/plugins/NAME.pid

The folder is opened without following links, and its descriptor checked (architecture.md#runtime-folder). Each folder
in it has a shared lock while the core runs, so that systemd-tmpfiles, which removes old files from /tmp, leaves it out.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import grp
import os
import socket
import stat
from pathlib import Path

from reed.core.listener import credentials
from reed.errors import RuntimeFolderError
from reed.process_handle import user_name
from reed.runtime_paths import Address, used_folder
from reed.system_calls import describe

_LOCK = "core.lock"
_SUBFOLDERS = ("plugins", "fifos", "peers", "output", "pid", "pid/plugins")


class RuntimeFolder:
    def __init__(self, path: Path, locks: list[int], warnings: list[str]) -> None:
        self.path = path
        self.core_socket = path / "core.sock"
        self.monitor_socket = path / "monitor.sock"
        self.core_pid_file = path / "pid" / "core.pid"
        self.fifos = path / "fifos"
        self.peers = path / "peers"
        self.warnings = warnings  # for the operator
        self._locks = locks

    @classmethod
    def open(cls, path: Path, group_id: int | None = None) -> RuntimeFolder:
        """Raises RuntimeFolderError."""
        requested = Path(os.path.abspath(path))
        path = Path(used_folder(requested)) if os.geteuid() else requested
        warnings = [] if path == requested else [f"{requested}: others may write to it; {path} is used instead"]
        warnings += _check_ancestors(path)
        mode = 0o700 if group_id is None else 0o750
        _make(path, mode)
        fd = _open_folder(path)
        locks: list[int] = []
        try:
            _check(path, fd)
            _check_shared(path, fd, mode)
            if group_id is not None:
                _give_to_group(path, fd, group_id)
            locks.append(take_lock(path))
            _check_unused(path)
            os.fchmod(fd, mode)
            for name in _SUBFOLDERS:
                _make(path / name, mode)
                locks.append(_open_folder(path / name))
                _check(path / name, locks[-1])
                with contextlib.suppress(OSError):  # no locks on this file system, or another process has one
                    fcntl.flock(locks[-1], fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BaseException:
            _release(locks)
            raise
        finally:
            os.close(fd)
        return cls(path, locks, warnings)

    def close(self) -> None:
        """The files stay for the next core."""
        _release(self._locks)


def group_id_of(name: str | None) -> int | None:
    """Raises RuntimeFolderError."""
    if not name:
        return None
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise RuntimeFolderError(
            f"socket_group: no Unix group {name!r} on this machine", hint="name one in reed.yaml"
        ) from None


def take_lock(folder: Path) -> int:
    """The lock is held until `release_lock`, or the end of the process; programs that it executes do not inherit it."""
    path = folder / _LOCK
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise RuntimeFolderError(f"{path}: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise RuntimeFolderError(f"{path}: is not a regular file", hint="remove it")
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
        os.close(fd)
        raise RuntimeFolderError(
            f"{folder}: another core{f' (pid {holder})' if holder else ''} uses this folder",
            hint="stop it with `reed stop`, or choose another folder",
        ) from None
    except OSError as error:
        os.close(fd)
        raise RuntimeFolderError(
            f"{path}: cannot be locked (flock): {error.strerror}",
            hint="allow flock in the container's seccomp profile, or choose a folder on a file system with locks",
        ) from None
    with contextlib.suppress(OSError):  # a full disk
        os.ftruncate(fd, 0)
        os.pwrite(fd, b"%d\n" % os.getpid(), 0)
    return fd


def release_lock(fd: int) -> None:
    """Unlock as well, because a fork of a program that embeds the core may still hold the descriptor."""
    fcntl.flock(fd, fcntl.LOCK_UN)
    os.close(fd)


def _release(locks: list[int]) -> None:
    while locks:
        release_lock(locks.pop())


def _make(path: Path, mode: int) -> None:
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        return
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        raise RuntimeFolderError(
            f"{path}: cannot create the folder: {error.strerror}",
            hint="free some disk space there" if full else "its parent folder must exist and be writable",
        ) from None


def _give_to_group(path: Path, fd: int, group_id: int) -> None:
    try:
        os.fchown(fd, -1, group_id)
    except OSError as error:
        user, group = user_name(os.geteuid()), _group_name(group_id)
        raise RuntimeFolderError(
            f"{path}: cannot change its group to socket_group {group!r}: {error.strerror}; "
            f"the core's user {user} must be in that group",
            hint=f"add the user (usermod -aG {group} {user}) and log in again, or set another group in reed.yaml",
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
        if error.errno in {errno.EMFILE, errno.ENFILE}:
            raise RuntimeFolderError(describe(error)) from None
        if path.is_symlink():
            reason = "is a link"
        elif path.exists() and not path.is_dir():
            reason = "is not a folder"
        else:
            reason = error.strerror or str(error)
        raise RuntimeFolderError(f"{path}: {reason}", hint="remove it, or choose another runtime folder") from None


def _check_ancestors(path: Path) -> list[str]:
    """Without the sticky bit on a world-writable ancestor, others can replace what is below it.

    For a folder of root, whose mode this user cannot change, it is a warning."""
    warnings = []
    for folder in sorted({*path.parents, *Path(os.path.realpath(path)).parents}):
        try:
            status = os.stat(folder)
        except OSError:
            continue  # creating the folder reports it
        if not status.st_mode & stat.S_IWOTH or status.st_mode & stat.S_ISVTX:
            continue
        mode = stat.S_IMODE(status.st_mode)
        problem = f"{folder}: world-writable without sticky bit (mode {mode:04o})"
        if not os.geteuid() or status.st_uid:
            raise RuntimeFolderError(problem, hint=f"chmod +t {folder}, or choose another runtime folder")
        warnings.append(f"{problem}: other users can replace {path}")
    return warnings


def _check(path: Path, fd: int) -> None:
    status = os.fstat(fd)
    if status.st_uid != os.geteuid():
        raise RuntimeFolderError(
            f"{path}: belongs to user {status.st_uid}, but the core runs as user {os.geteuid()}",
            hint="choose another runtime folder (--runtime-dir or REED_RUNTIME_DIR), or have its owner remove it",
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise RuntimeFolderError(
            f"{path}: is writable by others (mode {stat.S_IMODE(status.st_mode):04o})", hint=f"chmod go-w {path}"
        )


def _check_shared(path: Path, fd: int, mode: int) -> None:
    """Do not make a folder private that others use and that never was a runtime folder, such as /etc."""
    is_shared = os.fstat(fd).st_mode & (stat.S_IRWXG | stat.S_IRWXO) & ~mode
    names = os.listdir(fd) if is_shared else []
    if names and _LOCK not in names:
        raise RuntimeFolderError(
            f"{path}: is not empty, other users may read it, and the core would make it private",
            hint=f"choose another runtime folder, or make this one private: chmod 700 {path}",
        )


def _check_unused(folder: Path) -> None:
    """The lock of a running core is gone if somebody has removed its file."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.setblocking(False)
        try:
            with Address(folder / "core.sock") as address:
                sock.connect(address)
        except OSError:
            return  # nobody listens
        pid, _, _ = credentials(sock)
    if pid != os.getpid() and (pid == 0 or os.path.exists(f"/proc/{pid}")):
        raise RuntimeFolderError(
            f"{folder}: another core{f' (pid {pid})' if pid else ''} answers in this folder, though its lock is gone",
            hint=f"stop it ({f'kill {pid}' if pid else 'in its container'}), or choose another folder",
        )
