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
from collections.abc import Collection

ARROW = "→"


def fifo_name(writer: str, reader: str) -> str:
    return f"{writer}{ARROW}{reader}"


class Links:
    """The links to the FIFOs in the folder of descriptor `fifos`, below the folder `path`."""

    def __init__(self, fifos: int, path: os.PathLike[str]) -> None:
        self._fifos = fifos
        self._path = os.fspath(path)

    def make_room(self, name: str) -> None:
        """The folders of a plugin, which last as long as its row: a running process was granted these very ones."""
        for folder in (name, f"{name}/to", f"{name}/from"):
            with contextlib.suppress(FileExistsError):
                os.mkdir(f"{self._path}/{folder}", 0o700)

    def add(self, writer: str, reader: str) -> None:
        """Both links of a FIFO that was made or checked. One that leads elsewhere is replaced."""
        name = fifo_name(writer, reader)
        for link in self._of(writer, reader):
            try:
                os.link(name, link, src_dir_fd=self._fifos, follow_symlinks=False)
            except FileExistsError:
                fifo, found = os.stat(name, dir_fd=self._fifos), os.lstat(link)
                if (fifo.st_dev, fifo.st_ino) != (found.st_dev, found.st_ino):
                    os.unlink(link)
                    os.link(name, link, src_dir_fd=self._fifos, follow_symlinks=False)

    def remove(self, writer: str, reader: str) -> None:
        for link in self._of(writer, reader):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(link)

    def remove_room(self, name: str) -> None:
        shutil.rmtree(f"{self._path}/{name}", ignore_errors=True)

    def remove_stale(self, names: Collection[str]) -> None:
        """What belongs to plugins that are in the registry no more."""
        for name in os.listdir(self._path):
            if name not in names:
                self.remove_room(name)
                continue
            for way in ("to", "from"):
                for other in set(os.listdir(f"{self._path}/{name}/{way}")) - {*names}:
                    os.unlink(f"{self._path}/{name}/{way}/{other}")

    def _of(self, writer: str, reader: str) -> tuple[str, str]:
        return f"{self._path}/{writer}/to/{reader}", f"{self._path}/{reader}/from/{writer}"
