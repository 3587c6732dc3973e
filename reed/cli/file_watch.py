"""Notices changes of a folder's files by comparing their inode, size and time every 0.2 seconds.

An editor that replaces a file by a rename gives it another inode. Polling costs one stat for each file; unlike inotify
it needs no library, and works on every file system.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

INTERVAL = 0.2  # seconds
_IGNORED_FOLDERS = {"target", "__pycache__", "node_modules"}
_IGNORED_ENDINGS = ("~", ".swp", ".swx", ".tmp", ".pyc")

_Snapshot = dict[str, tuple[int, int, int]]  # path: inode, size, time in ns


class FileWatch:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known = self._snapshot()

    def changes(self) -> list[str]:
        """The paths that were added, changed or removed since the last call, once nothing changes any more."""
        found = self._snapshot()
        if found == self._known:
            return []
        while True:  # an editor, or a version control system, writes several files
            time.sleep(INTERVAL)
            later = self._snapshot()
            if later == found:
                break
            found = later
        before, self._known = self._known, found
        return sorted(path for path in before.keys() | found.keys() if before.get(path) != found.get(path))

    def _snapshot(self) -> _Snapshot:
        found: _Snapshot = {}
        for folder, folders, files in os.walk(self._folder):
            folders[:] = [name for name in folders if name not in _IGNORED_FOLDERS and not name.startswith(".")]
            for name in files:
                if name.startswith(".") or name.endswith(_IGNORED_ENDINGS):
                    continue
                path = os.path.join(folder, name)
                try:
                    status = os.stat(path)
                except OSError:  # removed meanwhile, or a link to nothing
                    continue
                found[os.path.relpath(path, self._folder)] = status.st_ino, status.st_size, status.st_mtime_ns
        return found
