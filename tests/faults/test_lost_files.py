"""The store's files are deleted, replaced or cut short while the core runs: no write is acknowledged into nothing."""

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
def test_no_write_is_acknowledged_into_a_file_that_is_gone(ground, name) -> None:
    client = ground.start()
    client.snippet_create("page", "kept", b'{"title":"before"}')
    damage, file = DAMAGE[name]
    path = ground.site.data_dir / file
    with ground.fault(name, "writes refused by name, reads go on") as fault:
        damage(path)
        fault.injected()
        for _ in range(3):
            with pytest.raises(StoreFailed) as refused:
                client.snippet_create("page", "", b"{}")
            assert str(path) in str(refused.value)
        assert bytes(client.snippet_get("kept").content) == b'{"title":"before"}'
    assert f"writes are refused: {path}" in ground.site.log.read_text()


@pytest.mark.parametrize("file", ["content.db-wal", "content.db-shm"])
def test_a_log_that_was_moved_away_is_noticed_soon(ground, file) -> None:
    """Not at once: only deleting is. What was acknowledged meanwhile is in the file."""
    client = ground.start()
    path = ground.site.data_dir / file
    acknowledged = []

    def is_refused() -> bool:
        try:
            acknowledged.append(client.snippet_create("page", "", b"{}"))
        except StoreFailed as error:
            return str(path) in str(error)
        return False

    with ground.fault(f"{file} moved away", "writes refused soon, and none is lost") as fault:
        path.rename(path.with_suffix(".moved"))
        ground.until(is_refused)
        fault.injected()
    ground.site.kill()
    ground.site.start()
    with ground.client() as after:
        assert all(after.snippet_get(snippet_id) for snippet_id in acknowledged)


@pytest.mark.parametrize("left", [0, 0.5], ids=["to nothing", "to half"])
def test_a_log_that_was_cut_short_never_grows_again(ground, row, left) -> None:
    """What was in it is gone; what comes after it would be too, and the file would be damaged by the rest."""
    client = ground.start()
    for number in range(10):  # SQLite copies nothing of it yet
        client.snippet_create("page", f"kept/{number}", b"{}")
    log = ground.site.data_dir / "content.db-wal"
    line = row(f"its log truncated {'to half' if left else 'to nothing'}", "writes refused by name; sound after it")
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
    ground.site.start()  # and its end finds the file sound
    with ground.client() as after:
        after.registry_define("page", b"{}")
        after.snippet_create("page", "", b"{}")


def test_a_data_folder_that_is_moved_away_and_back(ground, times) -> None:
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


def test_what_was_acknowledged_before_it_was_moved_is_in_the_file_that_was_moved(ground) -> None:
    """Without its log, which stays behind beside the file that took its place."""
    client = ground.start()
    path, moved = ground.site.data_dir / "content.db", ground.site.data_dir / "moved.db"
    shutil.copy(path, path.with_suffix(".backup"))
    acknowledged = [client.snippet_create("page", "", b'{"n":%d}' % number) for number in range(50)]
    with ground.fault("content.db moved, and a backup put there", "both files are whole") as fault:
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
    """The ids in that file, as a core finds them that is given it alone, and its log where it has one."""
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


def test_all_can_be_exported_from_a_core_whose_file_was_deleted(ground) -> None:
    client = ground.start()
    parent, child = (client.snippet_create("page", name, b"{}") for name in ("parent", "child"))
    client.schema_bond(parent, child)
    with ground.fault("export after content.db was deleted", "content and bonds are all there") as fault:
        (ground.site.data_dir / "content.db").unlink()
        with pytest.raises(StoreFailed):
            client.snippet_create("page", "", b"{}")
        fault.injected()
        done = ground.site.reed("export", "saved.jsonl")
        assert done.returncode == 0, done.stderr
        saved = (ground.site.root / "saved.jsonl").read_text()
        assert parent in saved
        assert child in saved
        assert client.search("parent") is not None


def test_a_core_whose_file_is_gone_rests(ground) -> None:
    """It does not try over and over what cannot be written: the index, the outbox."""
    client = ground.start()
    for number in range(20):
        client.snippet_create("page", "", b'{"title":"word%d"}' % number)
    with ground.fault("an idle core without its file", "no turn after turn") as fault:
        (ground.site.data_dir / "content.db").unlink()
        with pytest.raises(StoreFailed):
            client.snippet_create("page", "", b"{}")
        fault.injected()
    turns = client.stats()["loop"]["turns"]
    again = client.stats()["loop"]["turns"]
    assert again - turns < 10
