"""Hard links to each FIFO, in folders that the sandboxes of its writer and its reader grant (reed.sandbox.rules).

    fifos/A→B ── peers/A/to/B       A writes here
              └─ peers/B/from/A     B reads here

Landlock grants existing files and folders. The link of a plugin that a reload adds appears in a folder that running
plugins were granted already.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Set

ARROW = "→"


def fifo_name(writer: str, reader: str) -> str:
    return f"{writer}{ARROW}{reader}"


class Links:
    def __init__(self, fifos: int, path: os.PathLike[str]) -> None:
        self._fifos = fifos
        self._path = os.fspath(path)
        self._inodes: dict[str, dict[str, int]] = {}  # by folder ("A/to") and link; each folder is listed once

    def add_folders(self, name: str) -> None:
        """They must stay as long as the row, since running processes were granted them."""
        for folder in (name, f"{name}/to", f"{name}/from"):
            with contextlib.suppress(FileExistsError):
                os.mkdir(f"{self._path}/{folder}", 0o700)

    def add(self, writer: str, reader: str) -> None:
        """Links to another file are replaced."""
        name = fifo_name(writer, reader)
        inode = os.stat(name, dir_fd=self._fifos, follow_symlinks=False).st_ino
        for folder, link in _locations(writer, reader):
            found = self._links_in(folder)
            if found.get(link) == inode:
                continue
            path = f"{self._path}/{folder}/{link}"
            if link in found:
                os.unlink(path)
            os.link(name, path, src_dir_fd=self._fifos, follow_symlinks=False)
            found[link] = inode

    def remove(self, writer: str, reader: str) -> None:
        for folder, link in _locations(writer, reader):
            if self._links_in(folder).pop(link, None) is not None:
                os.unlink(f"{self._path}/{folder}/{link}")

    def remove_folders(self, name: str) -> None:
        self._inodes.pop(f"{name}/to", None)
        self._inodes.pop(f"{name}/from", None)
        import shutil  # loads three compression libraries, and is rarely needed

        shutil.rmtree(f"{self._path}/{name}", ignore_errors=True)

    def remove_stale(self, names: Set[str]) -> None:
        for name in os.listdir(self._path):
            if name not in names:
                self.remove_folders(name)
                continue
            for folder in (f"{name}/to", f"{name}/from"):
                found = self._links_in(folder)
                for other in found.keys() - names:
                    os.unlink(f"{self._path}/{folder}/{other}")
                    del found[other]

    def _links_in(self, folder: str) -> dict[str, int]:
        if folder not in self._inodes:
            with os.scandir(f"{self._path}/{folder}") as entries:
                self._inodes[folder] = {entry.name: entry.inode() for entry in entries}
        return self._inodes[folder]


def _locations(writer: str, reader: str) -> tuple[tuple[str, str], tuple[str, str]]:
    return (f"{writer}/to", reader), (f"{reader}/from", writer)
