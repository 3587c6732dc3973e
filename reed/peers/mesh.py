"""The mesh: one FIFO for every ordered pair of plugins in the registry (DESIGN.md, FIFOs; SECURITY.md, FIFOs).

    fifos/A→B    made once, reopened ever after: made anew, a writer would feed an inode that nobody reads
                 held (open in the core, O_RDWR) while A or B runs: what is unread waits in the pipe when either dies
                 watched while B sleeps: a message wakes it

    links        a second name of each in a folder of each plugin's own (links)

    add, remove                 a plugin's FIFOs are made, or reopened after a check; those of one that went are removed
    set_running, set_sleeping   hold or let go, watch or not

The core never reads or writes a message. A FIFO that it does not hold costs nothing but its name. It holds so many that
descriptors are left for connections and plugins; what is unread in a FIFO beyond them is lost with its last process.
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
    """The FIFOs of one core, in the folder `path`, and their links; both are the core's own (core.runtime_folder)."""

    def __init__(
        self,
        path: os.PathLike[str],
        links: os.PathLike[str],
        loop: Loop,
        wake: Callable[[str], None],
        log: PeerLog,
        most_held: int = 1_000_000,
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
        self._most_held = most_held
        self._told_of_limit = False
        self._held: dict[_Pair, int] = {}

    @property
    def held(self) -> int:
        """How many FIFOs the core has open."""
        return len(self._held)

    def add(self, name: str) -> None:
        """A plugin is in the registry: make or check its FIFOs from and to all others."""
        self._names.add(name)
        self._links.make_room(name)
        for pair in self._pairs_of(name):
            try:
                os.mkfifo(fifo_name(*pair), 0o600, dir_fd=self._folder)
            except FileExistsError:
                self._check(fifo_name(*pair))
            self._links.add(*pair)
            self._hold_or_let_go(pair)
        os.utime(self._folder)  # who looks again when this folder changes finds the links too

    def remove(self, name: str) -> None:
        """A plugin's row is gone, and with it its FIFOs and what was unread in them."""
        for pair in list(self._pairs_of(name)):
            if pair in self._held:
                self._let_go(pair)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(fifo_name(*pair), dir_fd=self._folder)
            self._links.remove(*pair)
        self._links.remove_room(name)
        self._names.discard(name)
        self._running.discard(name)
        self._sleeping.discard(name)

    def remove_stale(self) -> None:
        """Remove the FIFOs of plugins that are in the registry no more."""
        wanted = {fifo_name(writer, reader) for writer in self._names for reader in self._names - {writer}}
        for name in os.listdir(self._folder):
            if ARROW in name and name not in wanted:
                os.unlink(name, dir_fd=self._folder)
        self._links.remove_stale(self._names)

    def set_running(self, name: str, is_running: bool) -> None:
        """A plugin runs, or will be started again by itself: its FIFOs are held."""
        if is_running != (name in self._running):
            (self._running.add if is_running else self._running.discard)(name)
            for pair in self._pairs_of(name):
                self._hold_or_let_go(pair)

    def set_sleeping(self, name: str, is_sleeping: bool) -> None:
        """While it sleeps, a message to it wakes it."""
        if is_sleeping == (name in self._sleeping):
            return
        (self._sleeping.add if is_sleeping else self._sleeping.discard)(name)
        for fd in self._held_to(name):
            if is_sleeping:
                self._loop.watch(fd, lambda: self._message_for(name))
            else:
                self._loop.unwatch(fd)

    def _message_for(self, name: str) -> None:
        """Wake it once: the message stays readable until the plugin is awake and reads it."""
        for fd in self._held_to(name):
            self._loop.unwatch(fd)
        self._wake(name)

    def _held_to(self, reader: str) -> Iterator[int]:
        for writer in self._names:
            fd = self._held.get((writer, reader))
            if fd is not None:
                yield fd

    def close(self) -> None:
        """Let everything go; the FIFOs stay for the next core."""
        for pair in list(self._held):
            self._let_go(pair)
        os.close(self._folder)

    def _pairs_of(self, name: str) -> Iterator[_Pair]:
        for other in sorted(self._names - {name}):
            yield (name, other)
            yield (other, name)

    def _hold_or_let_go(self, pair: _Pair) -> None:
        wanted = pair[0] in self._running or pair[1] in self._running
        if wanted and pair not in self._held and self._names.issuperset(pair):
            self._hold(pair)
        elif not wanted and pair in self._held:
            self._let_go(pair)

    def _hold(self, pair: _Pair) -> None:
        if len(self._held) >= self._most_held:
            if not self._told_of_limit:
                self._log.warning(
                    "only %d FIFOs are held: what is unread in the others is lost when both plugins end;"
                    " raise `ulimit -n`",
                    self._most_held,
                    peer=THE_CORE,
                )
            self._told_of_limit = True
            return
        flags = os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(fifo_name(*pair), flags, dir_fd=self._folder)
        except OSError as error:  # no descriptor left, or someone removed it: plugins still reach each other, unheld
            self._log.error("cannot hold the FIFO %s: %s", fifo_name(*pair), error.strerror, peer=THE_CORE)
            return
        self._held[pair] = fd
        reader = pair[1]
        if reader in self._sleeping:
            self._loop.watch(fd, lambda: self._message_for(reader))

    def _let_go(self, pair: _Pair) -> None:
        fd = self._held.pop(pair)
        self._loop.unwatch(fd)
        os.close(fd)

    def _check(self, name: str) -> None:
        """What is there already must be a FIFO of our own that nobody else may open."""
        status = os.stat(name, dir_fd=self._folder, follow_symlinks=False)
        if stat.S_ISFIFO(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077:
            return
        kind = "no FIFO of the core's own" if stat.S_ISFIFO(status.st_mode) else "not a FIFO"
        raise RuntimeFolderError(f"{self._path}/{name}: is {kind}", hint="remove it")
