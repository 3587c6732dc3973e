"""What a power cut takes from the search index since its last fsync is indexed again: no search is wrong afterwards."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
from pathlib import Path

import pytest

from reed.errors import NotFound
from tests.faults.test_disk import WRITER_BEGIN, Disk, fail, record
from tests.inline_store import inline_store

TURNS = 60
FILES = ("reed.db", "reed.db-wal", "reed-search.db", "reed-search.db-wal")
# Creates, updates and deletes snippets, indexes them after each commit, and prints "name=word" for each word that a
# snippet has had.
WRITER = (
    WRITER_BEGIN
    + """
names = []
for turn in range(int(sys.argv[2])):
    said = []
    for number in range(rnd.randrange(1, 6)):
        word = "w%dx%d" % (turn, number)
        text = json.dumps({"title": word, "filling": "x" * rnd.randrange(4000)}).encode()
        kind = rnd.choice(["create", "create", "update", "update", "delete"]) if names else "create"
        if kind == "create":
            names.append("n%d/%d" % (turn, number))
            store.create("page", names[-1], text, lambda _, s=names[-1] + "=" + word: said.append(s), fail)
        elif kind == "update":
            name = rnd.choice(names)
            store.update(name, 0, text, lambda _, s=name + "=" + word: said.append(s), fail)
        else:
            name = names.pop(rnd.randrange(len(names)))
            store.delete(name, False, lambda _: None, fail)
    store.commit()
    while store.has_work:
        store.work(time.monotonic() + 0.002)
    store.commit()
    os.write(1, (" ".join(said) + " ").encode())
os._exit(0)
"""
)


class IndexDisk(Disk):
    def _cut(self, name: str) -> bytes:
        """The file with some of its pending writes: the first ones, or any blocks."""
        pending = self._pending.get(name, [])
        if self._rnd.random() < 0.5:
            return self._after(name, self._rnd.choice([0.0, 0.5, self._rnd.random()]))
        self._pending[name] = pending[: self._rnd.randrange(len(pending) + 1)]
        first = self._after(name, 1.0)
        self._pending[name] = pending
        return first

    def wrong_after_cut(self, folder: Path) -> list[str]:
        """Words that a search does not find where the snippets have them, which may be as they were after a later,
        unacknowledged write."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name in FILES:
            (folder / name).write_bytes(self._cut(name))
        store = inline_store(folder / "reed.db")
        wrong = []
        for said in self._rnd.sample(self.kept, min(len(self.kept), 40)):
            name, _, word = said.partition("=")
            titles: list[str] = []
            with contextlib.suppress(NotFound):
                store.get(name, lambda record: titles.append(json.loads(record.content)["title"]), fail)  # noqa: B023
            hits: list[str] = []
            store.search(word, "", 0, 0, lambda page: hits.extend(hit.semantic_name for hit in page.hits), fail)  # noqa: B023
            if hits != [name] * titles.count(word):
                wrong.append(f"{word} is in {titles} of {name}, and found in {hits}")
        store.close()
        return wrong


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace records the writes")
def test_after_a_power_cut_the_index_finds_what_the_snippets_have(tmp_path, times, row) -> None:
    """See test_disk: writes before a file's last fsync are on the disk; of later ones, any combination of blocks is."""
    line = row("a power cut during indexing", "the index agrees with the snippets, or is made again")
    seed = random.randrange(1 << 32)
    rnd = random.Random(seed)
    calls = record(tmp_path, WRITER, TURNS, seed)
    disk = IndexDisk(rnd)
    moments = set(rnd.sample(range(len(calls)), min(len(calls), times(100, 5000))))
    for number, call in enumerate(calls):
        disk.take(call)
        if number in moments and disk.kept:
            assert not disk.wrong_after_cut(tmp_path / "cut"), f"seed {seed}, call {number}"
            line.injected()
    line.lost = "0"
