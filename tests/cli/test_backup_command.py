"""`reed backup`, with real cores: a copy of one commit while 64 clients write, and its way back."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import pytest

from reed.client import Client
from reed.store.sqlite.backup import save
from tests.conftest import Site

WRITERS = 64


@pytest.fixture
def other(tmp_path):
    """Another site, into which backups are restored."""
    site = Site(tmp_path / "other")
    yield site
    if site.process is not None:
        site.stop()


def add_subscriber(site: Site) -> None:
    """A plugin that is stopped, so that events wait for it."""
    site.set_rows('told,lua,{},1.0.0,"snippet_read","admin",false,x')
    main = 'local p = require("reed").create_plugin{name="told",version="1.0.0"} p.action("hear", print) p.run()'
    site.add_lua_plugin("told", main, "actions: {hear: {command_id: 1}}\nevents: {snippet.created: hear}\n")
    if site.process is not None:
        assert site.reed("plugin", "reload").returncode == 0


def everything(client: Client) -> list[object]:
    return [client.registry_list(), list(client.snippets()), client.schema_tree()]


def members(path: Path) -> list[str]:
    with tarfile.open(path) as archive:
        return archive.getnames()


class Writer(threading.Thread):
    """Creates snippets WRITER/1, WRITER/2, …, and after each writes its number into the snippet WRITER."""

    def __init__(self, socket: Path, name: str, is_over: threading.Event) -> None:
        super().__init__()
        self.acknowledged = 0
        self._client, self._name, self._is_over = Client(socket), name, is_over
        self._client.snippet_create("counter", name, {"n": 0})

    def run(self) -> None:
        with self._client as client:
            while not self._is_over.is_set():
                number = self.acknowledged + 1
                client.snippet_create("row", f"{self._name}/{number}", {"text": "x" * 500})
                client.snippet_update(self._name, {"n": number})
                self.acknowledged = number


def test_a_backup_during_64_writers_is_a_prefix_of_what_was_committed(core, other, tmp_path) -> None:
    with Client(core.socket_path) as client:
        client.registry_define("row", b"{}")
        client.registry_define("counter", b"{}")
        is_over = threading.Event()
        writers = [Writer(core.socket_path, f"w{number}", is_over) for number in range(WRITERS)]
        for writer in writers:
            writer.start()
        try:
            while min(writer.acknowledged for writer in writers) < 5:
                client.stats()
            before = [writer.acknowledged for writer in writers]
            made = core.reed("backup", "create", str(tmp_path / "site.tar.gz"))
            after = [writer.acknowledged for writer in writers]
        finally:
            is_over.set()
            for writer in writers:
                writer.join(60)
        assert (made.returncode, made.stderr) == (0, "")
        assert sum(after) > sum(before), "they wrote meanwhile"
        in_order = [record.id for record in client.snippets("row")]
    restored = other.reed("backup", "restore", str(tmp_path / "site.tar.gz"))
    assert (restored.returncode, restored.stderr) == (0, "")
    other.start()
    with Client(other.socket_path) as client:
        rows = list(client.snippets("row"))
        assert [record.id for record in rows] == in_order[: len(rows)], "all that came before, nothing that came after"
        names = {record.semantic_name for record in rows}
        for number, acknowledged in enumerate(before):
            counted = json.loads(client.snippet_get(f"w{number}").content)["n"]
            created = sum(name.startswith(f"w{number}/") for name in names)
            assert acknowledged <= counted <= created <= counted + 1
    core.no_tracebacks()


def test_what_is_restored_is_what_was_there(core, other, tmp_path) -> None:
    add_subscriber(core)
    with Client(core.socket_path) as client:
        client.registry_define("page", {"unique": ["path"], "searchable": {"title": 1}})
        client.snippet_create("page", "home", b'{"title":"Gr\\u00fc\\u00dfe", "path": "/",  "n":1.50}')
        client.snippet_create("page", "child", {"title": "Child", "path": "/c"})
        client.schema_bond("home", "child", 3, "/c")
        waiting = client.stats()["store"]["events"]
        saved = everything(client)
    file = tmp_path / "site.tar"
    add_subscriber(other)
    made = json.loads(core.reed("backup", "create", str(file), "--settings", "--json").stdout)
    assert (made["snippets"], made["types"], made["bonds"], made["events"]) == (2, 1, 1, waiting)
    assert waiting == 2
    assert members(file) == ["plugin-registry.csv", "content.db", "manifest.json"]
    assert file.stat().st_mode & 0o777 == 0o600
    restored = json.loads(other.reed("backup", "restore", str(file), "--json").stdout)
    assert (restored["snippets"], restored["replaced"]) == (2, "")
    other.start()
    with Client(other.socket_path) as client:
        assert everything(client) == saved
        assert client.search("grüße").total == 1
        assert client.stats()["store"]["events"] == waiting
    assert (other.data_dir / "content.db").stat().st_mode & 0o777 == 0o600


def test_restore_into_a_folder_with_content_needs_replace_and_no_core(core, tmp_path) -> None:
    file = str(tmp_path / "site.tar.gz")
    with Client(core.socket_path) as client:
        client.registry_define("page", {"searchable": {"title": 1}})
        client.snippet_create("page", "first", {"title": "first"})
        assert core.reed("backup", "create", file).returncode == 0
        client.snippet_create("page", "second", {"title": "second"})
        assert client.search("second").total == 1
    for words in ([], ["--replace"]):
        refused = core.reed("backup", "restore", file, *words)
        assert refused.returncode == 1
        assert "a core uses the data folder" in refused.stderr
    core.stop()
    refused = core.reed("backup", "restore", file)
    assert refused.returncode == 1
    assert "has content; --data-dir" in refused.stderr
    replaced = json.loads(core.reed("backup", "restore", file, "--replace", "--json").stdout)["replaced"]
    core.start()
    with Client(core.socket_path) as client:
        assert [record.semantic_name for record in client.snippets()] == ["first"]
        assert client.search("second").total == 0
        assert client.search("first").total == 1
    old = save(replaced, str(tmp_path / "old.db"), "old.db")
    assert old.snippets == 2


def test_events_of_a_restored_store_have_numbers_that_no_plugin_has_seen(core, other, tmp_path) -> None:
    """A plugin that skips repeats by their number would skip new events otherwise."""
    add_subscriber(core)
    with Client(core.socket_path) as client:
        client.registry_define("page", b"{}")
        for _ in range(3):
            client.snippet_create("page", "", b"{}")
    core.reed("backup", "create", str(tmp_path / "site.tar"))
    other.reed("backup", "restore", str(tmp_path / "site.tar"))
    import sqlite3

    with sqlite3.connect(other.data_dir / "content.db") as connection:
        (last,) = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'").fetchone()
    assert last == 1_000_000_003


def test_a_backup_of_a_stopped_core_and_to_standard_output(core, other, tmp_path) -> None:
    with Client(core.socket_path) as client:
        client.registry_define("page", b"{}")
        client.snippet_create("page", "home", b"{}")
    core.process.kill()  # what was written is in the log only
    core.process.wait()
    made = subprocess.run(
        [sys.executable, "-m", "reed", "backup", "create", "-"],
        cwd=core.root,
        env=os.environ | {"REED_RUNTIME_DIR": str(core.runtime_dir), "REED_DATA_DIR": str(core.data_dir)},
        capture_output=True,
        check=True,
    )
    (tmp_path / "site.tar").write_bytes(made.stdout)
    assert other.reed("backup", "restore", str(tmp_path / "site.tar")).returncode == 0
    other.start()
    with Client(other.socket_path) as client:
        assert client.snippet_get("home").version == 1


def test_a_killed_backup_leaves_nothing_that_looks_whole(core, tmp_path) -> None:
    with Client(core.socket_path) as client:
        client.registry_define("page", b"{}")
        for number in range(8):
            client.snippet_create("page", "", {"text": os.urandom(3_000_000).hex() + str(number)})
    folder = tmp_path / "backups"
    folder.mkdir()
    file = folder / "site.tar.gz"
    for stage in (".reed-backup-*", ".site.tar.gz.*.new", ".reed-backup-*/content.db"):
        command = subprocess.Popen(
            [sys.executable, "-m", "reed", "--runtime-dir", str(core.runtime_dir), "backup", "create", str(file)],
            cwd=core.root,
        )
        while not list(folder.glob(stage)):
            assert command.poll() is None
        command.send_signal(signal.SIGKILL)
        command.wait()
        assert not file.exists()
        assert not [path for path in folder.iterdir() if not path.name.startswith(".")]
    assert list(folder.glob(".reed-backup-*"))
    assert core.reed("backup", "create", str(file)).returncode == 0
    assert not list(folder.glob(".reed-backup-*")), "what the killed ones left is removed"


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> bytes:
    """A valid one."""
    site = Site(tmp_path_factory.mktemp("site"))
    site.start()
    try:
        with Client(site.socket_path) as client:
            client.registry_define("page", b"{}")
            client.snippet_create("page", "home", b"{}")
        site.reed("backup", "create", str(site.root / "site.tar"))
    finally:
        site.stop()
    return (site.root / "site.tar").read_bytes()


def rewritten(archive: bytes, change) -> bytes:
    """With members changed: (name, content) -> (TarInfo, content), or None to leave it out."""
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(archive)) as old, tarfile.open(fileobj=out, mode="w") as new:
        for member in old:
            content = old.extractfile(member).read()
            changed = change(member, content)
            if changed is not None:
                changed[0].size = len(changed[1])
                new.addfile(changed[0], io.BytesIO(changed[1]))
    return out.getvalue()


def renamed(name: str):
    def change(member, content):
        if member.name == "content.db":
            member.name = name
        return member, content

    return change


def linked(member, content):
    if member.name == "content.db":
        member.type, member.linkname, content = tarfile.SYMTYPE, "/etc/passwd", b""
    return member, content


def without_manifest(member, content):
    return None if member.name == "manifest.json" else (member, content)


def flipped(member, content):
    if member.name == "content.db":
        content = content[:5000] + bytes([content[5000] ^ 1]) + content[5001:]
    return member, content


@pytest.mark.parametrize(
    "spoil",
    [
        lambda archive: archive[: len(archive) // 2],
        lambda _: b"",
        lambda _: b"no archive at all",
        lambda archive: rewritten(archive, without_manifest),
        lambda archive: rewritten(archive, flipped),
        lambda archive: rewritten(archive, renamed("../content.db")),
        lambda archive: rewritten(archive, renamed("/tmp/content.db")),
        lambda archive: rewritten(archive, linked),
    ],
)
def test_a_damaged_archive_changes_nothing(archive, other, tmp_path, spoil) -> None:
    (tmp_path / "bad.tar").write_bytes(spoil(archive))
    other.data_dir.mkdir(parents=True, exist_ok=True)
    refused = other.reed("backup", "restore", str(tmp_path / "bad.tar"))
    assert refused.returncode == 1
    assert f"{tmp_path / 'bad.tar'}: it is no backup of reed, or incomplete, or damaged" in refused.stderr
    assert [path.name for path in other.data_dir.iterdir()] == ["core.lock"]
    assert not (tmp_path / "content.db").exists()


def test_settings_are_restored_where_there_are_none(core, tmp_path) -> None:
    core.config.write_text(f"data_dir: {tmp_path / 'elsewhere'}\n")
    made = core.reed("backup", "create", str(tmp_path / "site.tgz"), "--settings", f"--config={core.config}")
    assert (made.returncode, made.stderr) == (0, "")
    assert members(tmp_path / "site.tgz") == ["reed.yaml", "plugin-registry.csv", "content.db", "manifest.json"]
    empty = tmp_path / "empty"
    empty.mkdir()
    restored = subprocess.run(
        [sys.executable, "-m", "reed", "backup", "restore", str(tmp_path / "site.tgz"), "--settings", "--json"],
        cwd=empty,
        env={name: value for name, value in os.environ.items() if not name.startswith("REED_")},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(restored.stdout)
    assert found["data_dir"] == str(tmp_path / "elsewhere")
    assert found["made"] == [str(empty / "reed.yaml"), str(empty / "plugin-registry.csv")]
    assert (empty / "plugin-registry.csv").read_bytes() == core.registry.read_bytes()


def test_postgresql_is_refused_with_what_to_do_instead(reed, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("REED_STORE", "postgres:service=none")
    refused = reed("backup", "create", "site.tar")
    assert refused.code == 1
    assert "pg_dump" in refused.err
    assert "reed store copy" in refused.err
    assert not list(tmp_path.glob("*site*"))
    assert "reed store copy sqlite:FOLDER" in reed("backup", "restore", "site.tar").err


def test_a_folder_without_a_store(reed, tmp_path) -> None:
    refused = reed("backup", "create", "site.tar")
    assert refused.code == 1
    assert "data/content.db: No such file or directory" in refused.err
    assert not list(tmp_path.glob("*site*")) + list(tmp_path.glob(".*"))
