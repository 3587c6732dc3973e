"""The files of a plugin's folder that are packed and copied: all except version control, caches and build results.

A link to a file within the folder is that file; any other link is refused, as are devices, FIFOs and sockets.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from reed.errors import ReedError

MAX_FILES = 10_000
MAX_BYTES = 256 * 1024 * 1024  # of all files together
MAX_PATH = 512  # bytes
MAX_DEPTH = 32
TOO_MANY = f"more than {MAX_FILES} files and folders"
TOO_LARGE = f"more than {MAX_BYTES // 1024 // 1024} MiB"

_LEFT_OUT = {".git", ".hg", ".svn", "__pycache__"}
_CACHE_TAG = "CACHEDIR.TAG"  # in the target folder of cargo, and in caches of pytest, mypy and others


class PackageFile(NamedTuple):
    path: str  # below the folder, such as src/main.rs
    source: str
    is_executable: bool
    size: int


def files_of(folder: Path, entry: str = "") -> list[PackageFile]:
    """By path. `entry` is what the core runs: it is included even from a build folder. Raises ReedError."""
    root = os.path.realpath(folder)
    found = sorted(_files(root, "", entry, 0))
    if len(found) > MAX_FILES:
        raise ReedError(f"{folder}: {TOO_MANY}")
    if sum(file.size for file in found) > MAX_BYTES:
        raise ReedError(f"{folder}: {TOO_LARGE}")
    return found


def _files(root: str, below: str, entry: str, depth: int) -> Iterator[PackageFile]:
    if depth > MAX_DEPTH:
        raise ReedError(f"{root}/{below}: nested deeper than {MAX_DEPTH} folders")
    with os.scandir(os.path.join(root, below)) as entries:
        present = list(entries)
    is_crate = any(each.name == "Cargo.toml" for each in present)
    for each in present:
        path = f"{below}/{each.name}" if below else each.name
        if each.is_dir(follow_symlinks=False):
            is_build = os.path.isfile(os.path.join(each.path, _CACHE_TAG)) or (is_crate and each.name == "target")
            if is_build or each.name in _LEFT_OUT:
                if entry.startswith(f"{path}/") and os.path.isfile(os.path.join(root, entry)):
                    yield _file(root, entry)
            else:
                yield from _files(root, path, entry, depth + 1)
        elif not each.name.endswith(".pyc"):
            yield _file(root, path)


def _file(root: str, path: str) -> PackageFile:
    source = os.path.join(root, path)
    real = os.path.realpath(source)
    try:
        status = os.stat(real)
    except OSError as error:
        raise ReedError(f"{source}: {error.strerror}") from None
    if os.path.islink(source) and not real.startswith(f"{root}/"):
        raise ReedError(f"{source}: a link out of the folder, to {real}", hint="copy the file, or remove the link")
    if not stat.S_ISREG(status.st_mode):
        kind = "a link to a folder" if os.path.islink(source) else "neither a file nor a folder"
        raise ReedError(f"{source}: {kind}", hint="a plugin consists of files and folders")
    if len(os.fsencode(path)) > MAX_PATH:
        raise ReedError(f"{source}: a path of more than {MAX_PATH} bytes")
    return PackageFile(path, real, bool(status.st_mode & 0o100), status.st_size)
