"""A second name for each FIFO, in a folder of each plugin's own: what its sandbox grants (reed.sandbox.rules, FIFOs).

    fifos/A→B ── peers/A/to/B       A writes here
              └─ peers/B/from/A     B reads here: hard links, so it is the same pipe

Landlock grants files that are there and folders, not names to come. So a running plugin also reaches one that a reload
adds: its link appears in the folder that was granted.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Set

ARROW = "→"


def fifo_name(writer: str, reader: str) -> str:
    return f"{writer}{ARROW}{reader}"


class Links:
    """The links to the FIFOs in the folder of descriptor `fifos`, below the folder `path`.

    What is there is read once for each folder: a core that starts again on 4,830 FIFOs finds 9,660 links in place.
    """

    def __init__(self, fifos: int, path: os.PathLike[str]) -> None:
        self._fifos = fifos
        self._path = os.fspath(path)
        self._found: dict[str, dict[str, int]] = {}  # by folder, "A/to": each link's inode

    def make_room(self, name: str) -> None:
        """The folders of a plugin, which last as long as its row: a running process was granted these very ones."""
        for folder in (name, f"{name}/to", f"{name}/from"):
            with contextlib.suppress(FileExistsError):
                os.mkdir(f"{self._path}/{folder}", 0o700)

    def add(self, writer: str, reader: str) -> None:
        """Both links of a FIFO that was made or checked. One that leads elsewhere is replaced."""
        name = fifo_name(writer, reader)
        inode = os.stat(name, dir_fd=self._fifos, follow_symlinks=False).st_ino
        for folder, link in _places(writer, reader):
            found = self._in(folder)
            if found.get(link) == inode:
                continue
            path = f"{self._path}/{folder}/{link}"
            if link in found:
                os.unlink(path)
            os.link(name, path, src_dir_fd=self._fifos, follow_symlinks=False)
            found[link] = inode

    def remove(self, writer: str, reader: str) -> None:
        for folder, link in _places(writer, reader):
            if self._in(folder).pop(link, None) is not None:
                os.unlink(f"{self._path}/{folder}/{link}")

    def remove_room(self, name: str) -> None:
        self._found.pop(f"{name}/to", None)
        self._found.pop(f"{name}/from", None)
        shutil.rmtree(f"{self._path}/{name}", ignore_errors=True)

    def remove_stale(self, names: Set[str]) -> None:
        """What belongs to plugins that are in the registry no more."""
        for name in os.listdir(self._path):
            if name not in names:
                self.remove_room(name)
                continue
            for folder in (f"{name}/to", f"{name}/from"):
                found = self._in(folder)
                for other in found.keys() - names:
                    os.unlink(f"{self._path}/{folder}/{other}")
                    del found[other]

    def _in(self, folder: str) -> dict[str, int]:
        if folder not in self._found:
            with os.scandir(f"{self._path}/{folder}") as entries:
                self._found[folder] = {entry.name: entry.inode() for entry in entries}
        return self._found[folder]


def _places(writer: str, reader: str) -> tuple[tuple[str, str], tuple[str, str]]:
    return (f"{writer}/to", reader), (f"{reader}/from", writer)
