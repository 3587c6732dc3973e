"""Archives of plugins: NAME-VERSION.tar.gz, with one folder at the top.

`pack` gives the same bytes for the same files: paths are sorted; times, owners and modes are fixed (0644, or 0755 for a
program). `unpack` writes only plain files and folders below the folder that it creates. It refuses links, devices,
absolute paths, `..`, setuid files, two entries of one path, and more than the limits of `files`. The content is counted
while it is decompressed, so an archive that claims to be small cannot fill the disk.
"""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from reed.errors import ReedError
from reed.plugin_packages.files import MAX_BYTES, MAX_DEPTH, MAX_FILES, MAX_PATH, TOO_LARGE, TOO_MANY, PackageFile

SUFFIXES = (".tar.gz", ".tgz")
MAX_RATIO = 100  # of the content to the archive, beyond the first MiB

_CHUNK = 64 * 1024
_FREE = 1024 * 1024  # bytes of content that may have any ratio
_MAX_NAME = 255  # bytes of one part of a path
_MAX_STREAM = MAX_BYTES + MAX_FILES * 4 * tarfile.BLOCKSIZE  # with the headers


class ArchiveError(ReedError):
    def __init__(self, path: Path, reason: str, hint: str = "") -> None:
        super().__init__(f"{path}: {reason}", hint=hint or "nothing was unpacked")


def pack(files: list[PackageFile], top: str, output: BinaryIO) -> None:
    """`top` is the name of the folder in the archive."""
    with (
        gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=output, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for file in files:
            info = tarfile.TarInfo(f"{top}/{file.path}")
            info.mode = 0o755 if file.is_executable else 0o644
            with open(file.source, "rb") as source:
                info.size = os.fstat(source.fileno()).st_size
                tar.addfile(info, source)


def unpack(archive: Path, target: Path) -> None:
    """Create `target` with the content of the archive's top folder. Raises ArchiveError, and removes nothing then."""
    target.mkdir(mode=0o755)
    seen: set[str] = set()
    top = ""
    written = count = 0
    with open(archive, "rb") as file:
        stream = _Decompressed(archive, file)
        try:
            with tarfile.open(fileobj=stream, mode="r|", errorlevel=2) as tar:
                for member in tar:
                    count += 1
                    if member.isdir() and member.name == ".":
                        continue
                    parts = _parts(archive, member)
                    top = top or parts[0]
                    path = "/".join(parts[1:])
                    _check(archive, member, parts, top)
                    if path in seen and not member.isdir():
                        raise ArchiveError(archive, f"{member.name!r} is in it twice")
                    seen.add(path)
                    written += member.size
                    if count > MAX_FILES or written > MAX_BYTES:
                        raise ArchiveError(archive, TOO_MANY if count > MAX_FILES else TOO_LARGE)
                    _write(archive, tar, member, target / path)
        except (tarfile.TarError, UnicodeError, OverflowError, ValueError) as error:
            raise ArchiveError(archive, f"is not a .tar.gz archive, or a damaged one: {error}") from None
        stream.drain()
    if not seen:
        raise ArchiveError(archive, "is empty")
    for folder, _, _ in os.walk(target):
        os.chmod(folder, 0o755)  # whatever the umask


def _parts(archive: Path, member: tarfile.TarInfo) -> list[str]:
    name = member.name.removesuffix("/") if member.isdir() else member.name
    parts = name.removeprefix("./").split("/")
    shown = ascii(member.name[:100])
    if member.name.startswith("/"):
        raise ArchiveError(archive, f"{shown} is an absolute path")
    if ".." in parts:
        raise ArchiveError(archive, f"{shown} leads out of the folder")
    if any(part in {"", "."} or not part.isprintable() for part in parts):
        raise ArchiveError(archive, f"{shown} is not a path")
    is_long = any(len(part.encode()) > _MAX_NAME for part in parts)
    if is_long or len(name.encode()) > MAX_PATH or len(parts) > MAX_DEPTH:
        raise ArchiveError(archive, f"{shown} is too long")
    return parts


def _check(archive: Path, member: tarfile.TarInfo, parts: list[str], top: str) -> None:
    name = member.name
    if member.issym() or member.islnk():
        raise ArchiveError(archive, f"{name!r} is a link", "`reed plugin pack` packs the file that a link leads to")
    if member.type not in {tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE} or member.issparse():
        raise ArchiveError(archive, f"{name!r} is neither a file nor a folder")
    if member.isfile() and member.mode & (stat.S_ISUID | stat.S_ISGID):
        raise ArchiveError(archive, f"{name!r} has a setuid or setgid mode")
    if member.size < 0:
        raise ArchiveError(archive, f"{name!r} has a negative size")
    if parts[0] != top or (len(parts) == 1 and member.isfile()):
        raise ArchiveError(archive, f"{name!r} is outside of the one folder that it may have at the top")


def _write(archive: Path, tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    """Everything below the new folder has been written here, so no part of the path is a link."""
    try:
        folder = path if member.isdir() else path.parent
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        if member.isdir():
            return
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            source = tar.extractfile(member)
            assert source is not None  # it is a file
            for data in iter(lambda: source.read(_CHUNK), b""):
                file.write(data)
            os.fchmod(file.fileno(), 0o755 if member.mode & 0o100 else 0o644)
    except (FileExistsError, NotADirectoryError):
        raise ArchiveError(archive, f"{member.name!r} is both a file and a folder") from None


class _Decompressed(io.BufferedIOBase):
    """The tar stream of an archive, as a file that tarfile reads. Counts what it returns."""

    def __init__(self, archive: Path, file: BinaryIO) -> None:
        self._archive = archive
        self._file = file
        self._gzip = zlib.decompressobj(wbits=31)
        self._read = 0
        self._returned = 0

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None  # tarfile always names it
        return b"".join(self._data(size))

    def drain(self) -> None:
        """Read to the end, where the checksum is."""
        while self.read(_CHUNK):
            pass
        if not self._gzip.eof:
            raise ArchiveError(self._archive, "is cut off")
        if self._gzip.unused_data or self._file.read(1):
            raise ArchiveError(self._archive, "has more data after its end")

    def _data(self, size: int) -> Iterator[bytes]:
        while size and not self._gzip.eof:
            raw = self._gzip.unconsumed_tail or self._file.read(_CHUNK)
            if not raw:
                return
            before = len(self._gzip.unconsumed_tail)
            try:
                data = self._gzip.decompress(raw, size)
            except zlib.error as error:
                raise ArchiveError(self._archive, f"is not a .tar.gz archive: {error}") from None
            self._read += len(raw) - before
            self._returned += len(data)
            size -= len(data)
            self._check_size()
            yield data

    def _check_size(self) -> None:
        if self._returned > _MAX_STREAM:
            raise ArchiveError(self._archive, TOO_LARGE)
        if self._returned > max(_FREE, self._read * MAX_RATIO):
            raise ArchiveError(self._archive, f"its content is more than {MAX_RATIO} times as large as the archive")
