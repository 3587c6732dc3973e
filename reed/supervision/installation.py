"""Installs, replaces and removes a plugin. Its folder and its row change together, also if the process is killed.

    plugins/
        NAME/                    the plugin
        .staged-TOKEN/           locked by the process that works on it
            plugin/              the new folder; after the exchange the old one
            journal.json         decided: which folder is to be plugins/NAME, and what its row is to be

    journal   of a dead process
    no        nothing has been changed        the staged folder is deleted
    yes       some steps may be missing       all are carried out; each has no effect the second time

`recover` does that: before every `reed plugin add`, `upgrade` and `remove`, and when the core or `reed serve --check`
reads the registry. Where nothing was interrupted it only lists the plugin folders.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from reed.atomic_file import temporary, update_file
from reed.errors import Malformed, ReedError
from reed.supervision import registry_edit
from reed.wire import identifiers, strict_json

_PREFIX = ".staged-"
_NEW, _JOURNAL = "plugin", "journal.json"
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


class Target(NamedTuple):
    """The state to be reached: the folder at plugins/NAME, named by its inode, and the row's line."""

    name: str
    registry: str
    folder: int | None  # 0: none; None: unchanged
    row: str  # "": none


class Staging:
    """A folder in `plugin_dir` in which a change of one plugin is prepared.

    Leaving the context deletes it, unless a decided change did not finish; then `recover` needs it.
    """

    def __init__(self, plugin_dir: Path) -> None:
        plugin_dir.mkdir(parents=True, exist_ok=True)
        self._plugins = plugin_dir
        self._folder, self._lock = _locked(plugin_dir)
        self.new = self._folder / _NEW  # where the new folder is put

    def target(self, name: str, registry: Path, row: str) -> Target:
        """The new folder as plugins/NAME, and this row."""
        return Target(name, str(registry), os.lstat(self.new).st_ino, row)

    def present(self, name: str, registry: Path) -> Target:
        """The present state, to which a later `decide` can return."""
        row = registry_edit.find_line(registry.read_bytes(), name)
        return Target(name, str(registry), _inode(self._plugins / name), row)

    def decide(self, target: Target) -> None:
        """Write the journal, then carry the change out. If this process dies, `recover` carries it out."""
        if self.new.is_dir():
            _sync_tree(self.new)
        _write_journal(self._folder, target)
        _carry_out(target, self._folder)

    def finish(self) -> None:
        """Delete the staged folder, its journal first, so that `recover` does not repeat the change."""
        _delete(self._folder)

    def __enter__(self) -> Staging:
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder.exists() and not (self._folder / _JOURNAL).exists():
            _delete(self._folder)
        os.close(self._lock)


def recover(plugin_dirs: Iterable[Path], registry: Path) -> Iterator[str]:
    """Finish the changes that dead processes left in these folders. Yields a line for the log about each."""
    for plugin_dir in plugin_dirs:
        for folder in _staged(plugin_dir):
            lock = _lock(folder)
            if lock is None:
                continue  # a living process works on it
            try:
                yield from _finish_dead(folder, registry)
            except (ReedError, OSError) as error:
                yield f"{folder}: an interrupted change of a plugin cannot be finished: {error}"
            finally:
                os.close(lock)


def _finish_dead(folder: Path, registry: Path) -> Iterator[str]:
    if os.lstat(folder).st_uid not in {0, os.geteuid()}:
        raise ReedError("it belongs to another user", hint="run `reed serve --check` as that user, or delete it")
    target = _read_journal(folder)
    if target is not None:
        if target.registry != str(registry):
            raise ReedError(f"it is about another registry, {target.registry}")
        _carry_out(target, folder)
        yield f"plugin {target.name}: a change that was interrupted is finished"
    _delete(folder)


def _carry_out(target: Target, folder: Path) -> None:
    """The registry's folder is locked meanwhile, so two changes of one plugin never mix."""

    def update(content: bytes) -> bytes:
        if target.folder is not None:
            _place(target.folder, folder.parent / target.name, folder)
        return registry_edit.with_line(content, target.name, target.row)

    update_file(target.registry, update)


def _place(inode: int, place: Path, folder: Path) -> None:
    """Move the folder with this inode from the staged `folder` to `place`, and the one at `place` into `folder`.

    With inode 0 nothing replaces it.
    """
    present = _inode(place)
    if present == inode:
        return
    spare = folder / os.urandom(8).hex()
    if not inode:
        os.rename(place, spare)
    else:
        source = next((path for path in folder.iterdir() if _inode(path) == inode), None)
        if source is None:
            raise ReedError(f"{place}: its folder is missing in {folder}")
        if not present:
            os.rename(source, place)
        elif not _exchange(source, place):
            os.rename(place, spare)
            os.rename(source, place)
    for each in (place.parent, folder):
        _sync(each)


def _exchange(one: Path, other: Path) -> bool:
    """False where the kernel or the file system cannot exchange two names in one step."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    try:
        renameat2 = libc.renameat2
    except AttributeError:  # an old C library
        return False
    return not renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)


def _write_journal(folder: Path, target: Target) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with temporary(_JOURNAL, descriptor, 0o600) as file:
            file.write(strict_json.dumps(target._asdict()))
    finally:
        os.close(descriptor)
    _sync(folder.parent)


def _read_journal(folder: Path) -> Target | None:
    try:
        found = Target(**strict_json.loads((folder / _JOURNAL).read_bytes()))
        identifiers.check("plugin name", found.name)
    except FileNotFoundError:
        return None
    except (TypeError, Malformed) as error:
        raise ReedError(f"{_JOURNAL}: {error}") from None
    return found


def _delete(folder: Path) -> None:
    import shutil

    with suppress(FileNotFoundError):
        os.unlink(folder / _JOURNAL)
        _sync(folder)
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    folder.rmdir()


def _staged(plugin_dir: Path) -> list[Path]:
    try:
        names = sorted(os.listdir(plugin_dir))
    except OSError:
        return []
    return [plugin_dir / name for name in names if name.startswith(_PREFIX)]


def _locked(plugin_dir: Path) -> tuple[Path, int]:
    """A new folder. `recover` may have deleted it before it was locked; then another one."""
    while True:
        folder = plugin_dir / f"{_PREFIX}{os.urandom(8).hex()}"
        folder.mkdir(mode=0o700)
        lock = _lock(folder)
        if lock is not None and folder.exists():
            return folder, lock
        if lock is not None:
            os.close(lock)


def _lock(folder: Path) -> int | None:
    """None if another process has it, or the folder is gone or a link."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _inode(path: Path) -> int:
    """0 if there is nothing. A link is not followed."""
    try:
        return os.lstat(path).st_ino
    except FileNotFoundError:
        return 0


def _sync_tree(root: Path) -> None:
    for folder, _, names in os.walk(root):
        for path in [*(os.path.join(folder, name) for name in names), folder]:
            if stat.S_ISREG(os.lstat(path).st_mode) or path == folder:
                _sync(Path(path))


def _sync(path: Path) -> None:
    """Follows links, since plugins/ may be one."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
