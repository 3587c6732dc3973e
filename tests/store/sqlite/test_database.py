"""Opening the file of a store, and the errors of doing so."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from reed.errors import StoreFailed, StoreFull
from reed.store.sqlite.database import MIGRATIONS
from tests.inline_store import inline_store

USER = 12345  # any uid that is not root


def test_the_file_is_private(tmp_path):
    old = os.umask(0)
    try:
        store = inline_store(tmp_path / "reed.db")
        store.define("x", b"{}", lambda new: None, lambda error: None)
        store.commit()
        for path in tmp_path.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        store.close()
    finally:
        os.umask(old)
    (tmp_path / "reed.db").chmod(0o644)
    inline_store(tmp_path / "reed.db").close()
    assert stat.S_IMODE((tmp_path / "reed.db").stat().st_mode) == 0o600


def test_a_second_core_on_the_same_file_is_refused(tmp_path):
    store = inline_store(tmp_path / "reed.db")
    with pytest.raises(StoreFailed):
        inline_store(tmp_path / "reed.db")
    code = f"from tests.inline_store import inline_store; inline_store({os.fspath(tmp_path / 'reed.db')!r})"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "another core holds the store" in other.stderr
    store.close()
    inline_store(tmp_path / "reed.db").close()


def test_a_file_that_is_not_a_database_is_refused(tmp_path):
    path = tmp_path / "reed.db"
    path.write_bytes(b"Dear diary, " * 1000)
    with pytest.raises(StoreFailed):
        inline_store(path)
    assert path.read_bytes() == b"Dear diary, " * 1000


def test_a_database_of_another_program_is_refused(tmp_path):
    with sqlite3.connect(tmp_path / "reed.db") as other:
        other.execute("CREATE TABLE things (x)")
    other.close()
    with pytest.raises(StoreFailed):
        inline_store(tmp_path / "reed.db")


def test_a_store_of_a_newer_version_is_refused(tmp_path):
    inline_store(tmp_path / "reed.db").close()
    with sqlite3.connect(tmp_path / "reed.db") as other:
        other.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    other.close()
    with pytest.raises(StoreFailed):
        inline_store(tmp_path / "reed.db")


def test_a_path_that_cannot_be_opened_is_an_error(tmp_path):
    with pytest.raises(StoreFailed):
        inline_store(tmp_path)
    with pytest.raises(StoreFailed):
        inline_store(tmp_path / "nowhere" / "reed.db")


def test_a_read_only_folder_is_an_error(tmp_path):
    inline_store(tmp_path / "reed.db").close()
    if os.geteuid() == 0:
        mount = ["mount", "-t", "tmpfs", "-o", "ro", "reed-test", tmp_path]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("root may write everywhere, and mounting is not allowed here")
    else:
        tmp_path.chmod(0o500)
    try:
        with pytest.raises(StoreFailed):
            inline_store(tmp_path / "new.db")
    finally:
        if os.geteuid() == 0:
            subprocess.run(["umount", "--lazy", tmp_path], check=True)
        else:
            tmp_path.chmod(0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_folder_that_the_user_may_not_write_to_is_an_error_that_says_so(tmp_path):
    inline_store(tmp_path / "reed.db").close()
    for path in tmp_path.iterdir():
        os.chown(path, USER, USER)
    for folder in (tmp_path, *tmp_path.parents):
        if str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setresuid(USER, USER, USER)
            inline_store(tmp_path / "reed.db").close()
        except BaseException as error:  # noqa: BLE001 - reported to the parent
            os.write(writing, str(error).encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as pipe:
        assert "the core's user must be able to write to it and its folder" in pipe.read()


def test_a_damaged_file_is_an_error_not_a_crash(tmp_path):
    path = tmp_path / "reed.db"
    store = inline_store(path)
    store.define("note", b"{}", lambda new: None, lambda error: None)
    for _ in range(200):
        store.create("note", "", b'{"n":"' + b"x" * 900 + b'"}', lambda made: None, lambda error: None)
    store.close()
    raw = bytearray(path.read_bytes())
    raw[4096 * 2 :] = bytes(len(raw) - 4096 * 2)
    path.write_bytes(raw)
    with pytest.raises(StoreFailed):
        read_everything(path)


def read_everything(path):
    store = inline_store(path)
    try:
        store.page("", "", 1000, lambda page: None, lambda error: None)
    finally:
        store.close()


def test_opening_on_a_full_disk_says_so(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "reed-test", folder]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no small disk to fill: mounting needs root")
    try:
        with pytest.raises(StoreFull):
            inline_store(folder / "reed.db")
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_stats(tmp_path):
    store = inline_store(str(Path(tmp_path / "reed.db")))
    stats = store.stats()
    assert {"snippets": 0, "types": 0, "bonds": 0, "unindexed": 0}.items() <= stats.items()
    assert stats["bytes"] > 0
    store.close()


def test_a_dangling_link_is_refused_and_not_followed(tmp_path):
    (tmp_path / "reed.db").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreFailed):
        inline_store(tmp_path / "reed.db")
    assert not (tmp_path / "elsewhere").exists()
