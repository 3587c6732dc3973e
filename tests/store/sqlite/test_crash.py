"""kill -9 at any moment loses no acknowledged write and does not damage the file."""

from __future__ import annotations

import json
import random
import sqlite3
from contextlib import closing

import pytest

from reed.errors import NotFound

# Writes forever and prints a line for each acknowledged write.
WRITER = """
import json, os, random, sys, time
from reed.errors import Conflict
from tests.inline_store import inline_store

store = inline_store(sys.argv[1])
fail = lambda error: sys.exit(str(error))
def define(**indexes):
    text = json.dumps({"searchable": {"title": 1}, **indexes}).encode()
    try:
        store.define("page", text, lambda new: None, fail)
    except Conflict:  # the previous definition is building its indexes
        pass
define()
store.commit()
number = 0
acknowledged, said = [], []
random.seed(int(sys.argv[2]))
while True:
    for _ in range(random.randrange(1, 20)):
        number += 1
        content = json.dumps({"title": "zebra " * random.randrange(1, 300), "n": number})
        def created(snippet_id, content=content):
            said.append(("+", snippet_id, content))
            acknowledged.append(snippet_id)
        store.create("page", "", content.encode(), created, fail)
    if random.random() < 0.1:
        define(**random.choice([{"indexed": ["n"]}, {"unique": ["n"]}, {"unique": ["n"], "indexed": ["title"]}, {}]))
    if acknowledged and random.random() < 0.5:
        gone = acknowledged.pop(random.randrange(len(acknowledged)))
        store.delete(gone, False, lambda i: said.append(("-", i, "")), fail)
    store.work(time.monotonic() + 0.002)
    store.commit()
    lines, said[:] = "".join(json.dumps(line) + "\\n" for line in said), []
    os.write(1, lines.encode())
"""


@pytest.mark.parametrize("seed", range(4))
def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path, open_store, run_until_killed, seed):
    path = tmp_path / "reed.db"
    output = run_until_killed(WRITER, path, seed, random.Random(seed).randrange(2_000, 400_000))
    there: dict[str, str] = {}
    maybe: set[str] = set()
    for line in output:
        sign, snippet_id, content = json.loads(line)
        if sign == "+":
            there[snippet_id] = content
        else:
            del there[snippet_id]
            maybe.add(snippet_id)
    driver = open_store(path)
    missing = [snippet_id for snippet_id in there if not is_there(driver, snippet_id)]
    # The writer may have committed more deletions without printing them.
    assert len(missing) <= 1
    for snippet_id in set(there) - set(missing):
        assert driver.get(snippet_id).content.decode() == there[snippet_id]
    assert not any(is_there(driver, snippet_id) for snippet_id in maybe)
    assert driver.search("zebra", "", 1, 0).total == driver.store.stats()["snippets"]
    for snippet_id in set(there) - set(missing):
        conditions = json.dumps({"n": json.loads(there[snippet_id])["n"]}).encode()
        assert [record.id for record in driver.find("page", conditions, "", 0).records] == [snippet_id]
    driver.settle()
    definition = json.loads(driver.definition("page").definition)
    fields = {*definition.get("indexed", []), *definition.get("unique", [])}
    snippets = driver.store.stats()["snippets"]
    driver.store.close()
    connection = sqlite3.connect(path)
    assert {field for (field,) in connection.execute("SELECT field FROM field_indexes")} == fields
    entries = connection.execute("SELECT count(*) FROM field_entries").fetchone()
    assert entries == (snippets * len(fields),)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    with closing(sqlite3.connect(path.with_name("reed-search.db"))) as index:
        index.execute("INSERT INTO search (search) VALUES ('integrity-check')")


def is_there(driver, snippet_id):
    try:
        driver.get(snippet_id)
    except NotFound:
        return False
    return True
