"""Files: what Landlock denies, and what seccomp denies because Landlock does not cover it."""

from __future__ import annotations

import importlib
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

KINDS = pytest.mark.parametrize("plugin_type", ["lua", "native"])


def read(path: str | Path) -> str:
    with open(path, "rb") as file:
        file.read(16)
    return "read"


def write(path: str | Path, mode: str = "ab") -> str:
    with open(path, mode) as file:
        file.write(b"x")
    return "written"


def done(job: Callable[..., object], *arguments: object) -> str:
    job(*arguments)
    return "done"


@KINDS
def test_a_plugin_reads_its_own_folder_only(place, inside, needs, plugin_type: str) -> None:
    needs()
    (place.plugin / "secret").symlink_to(place.secret)
    (place.plugin / "root").symlink_to("/")
    outside = [
        place.secret,
        place.plugin / ".." / "secret",
        place.plugin / "secret",
        f"{place.plugin}/root{place.secret}",
        f"/proc/self/root{place.secret}",
        place.data / "x",
        "/etc/shadow",
        "/etc/passwd",
        f"/proc/{os.getpid()}/environ",
        f"/proc/{os.getpid()}/mem",
        "/proc/1/cmdline",
    ]
    (place.data / "x").write_text("of another time")
    assert inside(place.rules(plugin_type), lambda: read(place.plugin / "main.lua")) == "read"
    assert inside(place.rules(plugin_type), *[lambda path=path: read(path) for path in outside]) == (
        ["EACCES"] * len(outside)
    )
    folders = [lambda path=path: done(os.listdir, path) for path in (place.plugin, "/", "/etc", place.root, "/tmp")]
    assert inside(place.rules(plugin_type), *folders) == ["done"] + ["EACCES"] * 4


@KINDS
def test_a_plugin_without_file_write_writes_nowhere(place, inside, needs, plugin_type: str) -> None:
    needs(3)
    (place.data / "x").write_text("kept")
    target = place.plugin / "main.lua"
    jobs = [
        lambda: write(place.secret),
        lambda: write(place.root / "new"),
        lambda: write(target),
        lambda: write(place.plugin / "new"),
        lambda: write(place.data / "x"),
        lambda: write(place.data / "new"),
        lambda: write("/tmp/reed-sandbox-test"),
        lambda: done(os.truncate, place.secret, 0),
        lambda: done(os.open, target, os.O_RDONLY | os.O_TRUNC),
        lambda: done(os.unlink, place.secret),
        lambda: done(os.mkdir, place.plugin / "folder"),
        lambda: done(os.rmdir, place.data),
    ]
    assert inside(place.rules(plugin_type), *jobs) == ["EACCES"] * len(jobs)
    assert place.secret.read_text() == "secret"
    assert target.read_text() == "return 1"


@KINDS
def test_a_plugin_with_file_write_writes_its_data_folder(place, inside, needs, plugin_type: str) -> None:
    needs(3)
    data = place.data

    def work() -> list[str]:
        os.mkdir(data / "a")
        write(data / "a" / "one")
        os.rename(data / "a" / "one", data / "two")
        os.link(data / "two", data / "a" / "three")
        write(data / "two", "wb")
        os.truncate(data / "two", 0)
        os.unlink(data / "a" / "three")
        os.rmdir(data / "a")
        fd = os.open(data / "two", os.O_RDWR)
        os.fsync(fd)
        return os.listdir(data)

    rules = place.rules(plugin_type, ("file_write",))
    assert inside(rules, work, lambda: write(place.secret)) == [["two"], "EACCES"]


@KINDS
def test_a_data_folder_takes_regular_files_and_folders_only(place, inside, needs, plugin_type: str) -> None:
    """So the core or a backup that reads it meets no link out of it, no device and no FIFO."""
    needs(3)
    data = place.data
    rules = place.rules(plugin_type, ("file_write",))

    def make_socket() -> None:
        with socket.socket(socket.AF_UNIX) as own:
            own.bind(str(data / "socket"))

    jobs = [
        lambda: done(os.symlink, place.secret, data / "link"),
        lambda: done(os.mkfifo, data / "fifo"),
        lambda: done(os.link, place.secret, data / "hard"),
        lambda: done(os.link, place.plugin / "main.lua", data / "hard"),
        lambda: done(os.rename, place.secret, data / "moved"),
        lambda: done(os.rename, data / "x", place.plugin / "x"),
    ]
    (data / "x").write_text("x")
    refused = inside(rules, *jobs, make_socket)
    assert set(refused) <= {"EACCES", "EXDEV", "EPERM"}, refused
    assert os.listdir(data) == ["x"]


@KINDS
def test_file_attributes_cannot_be_changed(place, inside, needs, plugin_type: str) -> None:
    """Landlock does not deny chmod, chown, xattr and utime on any path."""
    needs()
    own = place.data / "x"
    own.write_text("x")

    def by_descriptor(change: Callable[[int], None]) -> None:
        fd = os.open(place.plugin / "main.lua", os.O_RDONLY)
        try:
            change(fd)
        finally:
            os.close(fd)

    jobs = [
        lambda: done(os.chmod, place.secret, 0o777),
        lambda: done(os.chmod, own, 0o777),
        lambda: by_descriptor(lambda fd: os.fchmod(fd, 0o6777)),
        lambda: by_descriptor(lambda fd: os.fchown(fd, 1, 1)),
        lambda: done(os.chown, place.secret, os.getuid(), os.getgid()),
        lambda: done(os.lchown, place.secret, os.getuid(), os.getgid()),
        lambda: done(os.setxattr, place.secret, "user.x", b"x"),
        lambda: done(os.utime, place.secret, (1, 1)),
    ]
    assert inside(place.rules(plugin_type, ("file_write",)), *jobs) == ["EPERM"] * len(jobs)
    assert inside(place.rules(plugin_type, ("file_write",)), lambda: by_descriptor(os.utime)) is None


def test_only_the_devices_null_and_urandom_are_open(place, inside, needs) -> None:
    needs()
    jobs = [
        lambda: write("/dev/null"),
        lambda: write("/dev/null", "wb"),
        lambda: read("/dev/urandom"),
        lambda: read("/dev/tty"),
        lambda: read("/dev/kmsg"),
        lambda: write("/dev/shm/reed-sandbox-test"),
    ]
    answers = inside(place.rules("native"), *jobs)
    assert answers[:3] == ["written", "written", "read"]
    assert set(answers[3:]) <= {"EACCES", "ENXIO", "ENOENT"}


def test_an_ioctl_on_a_device_is_denied(place, inside, needs) -> None:
    needs(5)

    def entropy() -> int:
        import fcntl

        fd = os.open("/dev/urandom", os.O_RDONLY)
        return len(fcntl.ioctl(fd, 0x80045200, b"1234"))  # RNDGETENTCNT

    assert entropy() == 4
    assert inside(place.rules("native"), entropy) == "EACCES"


def test_a_lua_process_can_import_the_standard_library(place, inside, needs) -> None:
    needs()
    unused = next(name for name in ("colorsys", "sndhdr", "this", "chunk") if name not in sys.modules)

    def late() -> str:
        return importlib.import_module(unused).__name__

    assert inside(place.rules("lua"), late) == unused


def test_watching_a_folder_is_denied(place, inside, needs) -> None:
    needs()
    import ctypes

    def watch() -> int:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.inotify_add_watch(libc.inotify_init(), b"/tmp", 2) < 0:
            raise OSError(ctypes.get_errno(), "inotify")
        return 0

    assert inside(place.rules("native"), watch) == "EPERM"


@pytest.mark.parametrize("version", range(1, 8))
def test_the_rules_of_every_landlock_abi_are_accepted(place, inside, needs, version: int) -> None:
    """A newer kernel accepts the rules of an older ABI."""
    needs(version)
    inside.sandbox.layers = (layers := inside.sandbox.layers)._replace(landlock=version)
    try:
        rules = place.rules("native", ("file_write",), network=(443,))
        jobs = [
            lambda: read(place.plugin / "main.lua"),
            lambda: write(place.data / "new"),
            lambda: read(place.secret),
            lambda: write(place.secret),
            lambda: done(os.open, place.plugin / "main.lua", os.O_RDONLY | os.O_TRUNC),
        ]
        truncated = "EACCES" if version >= 3 else "done"
        assert inside(rules, *jobs) == ["read", "written", "EACCES", "EACCES", truncated]
    finally:
        inside.sandbox.layers = layers
