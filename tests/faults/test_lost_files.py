"""The store's files are deleted, replaced or truncated while the core runs: no acknowledged write is lost."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from reed.errors import StoreFailed


def delete(path: Path) -> None:
    path.unlink()


def replace(path: Path) -> None:
    shutil.copy(path, path.with_suffix(".new"))
    path.with_suffix(".new").rename(path)


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "content.db deleted": (delete, "content.db"),
    "content.db replaced": (replace, "content.db"),
    "its log deleted": (delete, "content.db-wal"),
    "its log replaced": (replace, "content.db-wal"),
    "all of the data folder deleted": (shutil.rmtree, ""),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_no_write_is_acknowledged_once_the_file_is_gone(ground, name) -> None:
    client = ground.start()
    client.snippet_create("page", "kept", b'{"title":"before"}')
    damage, file = DAMAGE[name]
    path = ground.site.data_dir / file
    with ground.fault(name, "writes refused by name, reads continue") as fault:
        damage(path)
        fault.injected()
        for _ in range(3):
            with pytest.raises(StoreFailed) as refused:
                client.snippet_create("page", "", b"{}")
            assert str(path) in str(refused.value)
        assert bytes(client.snippet_get("kept").content) == b'{"title":"before"}'
    assert f"writes are refused: {path}" in ground.site.log.read_text()


@pytest.mark.parametrize("file", ["content.db-wal", "content.db-shm"])
def test_a_moved_wal_is_noticed_soon(ground, file) -> None:
    """Unlike a deletion, it is not noticed at once. Writes acknowledged until then are in the database."""
    client = ground.start()
    path = ground.site.data_dir / file
    acknowledged = []

    def is_refused() -> bool:
        try:
            acknowledged.append(client.snippet_create("page", "", b"{}"))
        except StoreFailed as error:
            return str(path) in str(error)
        return False

    with ground.fault(f"{file} moved away", "writes refused soon, none is lost") as fault:
        path.rename(path.with_suffix(".moved"))
        ground.until(is_refused)
        fault.injected()
    ground.site.kill()
    ground.site.start()
    with ground.client() as after:
        assert all(after.snippet_get(snippet_id) for snippet_id in acknowledged)


@pytest.mark.parametrize("left", [0, 0.5], ids=["to nothing", "to half"])
def test_a_truncated_wal_never_grows_again(ground, row, left) -> None:
    """Its content is lost. Later writes would be lost too, and the rest would damage the database."""
    client = ground.start()
    for number in range(10):  # too few for a checkpoint
        client.snippet_create("page", f"kept/{number}", b"{}")
    log = ground.site.data_dir / "content.db-wal"
    line = row(
        f"its log truncated {'to half' if left else 'to nothing'}", "writes refused by name; the database stays valid"
    )
    size = int(log.stat().st_size * left)
    os.truncate(log, size)
    for number in range(20):
        with pytest.raises(StoreFailed) as refused:
            client.snippet_create("page", "", b'{"n":%d}' % number)
        assert str(log) in str(refused.value)
        line.injected()
    assert log.stat().st_size == size
    assert client.stats()["store"]["path"]
    ground.site.no_tracebacks()
    line.lost = "what the log held"
    ground.site.kill()
    ground.site.start()  # the fixture's end checks the file
    with ground.client() as after:
        after.registry_define("page", b"{}")
        after.snippet_create("page", "", b"{}")


def test_a_data_folder_moved_away_and_back_takes_writes_again(ground, times) -> None:
    client = ground.start()
    folder = ground.site.data_dir
    kept = []
    with ground.fault("the data folder moved away and back", "refused, then accepted again") as fault:
        for number in range(times(5, 500)):
            folder.rename(folder.with_name("elsewhere"))
            with pytest.raises(StoreFailed):
                client.snippet_create("page", "", b"{}")
            folder.with_name("elsewhere").rename(folder)
            client.snippet_create("page", f"back/{number}", b"{}")
            kept.append(f"back/{number}")
            fault.injected()
    ground.site.kill()
    ground.site.start()
    with ground.client() as after:
        assert all(after.snippet_get(name) for name in kept)


def test_a_moved_database_contains_every_acknowledged_write(ground) -> None:
    """Its WAL stays behind, next to the file that replaced it."""
    client = ground.start()
    path, moved = ground.site.data_dir / "content.db", ground.site.data_dir / "moved.db"
    shutil.copy(path, path.with_suffix(".backup"))
    acknowledged = [client.snippet_create("page", "", b'{"n":%d}' % number) for number in range(50)]
    with ground.fault("content.db moved, and a backup put there", "both files are complete") as fault:
        path.rename(moved)
        path.with_suffix(".backup").rename(path)
        with pytest.raises(StoreFailed):
            client.snippet_create("page", "", b"{}")
        fault.injected()
    ground.site.kill()
    found = contents_of(ground, moved)
    assert set(acknowledged) <= found
    assert not set(acknowledged) & contents_of(ground, path)


def contents_of(ground, path: Path) -> set[str]:
    """The ids that a core finds in that file and, if it exists, its WAL."""
    folder = ground.site.root / f"opened-{path.stem}"
    folder.mkdir()
    for suffix in ("", "-wal"):
        if Path(f"{path}{suffix}").exists():
            shutil.copy(f"{path}{suffix}", folder / f"content.db{suffix}")
    ground.site.data_dir = folder
    ground.site.start()
    with ground.client() as client:
        found = {record.id for record in client.snippets()}
    ground.site.stop()
    return found


def test_everything_can_be_exported_after_the_database_was_deleted(ground) -> None:
    client = ground.start()
    parent, child = (client.snippet_create("page", name, b"{}") for name in ("parent", "child"))
    client.schema_bond(parent, child)
    with ground.fault("export after content.db was deleted", "content and bonds are complete") as fault:
        (ground.site.data_dir / "content.db").unlink()
        with pytest.raises(StoreFailed):
            client.snippet_create("page", "", b"{}")
        fault.injected()
        done = ground.site.reed("export", "saved.jsonl")
        assert done.returncode == 0, done.stderr
        saved = (ground.site.root / "saved.jsonl").read_text()
        assert parent in saved
        assert child in saved
        with pytest.raises(StoreFailed):  # a worker cannot open it
            client.search("parent")


def test_a_core_without_its_database_idles(ground) -> None:
    """It does not retry writes of the index and the outbox in every turn."""
    client = ground.start()
    for number in range(20):
        client.snippet_create("page", "", b'{"title":"word%d"}' % number)
    with ground.fault("an idle core without its file", "no busy loop") as fault:
        (ground.site.data_dir / "content.db").unlink()
        with pytest.raises(StoreFailed):
            client.snippet_create("page", "", b"{}")
        fault.injected()
    turns = client.stats()["loop"]["turns"]
    again = client.stats()["loop"]["turns"]
    assert again - turns < 10
