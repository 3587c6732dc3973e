"""The same folder gives the same archive; a hostile archive writes nothing outside its folder, and is one error."""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from reed.errors import ReedError
from reed.plugin_packages import archive, files
from reed.plugin_packages.files import files_of


def packed(folder: Path, entry: str = "") -> bytes:
    output = io.BytesIO()
    archive.pack(files_of(folder, entry), "demo", output)
    return output.getvalue()


def tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w:gz", format=tarfile.PAX_FORMAT) as file:
        for info, data in members:
            file.addfile(info, io.BytesIO(data))
    return output.getvalue()


def member(name: str, data: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    info.mode = 0o644
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def unpacked(folder: Path, data: bytes) -> Path:
    (folder / "a.tar.gz").write_bytes(data)
    archive.unpack(folder / "a.tar.gz", folder / "new")
    return folder / "new"


def tree(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def plugin(tmp_path) -> Path:
    folder = tmp_path / "demo"
    (folder / "lib").mkdir(parents=True)
    (folder / "plugin.yaml").write_text("name: demo\nversion: 1.0.0\n")
    (folder / "lib" / ("long" * 40 + "ü.lua")).write_text("return 1")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o700)
    return folder


def test_the_same_files_give_the_same_bytes(plugin: Path, tmp_path) -> None:
    first = packed(plugin)
    other = tmp_path / "other"
    (other / "lib").mkdir(parents=True)
    for path in sorted(plugin.rglob("*"), reverse=True):  # made in another order, at another time, with other modes
        if path.is_file():
            copy = other / path.relative_to(plugin)
            copy.write_bytes(path.read_bytes())
            copy.chmod(0o755 if path.name == "run.sh" else 0o600)
            os.utime(copy, (1, 1))
    assert packed(other) == first
    with tarfile.open(fileobj=io.BytesIO(first)) as file:
        assert {(info.uid, info.gid, info.uname, info.mtime) for info in file} == {(0, 0, "", 0)}


def test_what_was_packed_is_unpacked(plugin: Path, tmp_path) -> None:
    before = os.umask(0o077)
    try:
        found = unpacked(tmp_path, packed(plugin))
    finally:
        os.umask(before)
    assert {path: data for path, (data, _) in tree(found).items()} == {p: d for p, (d, _) in tree(plugin).items()}
    assert {path: mode for path, (_, mode) in tree(found).items() if mode != 0o644} == {"run.sh": 0o755}
    assert stat.S_IMODE((found / "lib").stat().st_mode) == 0o755


def test_build_folders_are_left_out_except_for_the_program(plugin: Path) -> None:
    for path in ("target/release/demo", "target/release/deps/big", ".git/config", "__pycache__/x.pyc", "cache/old"):
        (plugin / path).parent.mkdir(parents=True, exist_ok=True)
        (plugin / path).write_text("x")
    (plugin / "Cargo.toml").write_text("")
    (plugin / "cache/CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55")
    paths = {file.path for file in files_of(plugin, "target/release/demo")}
    assert {path for path in paths if "/" in path and not path.startswith("lib/")} == {"target/release/demo"}
    (plugin / "Cargo.toml").unlink()
    assert "target/release/deps/big" in {file.path for file in files_of(plugin)}  # a Lua plugin's own folder


def test_a_link_within_the_folder_is_packed_as_its_file(plugin: Path) -> None:
    (plugin / "same.yaml").symlink_to("plugin.yaml")
    with tarfile.open(fileobj=io.BytesIO(packed(plugin))) as file:
        info = file.getmember("demo/same.yaml")
        assert info.isfile()
        assert file.extractfile(info).read() == (plugin / "plugin.yaml").read_bytes()


def test_a_folder_with_links_out_of_it_is_not_packed(plugin: Path, tmp_path) -> None:
    (tmp_path / "secret").write_text("secret")
    (plugin / "out").symlink_to("../secret")
    with pytest.raises(ReedError, match="a link out of the folder"):
        packed(plugin)
    (plugin / "out").unlink()
    os.mkfifo(plugin / "pipe")
    with pytest.raises(ReedError, match="neither a file nor a folder"):
        packed(plugin)


HOSTILE = {
    "an absolute path": [member("/etc/passwd", b"x")],
    "an absolute path below": [member("demo/a"), member("/demo/b")],
    "..": [member("demo/../../x", b"x")],
    ".. alone": [member("..", type=tarfile.DIRTYPE)],
    "a symbolic link": [member("demo/l", type=tarfile.SYMTYPE, linkname="/etc")],
    "a link and a file in it": [member("demo/l", type=tarfile.SYMTYPE, linkname="/tmp"), member("demo/l/x", b"x")],
    "a hard link": [member("demo/l", type=tarfile.LNKTYPE, linkname="/etc/passwd")],
    "a device": [member("demo/d", type=tarfile.CHRTYPE, devmajor=1, devminor=3)],
    "a block device": [member("demo/d", type=tarfile.BLKTYPE)],
    "a FIFO": [member("demo/p", type=tarfile.FIFOTYPE)],
    "setuid": [member("demo/s", b"x", mode=0o4755)],
    "setgid": [member("demo/s", b"x", mode=0o2755)],
    "twice": [member("demo/a", b"1"), member("demo/a", b"2")],
    "file and folder": [member("demo/a", b"1"), member("demo/a/b", b"2")],
    "folder and file": [member("demo/a/b", b"1"), member("demo/a", b"2")],
    "two folders": [member("demo/a"), member("other/a")],
    "no folder": [member("plugin.yaml", b"x")],
    "a control character": [member("demo/a\x1b[2J")],
    "a long part": [member("demo/" + "a" * 256)],
    "deep": [member("demo/" + "a/" * 40 + "b")],
    "an empty part": [member("demo//a")],
    "a sparse file": [member("demo/a", type=tarfile.GNUTYPE_SPARSE)],
    "nothing": [],
}


@pytest.mark.parametrize("members", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_archive_is_refused(tmp_path, members) -> None:
    (tmp_path / "site").mkdir()
    with pytest.raises(archive.ArchiveError):
        unpacked(tmp_path / "site", tar(*members))
    assert {path.name for path in tmp_path.iterdir()} == {"site"}
    assert {path.name for path in (tmp_path / "site").iterdir()} == {"a.tar.gz", "new"}
    assert not [path for path in (tmp_path / "site/new").rglob("*") if path.is_symlink() or not path.exists()]


def test_zeros_do_not_fill_the_disk(tmp_path) -> None:
    zeros = tar(member("demo/zeros", bytes(64 * 1024 * 1024)))
    assert len(zeros) < 100_000
    with pytest.raises(archive.ArchiveError, match="100 times as large"):
        unpacked(tmp_path, zeros)
    assert (tmp_path / "new/zeros").stat().st_size < 16 * 1024 * 1024


def test_a_header_that_claims_gigabytes_costs_no_memory(tmp_path) -> None:
    info = tarfile.TarInfo("demo/x")
    info.type, info.size = tarfile.XHDTYPE, 8 * 1024**3
    with gzip.open(tmp_path / "a.tar.gz", "wb") as file:
        file.write(info.tobuf())
        for _ in range(64):
            file.write(bytes(1024 * 1024))
    tracemalloc.start()
    with pytest.raises(archive.ArchiveError):
        archive.unpack(tmp_path / "a.tar.gz", tmp_path / "new")
    assert tracemalloc.get_traced_memory()[1] < 64 * 1024 * 1024
    tracemalloc.stop()


def test_more_files_or_bytes_than_a_plugin_may_have(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(archive, "MAX_FILES", 10)
    with pytest.raises(archive.ArchiveError, match="files and folders"):
        unpacked(tmp_path, tar(*(member(f"demo/{number}") for number in range(11))))
    (tmp_path / "2").mkdir()
    monkeypatch.setattr(archive, "MAX_BYTES", 1000)
    with pytest.raises(archive.ArchiveError, match=files.TOO_LARGE):
        unpacked(tmp_path / "2", tar(member("demo/a", bytes(600)), member("demo/b", bytes(600))))


def test_one_folder_many_times_is_counted(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(archive, "MAX_FILES", 10)
    with pytest.raises(archive.ArchiveError, match="files and folders"):
        unpacked(tmp_path, tar(*(member("demo/a", type=tarfile.DIRTYPE) for _ in range(11))))


GOOD = tar(member("demo/plugin.yaml", b"name: demo\n"), member("demo/lib/a.lua", os.urandom(3000)))


@pytest.mark.parametrize(
    "data",
    [b"", b"not gzip", gzip.compress(b"not tar"), GOOD[:-20], GOOD[: len(GOOD) // 2], GOOD + b"more", GOOD + GOOD],
    ids=["empty", "text", "no tar", "cut off", "half", "more", "twice"],
)
def test_a_damaged_archive_is_refused(tmp_path, data: bytes) -> None:
    with pytest.raises(archive.ArchiveError):
        unpacked(tmp_path, data)


def test_an_archive_of_tar_is_accepted(tmp_path) -> None:
    found = unpacked(
        tmp_path,
        tar(
            member(".", type=tarfile.DIRTYPE, mode=0o2755),
            member("./demo", type=tarfile.DIRTYPE, mode=0o2755),
            member("./demo/plugin.yaml", b"x", uid=1000, uname="anna", mode=0o666, mtime=1e9),
        ),
    )
    assert tree(found) == {"plugin.yaml": (b"x", 0o644)}


NAMES = st.sampled_from(["demo", "a", "b", "..", ".", "", "/", "é", "x\n", "\x00", "a" * 300, "lib", "C:\\x"])
PATHS = st.lists(NAMES, min_size=1, max_size=5).map("/".join)
TYPES = st.sampled_from([*(bytes([each]) for each in b"01234567gxLKSMVD\0"), b"\xff"])
MEMBERS = st.lists(
    st.tuples(PATHS, TYPES, st.binary(max_size=40), st.integers(0, 0o7777), PATHS, st.booleans()), max_size=6
)


def raw_tar(members) -> bytes:
    """Headers that `tarfile` would not write as they are."""
    output = bytearray()
    for path, kind, data, mode, link, below in members:
        info = tarfile.TarInfo((f"demo/{path}" if below else path).replace("\0", "_"))
        info.type, info.size, info.mode, info.linkname = kind, len(data), mode, link.replace("\0", "_")
        header = bytearray(info.tobuf(tarfile.GNU_FORMAT, errors="surrogateescape"))
        output += header + data + bytes(-len(data) % 512)
    return bytes(output) + bytes(1024)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(MEMBERS, st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=8))
@example([("l", b"2", b"", 0o777, "/", True), ("l/x", b"0", b"x", 0o644, "", True)], [])
def test_whatever_an_archive_holds_nothing_is_written_outside(tmp_path_factory, members, flips) -> None:
    data = bytearray(raw_tar(members))
    for at, value in flips:
        data[at % len(data)] = value
    check_contained(tmp_path_factory.mktemp("fuzz"), gzip.compress(bytes(data), 1))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_flipped_byte_is_found_or_harmless(tmp_path_factory, flips) -> None:
    data = bytearray(GOOD)
    for at, value in flips:
        data[at] = value
    check_contained(tmp_path_factory.mktemp("flip"), bytes(data))


def check_contained(folder: Path, data: bytes) -> None:
    site = folder / "site"
    site.mkdir()
    with suppress(ReedError):  # any other exception is a bug
        unpacked(site, data)
    assert {path.name for path in folder.iterdir()} == {"site"}
    assert {path.name for path in site.iterdir()} == {"a.tar.gz", "new"}
    for path in (site / "new").rglob("*"):
        mode = path.lstat().st_mode
        assert stat.S_ISREG(mode) or stat.S_ISDIR(mode)
        assert stat.S_IMODE(mode) in {0o600, 0o644, 0o755}
