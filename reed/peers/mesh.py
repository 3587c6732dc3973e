"""The mesh: one FIFO for every ordered pair of plugins in the registry (fifos.md#mesh).

    fifos/A→B    created once and reused
                 held (open, O_RDWR) while A or B runs, so that unread messages survive the death of either
                 watched while B sleeps: a message wakes it

The core never reads or writes a message.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator

from reed.errors import RuntimeFolderError
from reed.loop.loop import Loop
from reed.peer_log import THE_CORE, PeerLog
from reed.peers.links import ARROW, Links, fifo_name

_Pair = tuple[str, str]  # writer, reader


class Mesh:
    def __init__(
        self,
        path: os.PathLike[str],
        links: os.PathLike[str],
        loop: Loop,
        wake: Callable[[str], None],
        log: PeerLog,
        max_held: int = 1_000_000,
    ) -> None:
        self._folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._path = os.fspath(path)
        self._links = Links(self._folder, links)
        self._loop = loop
        self._wake = wake
        self._log = log
        self._names: set[str] = set()
        self._running: set[str] = set()
        self._sleeping: set[str] = set()
        self._max_held = max_held
        self._limit_logged = False
        self._held: dict[_Pair, int] = {}
        self._prepared: dict[str, set[str]] = {}  # by a plugin to come: those that its FIFOs exist with
        self._removed: dict[_Pair, None] = {}  # FIFOs that have not been deleted yet
        self._removed_folders: set[str] = set()

    @property
    def held(self) -> int:
        return len(self._held)

    def prepare(self, name: str) -> Iterator[None]:
        """Create the FIFOs that `add` would, in steps: beside hundreds of plugins they take tens of milliseconds."""
        self._add_folders(name)
        prepared = self._prepared.setdefault(name, set())
        for other in sorted(self._names - prepared - {name}):
            if other in self._names:  # not removed since
                self._create((name, other))
                self._create((other, name))
                prepared.add(other)
            yield

    def add(self, name: str) -> None:
        """Raises RuntimeFolderError."""
        prepared = self._prepared.pop(name, set())
        self._add_folders(name)
        for other in prepared - self._names:
            self._remove_later((name, other), (other, name))
        self._names.add(name)
        for pair in self._pairs_of(name):
            if prepared.isdisjoint(pair):
                self._create(pair)
            self._update_hold(pair)
        os.utime(self._folder)  # SDKs watch this time; the links exist now

    def remove(self, name: str) -> None:
        """Unread messages are lost. The files go in slices of the next turns."""
        for pair in list(self._pairs_of(name)):
            if pair in self._held:
                self._release(pair)
            self._remove_later(pair)
        self._removed_folders.add(name)
        self._names.discard(name)
        self._running.discard(name)
        self._sleeping.discard(name)
        self._loop.add_job(self._remove_some)

    def _add_folders(self, name: str) -> None:
        self._removed_folders.discard(name)
        self._links.add_folders(name)

    def _create(self, pair: _Pair) -> None:
        if pair in self._removed:
            del self._removed[pair]
            self._delete(pair)
        try:
            os.mkfifo(fifo_name(*pair), 0o600, dir_fd=self._folder)
        except FileExistsError:
            self._check(fifo_name(*pair))
        except OSError as error:
            error.filename = os.path.join(self._path, fifo_name(*pair))  # mkfifo names no file
            raise
        self._links.add(*pair)

    def _remove_later(self, *pairs: _Pair) -> None:
        self._removed.update(dict.fromkeys(pairs))
        self._loop.add_job(self._remove_some)

    def _remove_some(self, until: float) -> bool:
        while self._removed:
            pair, _ = self._removed.popitem()
            self._delete(pair)
            if self._loop.now() >= until:
                return True
        while self._removed_folders:
            self._links.remove_folders(self._removed_folders.pop())
            if self._loop.now() >= until:
                return True
        return False

    def _delete(self, pair: _Pair) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(fifo_name(*pair), dir_fd=self._folder)
        self._links.remove(*pair)

    def remove_stale(self) -> None:
        wanted = {fifo_name(writer, reader) for writer in self._names for reader in self._names - {writer}}
        for name in os.listdir(self._folder):
            if ARROW in name and name not in wanted:
                os.unlink(name, dir_fd=self._folder)
        self._links.remove_stale(self._names)

    def set_running(self, name: str, is_running: bool) -> None:
        if is_running != (name in self._running):
            (self._running.add if is_running else self._running.discard)(name)
            for pair in self._pairs_of(name):
                self._update_hold(pair)

    def set_sleeping(self, name: str, is_sleeping: bool) -> None:
        if is_sleeping == (name in self._sleeping):
            return
        (self._sleeping.add if is_sleeping else self._sleeping.discard)(name)
        for fd in self._held_to(name):
            if is_sleeping:
                self._loop.watch(fd, lambda: self._on_message(name))
            else:
                self._loop.unwatch(fd)

    def _on_message(self, name: str) -> None:
        for fd in self._held_to(name):  # the message stays readable until the plugin reads it
            self._loop.unwatch(fd)
        self._wake(name)

    def _held_to(self, reader: str) -> Iterator[int]:
        for writer in self._names:
            fd = self._held.get((writer, reader))
            if fd is not None:
                yield fd

    def close(self) -> None:
        """The files stay for the next core."""
        for pair in list(self._held):
            self._release(pair)
        os.close(self._folder)

    def _pairs_of(self, name: str) -> Iterator[_Pair]:
        for other in sorted(self._names - {name}):
            yield (name, other)
            yield (other, name)

    def _update_hold(self, pair: _Pair) -> None:
        wanted = pair[0] in self._running or pair[1] in self._running
        if wanted and pair not in self._held and self._names.issuperset(pair):
            self._hold(pair)
        elif not wanted and pair in self._held:
            self._release(pair)

    def _hold(self, pair: _Pair) -> None:
        if len(self._held) >= self._max_held:
            if not self._limit_logged:
                self._log.warning(
                    "only %d FIFOs are held: unread messages in the others are lost when both plugins end;"
                    " raise `ulimit -n`",
                    self._max_held,
                    peer=THE_CORE,
                )
            self._limit_logged = True
            return
        flags = os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(fifo_name(*pair), flags, dir_fd=self._folder)
        except OSError as error:  # plugins can still open it
            self._log.error("cannot hold the FIFO %s: %s", fifo_name(*pair), error.strerror, peer=THE_CORE)
            return
        self._held[pair] = fd
        reader = pair[1]
        if reader in self._sleeping:
            self._loop.watch(fd, lambda: self._on_message(reader))

    def _release(self, pair: _Pair) -> None:
        fd = self._held.pop(pair)
        self._loop.unwatch(fd)
        os.close(fd)

    def _check(self, name: str) -> None:
        """Require a FIFO that nobody else can open."""
        status = os.stat(name, dir_fd=self._folder, follow_symlinks=False)
        if stat.S_ISFIFO(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077:
            return
        kind = "not a private FIFO of the core's user" if stat.S_ISFIFO(status.st_mode) else "not a FIFO"
        raise RuntimeFolderError(f"{self._path}/{name}: is {kind}", hint="remove it")
