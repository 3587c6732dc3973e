"""The archive of a backup: a tar file, compressed with gzip if its name ends with .gz or .tgz (guide/backup.md).

    reed.yaml, plugin-registry.csv   with --settings, if they exist
    content.db                       a SQLite file without a log
    manifest.json                    last: format, version, time, figures, size and SHA-256 of each file before it

An archive without its manifest is incomplete; one whose files do not match it is damaged.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO

from reed.errors import ReedError

FORMAT, VERSION = "reed-backup", 1
CONTENT, SETTINGS, REGISTRY = "content.db", "reed.yaml", "plugin-registry.csv"
_MANIFEST = "manifest.json"
_MAX_SMALL = 1024 * 1024  # bytes of any file but content.db
_CHUNK = 1024 * 1024
_COMPRESSION = 3


def write(file: BinaryIO, path: str, members: Mapping[str, str], about: Mapping[str, Any]) -> int:
    """`members`: paths by name. `about` becomes a part of the manifest. Returns the size of the archive."""
    counted = _Counted(file)
    if path.endswith((".gz", ".tgz")):
        with gzip.GzipFile(fileobj=counted, mode="wb", compresslevel=_COMPRESSION, filename="") as packed:
            _write(packed, members, about)
    else:
        _write(counted, members, about)
    return counted.size


class _Counted:
    """A file that may be a pipe."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = 0

    def write(self, data: bytes) -> int:
        self._file.write(data)
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        self._file.flush()


def _write(file: Any, members: Mapping[str, str], about: Mapping[str, Any]) -> None:
    files: list[dict[str, Any]] = []
    with tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for name, path in members.items():
            with open(path, "rb") as source:
                size = os.fstat(source.fileno()).st_size
                hashed = _Hashed(source)
                archive.addfile(_member(name, size), hashed)  # type: ignore[arg-type]
            files.append({"name": name, "size": size, "sha256": hashed.digest})
        manifest = {"format": FORMAT, "version": VERSION, **about, "files": files}
        text = json.dumps(manifest, indent=1).encode()
        archive.addfile(_member(_MANIFEST, len(text)), io.BytesIO(text))


def _member(name: str, size: int) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.size, found.mode = size, 0o600
    return found


class _Hashed:
    """A file whose bytes are hashed as they are read."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def read(self, size: int) -> bytes:
        data: bytes = self._file.read(size)
        self._hash.update(data)
        return data

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()


def extract(path: str, folder: str) -> dict[str, Any]:
    """Writes the files of the archive into the folder and checks them. Returns the manifest. Raises ReedError."""
    found: dict[str, tuple[int, str]] = {}
    manifest: dict[str, Any] = {}
    with _members(path) as members:
        for name, size, file in members:
            if manifest or name in found:
                raise _damaged(path)
            if name == _MANIFEST:
                manifest = _manifest_of(path, file.read())
                continue
            hashed = _Hashed(file)
            with open(os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
                while data := hashed.read(_CHUNK):
                    target.write(data)
            found[name] = size, hashed.digest
    if not manifest or CONTENT not in found or _files_of(manifest) != found:
        raise _damaged(path)
    return manifest


def read_small(path: str, wanted: str) -> bytes | None:
    """One of the files before content.db; None if the archive does not have it."""
    with _members(path) as members:
        for name, _, file in members:
            if name == wanted:
                content: bytes = file.read()
                return content
            if name == CONTENT:
                break
    return None


@contextmanager
def _members(path: str) -> Iterator[Iterator[tuple[str, int, Any]]]:
    """Name, size and file of each member. Raises ReedError for anything that a backup does not have."""
    try:
        with tarfile.open(path, "r|*") as archive:
            yield _checked(path, archive)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile):
        raise _damaged(path) from None


def _checked(path: str, archive: tarfile.TarFile) -> Iterator[tuple[str, int, Any]]:
    for member in archive:
        file = archive.extractfile(member) if member.isreg() else None
        is_known = member.name in {CONTENT, SETTINGS, REGISTRY, _MANIFEST}
        if file is None or not is_known or (member.name != CONTENT and member.size > _MAX_SMALL):
            raise _damaged(path)
        yield member.name, member.size, file


def _manifest_of(path: str, text: bytes) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(text)
        is_ours, version = found["format"] == FORMAT, int(found["version"])
        _files_of(found)
    except (ValueError, TypeError, LookupError):
        raise _damaged(path) from None
    if not is_ours:
        raise _damaged(path)
    if version > VERSION:
        raise ReedError(f"{path}: a backup of a newer reed (format {version})", hint="upgrade reed-cms")
    return found


def _files_of(manifest: Mapping[str, Any]) -> dict[str, tuple[int, str]]:
    """Size and SHA-256 by name."""
    return {each["name"]: (each["size"], each["sha256"]) for each in manifest["files"]}


def _damaged(path: str) -> ReedError:
    return ReedError(f"{path}: it is no backup of reed, or incomplete, or damaged", hint="take another backup")
