"""The plugins' processes that a core left behind, when it died or was replaced, and the next one adopts.

    pid/plugins/NAME.pid ─┬─ it runs, launched from the same specification    adopted
                          ├─ something changed, or its row is gone            killed, and started again if it has a row
                          └─ that very process is gone                        forgotten
    pid/plugins/NAME.asleep  it was hibernating                               started again
    pid/plugins/NAME+N.pid   one beside it (replacement)                      killed

An adopted process finds the core by itself and registers again; it is not our child, and ends without an exit status.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from reed.peer_log import PeerLog
from reed.process_handle import start_time
from reed.supervision.pidfile import kill_leftover, pid_file_words

REJOIN_TIMEOUT = 10.0  # seconds: so long a plugin looks for the next core


class Adoptable(NamedTuple):
    """A process that runs and may be adopted."""

    pid: int
    started: int
    output: str  # the name of the FIFO that its stdout and stderr are


class Adoption:
    """The processes of one runtime folder."""

    def __init__(self, folder: Path, log: PeerLog) -> None:
        self._folder = folder
        self._log = log
        self.to_start: set[str] = set()  # they ran, or hibernated, and are not adopted
        self.sessions: set[int] = set()  # of processes that are gone: what they forked may still run

    def take(self, name: str, fingerprint: str) -> Adoptable | None:
        """The process to adopt for that plugin; without a fingerprint, none."""
        path = self._folder / f"{name}.pid"
        asleep = path.with_suffix(".asleep")
        if asleep.exists():
            asleep.unlink()
            self.to_start.add(name)
        words = pid_file_words(path)
        if words is None:
            path.unlink(missing_ok=True)
            return None
        pid, started, launched_as, output = words
        if start_time(pid) != started:
            self._note_session(path)
            path.unlink(missing_ok=True)
            return None
        if fingerprint and launched_as == fingerprint:
            return Adoptable(pid, started, output)
        self.to_start.add(name)
        self._kill(path, "it changed")
        return None

    def clear(self, adopted: set[str]) -> None:
        """Kill all others, and remove the outputs that no process has."""
        for path in self._folder.glob("*.asleep"):
            path.unlink()  # its row is gone
        for path in self._folder.glob("*.pid"):
            if path.stem not in adopted:
                self._kill(path, "no row or no plugin of it is left")
        used = {words[3] for path in self._folder.glob("*.pid") if (words := pid_file_words(path))}
        outputs = self._folder.parent.parent / "output"
        for name in os.listdir(outputs) if outputs.is_dir() else ():
            if name not in used:
                (outputs / name).unlink()

    def _note_session(self, path: Path) -> None:
        """The session that a plugin's process led; none when its pid is another's: then it has no members either."""
        words = pid_file_words(path)
        if words is not None and start_time(words[0]) in {None, words[1]}:
            self.sessions.add(words[0])

    def _kill(self, path: Path, why: str) -> None:
        self._note_session(path)
        pid = kill_leftover(path)
        if pid is not None:
            self._log.warning("%s: killed pid %d of an earlier core: %s", path.stem, pid, why, peer=path.stem)
