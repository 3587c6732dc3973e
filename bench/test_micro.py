"""Micro figures by pytest-benchmark: `pytest bench/test_micro.py`. What one step of a request costs by itself."""

from __future__ import annotations

import json
from itertools import cycle

import pytest

from bench.content import KILOBYTE, PAGE_TYPE, pages
from reed.wire import frames, strict_json
from reed.wire.codes import Command
from reed.wire.frames import ReceiveBuffer
from reed.wire.snippets import Record, SnippetCreate, SnippetGot
from tests.inline_store import inline_store

pytest.importorskip("pytest_benchmark")
pytestmark = pytest.mark.benchmark(warmup=True, max_time=0.3, min_rounds=5)


@pytest.fixture
def store(tmp_path):
    store = inline_store(tmp_path / "content.db")
    wait(store.define, "page", json.dumps(PAGE_TYPE).encode())
    store.commit()
    yield store
    store.close()


def wait(operation, *args):
    """What a store's operation gives, once it is on the disk."""
    got = []
    store = operation.__self__
    operation(*args, got.append, pytest.fail)
    store.commit()
    while not got:
        store.work(0.0)
    return got[0]


def test_frames_cut_out_of_a_stream(benchmark):
    data = memoryview(frames.encode(Command.SNIPPET_GET, bytes(36)) * 100)
    buffer = ReceiveBuffer()

    def cut() -> int:
        buffer.feed(data)
        count = 0
        while buffer.next_frame() is not None:
            count += 1
        buffer.keep()
        return count

    assert benchmark(cut) == 100


def test_a_create_request_read(benchmark):
    payload = memoryview(SnippetCreate("page", "blog/intro", KILOBYTE).pack())
    assert benchmark(SnippetCreate.unpack, payload).semantic_name == "blog/intro"


def test_a_record_packed(benchmark):
    record = Record("0" * 36, "page", "blog/intro", 1, 1, 1, KILOBYTE)
    assert len(benchmark(SnippetGot(200, record).pack)) > len(KILOBYTE)


def test_json_read_strictly(benchmark):
    text = json.dumps(next(pages(1))).encode()
    assert "title" in benchmark(strict_json.loads, text)


def test_a_record_from_memory(benchmark, store):
    snippet_id = wait(store.create, "page", "intro", KILOBYTE)
    wait(store.get, snippet_id)
    assert benchmark(wait, store.get, "intro").id == snippet_id


def test_a_record_from_the_disk(benchmark, tmp_path):
    store = inline_store(tmp_path / "content.db", cache_bytes=0)
    wait(store.define, "page", b"{}")
    snippet_id = wait(store.create, "page", "intro", KILOBYTE)
    assert benchmark(wait, store.get, "intro").id == snippet_id
    store.close()


def test_a_page_validated_and_written_and_put_on_the_disk(benchmark, store):
    contents = cycle([json.dumps(page).encode() for page in pages(50)])
    assert benchmark(lambda: wait(store.create, "page", "", next(contents)))


def test_a_search_of_500_pages(benchmark, store):
    for page in pages(500):
        store.create("page", "", json.dumps(page).encode(), lambda _: None, pytest.fail)
    store.commit()
    first = next(pages(1))["title"].split()
    assert benchmark(wait, store.search, " ".join(first[:2]), "", 20, 0).total > 0
