"""Finds a plugin's folder and code, and fingerprints its files (plugin-yaml.md).

The fingerprint covers size, inode and mtime of each file that is not hidden.
"""

from __future__ import annotations

import contextlib
import os

# hashlib would load OpenSSL into the core (1.2 MB); this is the same BLAKE2 without it.
from _blake2 import blake2b
from collections.abc import Iterator, Sequence
from pathlib import Path

from reed.errors import ManifestError, nearest
from reed.plugin_types.plugin_type import PluginType

_MAX_FILES = 1000  # of one plugin


def find(name: str, plugin_dirs: Sequence[Path]) -> Path:
    for folder in plugin_dirs:
        if (folder / name).is_dir():
            return folder / name
    first, *others = [str(folder / name) for folder in plugin_dirs] or [name]
    hint = nearest(name, _plugins_in(plugin_dirs)) or "create the folder, or name another with --plugin-dir"
    nor = f", nor is there {', '.join(others)}" if others else ""
    raise ManifestError(first, f"no folder of this plugin{nor}", hint=hint)


def entry_point(folder: Path, name: str, plugin_type: PluginType, entry: str) -> Path:
    """`entry` is the manifest's, which may be empty. Raises ManifestError."""
    places = plugin_type.places(name, entry)
    for place in places:
        path = folder / place
        if not path.is_file():
            continue
        if not _is_inside(path, folder):
            raise ManifestError(str(path), "leads out of the plugin's folder", hint="entry is a path below the folder")
        if plugin_type.needs_executable and not os.access(path, os.X_OK):
            raise ManifestError(str(path), "is not executable", hint=f"chmod +x {path}")
        return path
    message = f"no code there; looked for {' and '.join(places)}"
    raise ManifestError(str(folder), message, hint=plugin_type.missing_entry)


def _is_inside(path: Path, folder: Path) -> bool:
    """Whether its links lead to a file in the folder."""
    if path.parent == folder and not path.is_symlink():
        return True
    return path.resolve().is_relative_to(folder.resolve())


def code_fingerprint(folder: Path, entry: Path, *, whole: bool) -> str:
    """`whole` includes the files in subfolders."""
    seen = bytearray()
    paths = {os.fspath(entry), *_files(os.fspath(folder), _MAX_FILES, whole=whole)}
    for path in sorted(paths):
        try:
            stat = os.stat(path)
        except OSError:
            continue
        seen += f"{path} {stat.st_size} {stat.st_ino} {stat.st_mtime_ns}\n".encode("utf-8", "surrogateescape")
    return fingerprint(seen)


def fingerprint(data: bytes | bytearray) -> str:
    return blake2b(data, digest_size=16).hexdigest()


def _files(folder: str, max_files: int, *, whole: bool) -> Iterator[str]:
    todo = [folder]
    while todo and max_files:
        with contextlib.suppress(OSError), os.scandir(todo.pop()) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    if whole:
                        todo.append(entry.path)
                elif max_files:
                    max_files -= 1
                    yield entry.path


def _plugins_in(plugin_dirs: Sequence[Path]) -> list[str]:
    folders = [each for folder in plugin_dirs if folder.is_dir() for each in folder.iterdir() if each.is_dir()]
    return [folder.name for folder in folders if not folder.name.startswith(".")]
