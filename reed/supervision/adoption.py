"""Adoption: what a new core does with the plugin processes that an earlier core launched.

NAME.pid         runs, from the same specification       adopted
                 runs, from another one                  killed; started again if it has a row
                 the process is gone                     the pid file is removed
NAME.asleep      the plugin hibernated                   started again
NAME+N.pid       a candidate or a draining process       killed
"""

from __future__ import annotations

import os
from pathlib import Path

from reed.peer_log import PeerLog
from reed.process_handle import start_time
from reed.supervision.pidfile import PidFile, kill_leftover, read_pid_file

REJOIN_TIMEOUT = 10.0  # seconds


class Adoption:
    def __init__(self, folder: Path, log: PeerLog) -> None:
        self._folder = folder
        self._log = log
        self.to_start: set[str] = set()  # plugins that ran or hibernated
        self.sessions: set[int] = set()  # what ended processes forked may still run in them

    def take(self, name: str, fingerprint: str) -> PidFile | None:
        """An empty fingerprint matches none."""
        path = self._folder / f"{name}.pid"
        asleep = path.with_suffix(".asleep")
        if asleep.exists():
            asleep.unlink()
            self.to_start.add(name)
        found = read_pid_file(path)
        if found is None or start_time(found.pid) != found.started:
            self._add_session(path)
            path.unlink(missing_ok=True)
            return None
        if fingerprint and found.fingerprint == fingerprint:
            return found
        self.to_start.add(name)
        self._kill(path, "its row, manifest, settings or code changed")
        return None

    def clear(self, adopted: set[str]) -> None:
        """Kill every process that was not adopted, and remove FIFOs that no process uses."""
        for path in self._folder.glob("*.asleep"):
            path.unlink()
        for path in self._folder.glob("*.pid"):
            if path.stem not in adopted:
                self._kill(path, "no row belongs to it")
        used = {found.output for path in self._folder.glob("*.pid") if (found := read_pid_file(path))}
        outputs = self._folder.parent.parent / "output"
        for name in os.listdir(outputs) if outputs.is_dir() else ():
            if name not in used:
                (outputs / name).unlink()

    def _add_session(self, path: Path) -> None:
        """If another process has the pid, the session is empty."""
        found = read_pid_file(path)
        if found is not None and start_time(found.pid) in {None, found.started}:
            self.sessions.add(found.pid)

    def _kill(self, path: Path, why: str) -> None:
        self._add_session(path)
        pid = kill_leftover(path)
        if pid is not None:
            self._log.warning("%s: killed pid %d of an earlier core: %s", path.stem, pid, why, peer=path.stem)
