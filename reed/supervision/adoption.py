"""The plugins' processes that a core left behind, when it died or was replaced, and the next one adopts.

    pid/plugins/NAME.pid ─┬─ it lives; row, manifest, settings and code are those it was launched as    adopted
                          ├─ something changed, or its row is gone                                      killed
                          └─ that very process is gone                                                  forgotten
    pid/plugins/NAME.asleep  it was in deep sleep                                                       started anew
    pid/plugins/NAME+N.pid   one that stood beside it (renewal)                                         killed

An adopted process finds the core by itself and registers again; it is not our child, and ends without an exit status.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from reed.peer_log import PeerLog
from reed.process_handle import start_time
from reed.registry.processes import kill_leftover, pid_file_words

RETURN = 10.0  # seconds: so long a plugin looks for the next core (DESIGN.md, Plugins)


class Leftover(NamedTuple):
    """A process that lives."""

    pid: int
    started: int
    output: str  # the name of the FIFO that its stdout and stderr are


class Leftovers:
    """Those of one runtime folder."""

    def __init__(self, folder: Path, log: PeerLog) -> None:
        self._folder = folder
        self._log = log
        self.ran: set[str] = set()  # killed, though their rows are there, or in deep sleep: to be started anew
        self.sessions: set[int] = set()  # of processes that are gone: what they forked may live

    def take(self, name: str, digest: str) -> Leftover | None:
        """The process to adopt for that plugin."""
        path = self._folder / f"{name}.pid"
        asleep = path.with_suffix(".asleep")
        if asleep.exists():
            asleep.unlink()
            self.ran.add(name)
        words = pid_file_words(path)
        if words is None:
            path.unlink(missing_ok=True)
            return None
        pid, started, launched_as, output = words
        if start_time(pid) != started:
            self._note_session(path)
            path.unlink(missing_ok=True)
            return None
        if digest and launched_as == digest:
            return Leftover(pid, started, output)
        self.ran.add(name)
        self._kill(path, "it changed meanwhile")
        return None

    def clear(self, adopted: set[str]) -> None:
        """Kill all others, and remove the outputs that nobody has any more."""
        for path in self._folder.glob("*.asleep"):
            path.unlink()  # its row is gone
        for path in self._folder.glob("*.pid"):
            if path.stem not in adopted:
                self._kill(path, "nothing answers for it any more")
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
            self._log.warning(
                "%s: killed pid %d, which an earlier core left behind: %s", path.stem, pid, why, peer=path.stem
            )
