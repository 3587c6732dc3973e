"""Kill -9 of reader and writer in every state, in Lua and Rust: no unread message is lost or reordered.

Messages that the reader had read are lost with it, and so is a message that the writer was writing. A plugin is brought
to a state and suspended there (SIGSTOP), so that it has not read what is sent to it.
"""

from __future__ import annotations

import itertools
import os
import threading

import pytest

from reed.client import Client

STATES = ("starting", "ready", "busy", "sleeping", "stopping", "backoff")
LANGUAGES = tuple(itertools.product(("lua", "rust"), repeat=2))
BATCH = 20


@pytest.mark.parametrize("languages", LANGUAGES, ids=" to ".join)
def test_kill_of_the_reader_in_any_state(pair_of, languages) -> None:
    pair = pair_of(*languages)
    sent: list[int] = []
    for round_, state in enumerate(STATES):
        pair.bring_to("reader", state)
        first = round_ * BATCH + 1
        pair.post(first, first + BATCH - 1)
        sent += range(first, first + BATCH)
        pair.kill_and_wait("reader", state)
        pair.gets(sent, f"the reader was killed while {state}")
        assert pair.call("writer", "ask", 21) == 42, state


@pytest.mark.parametrize("languages", LANGUAGES, ids=" to ".join)
def test_kill_of_the_writer_in_any_state(pair_of, languages) -> None:
    pair = pair_of(*languages)
    sent: list[int] = []
    for round_, state in enumerate(STATES):
        pair.suspend("reader")
        first = round_ * 2 * BATCH + 1
        pair.post(first, first + BATCH - 1)
        pair.bring_to("writer", state)
        pair.kill_and_wait("writer", state)
        pair.post(first + BATCH, first + 2 * BATCH - 1)
        sent += range(first, first + 2 * BATCH)
        pair.resume("reader")
        pair.gets(sent, f"the writer was killed while {state}")
        assert pair.call("writer", "ask", 21) == 42, state


@pytest.mark.parametrize("order", [("reader", "writer"), ("writer", "reader")], ids=" then ".join)
@pytest.mark.parametrize("languages", LANGUAGES, ids=" to ".join)
def test_kill_of_both(pair_of, languages, order) -> None:
    """The core holds the FIFO while neither plugin has a process."""
    pair = pair_of(*languages)
    for name in order:
        (pair.data(name) / "hold").touch()  # neither restarts before the other is killed
    pair.suspend("reader")
    pair.post(1, BATCH)
    for name in order:
        pair.kill(name)
    for name in order:
        (pair.data(name) / "hold").unlink()
        pair.state(name, "ready")
    pair.post(BATCH + 1, 2 * BATCH)
    pair.gets(list(range(1, 2 * BATCH + 1)))
    assert pair.call("writer", "ask", 21) == 42


@pytest.mark.parametrize("languages", LANGUAGES, ids=" to ".join)
def test_kill_of_the_reader_in_the_middle_of_a_stream(pair_of, languages) -> None:
    """One contiguous run of messages is lost: those that the reader had read."""
    pair = pair_of(*languages)
    total, last = 1500, 0

    def stream() -> None:
        with Client(pair.site.socket_path) as other:
            for first in range(1, total, 50):
                other.plugin_send("writer", "post", {"from": first, "to": first + 49})

    writing = threading.Thread(target=stream)
    writing.start()
    pair.until(lambda: len(pair.got()) > 100, "the stream did not begin")
    pair.kill("reader")
    pair.state("reader", "ready")
    writing.join(60)
    assert not writing.is_alive()
    pair.post(total + 1, total + 50)  # the dead process may have read all earlier ones
    pair.until(lambda: pair.got()[-1:] == [total + 50], "the last number did not come")
    gaps = 0
    for number in pair.got():
        assert number > last
        gaps += number != last + 1
        last = number
    assert gaps <= 1, "more than one gap"


@pytest.mark.parametrize("languages", LANGUAGES, ids=" to ".join)
def test_a_writer_that_dies_within_a_message_loses_only_that_message(pair_of, languages) -> None:
    pair = pair_of(*languages)
    pair.suspend("reader")
    pair.post(1, 3)
    torn = {"from": 4, "to": 4, "padding": 300_000}  # more than a pipe holds
    assert pair.call("writer", "post", torn) == {"sent": 1}
    pair.kill("writer")
    pair.state("writer", "ready")
    pair.post(5, 8)  # queued in the writer, since the pipe is full
    pair.resume("reader")
    pair.gets([1, 2, 3, 5, 6, 7, 8])
    assert pair.call("writer", "ask", 21) == 42


@pytest.mark.parametrize("languages", [("lua", "lua"), ("rust", "rust")], ids=" to ".join)
def test_a_full_queue_answers_429(pair_of, languages) -> None:
    pair = pair_of(*languages)
    pair.suspend("reader")
    answer = pair.call("writer", "post", {"from": 1, "to": 100_000})
    assert answer["status"] == 429
    assert answer["sent"] > 1000
    pair.resume("reader")
    pair.gets(list(range(1, answer["sent"] + 1)))


PLUGIN = """
local reed = require "reed"
local plugin = reed.create_plugin { name = "%s", version = "1.0.0" }
plugin.register_message_handler(1, function() return "%s" end)
plugin.action("ask", function(name) return json.encode(plugin.request(json.decode(name), 1, "null", 20)) end)
plugin.run()
"""


@pytest.mark.parametrize("count", [30, 70])
def test_a_fifo_for_every_ordered_pair_of_many(site, count) -> None:
    names = [f"plugin-{number}" for number in range(count)]
    for name in names:
        site.add_lua_plugin(name, PLUGIN % (name, name), "actions:\n  ask: {command_id: 1, timeout: 25s}\n")
    site.set_rows(*(f'{name},lua,{{}},1.0.0,"","admin",false,""' for name in names))
    site.start()
    fifos = set(os.listdir(site.runtime_dir / "fifos"))
    assert fifos == {f"{writer}→{reader}" for writer, reader in itertools.permutations(names, 2)}
    assert len(fifos) == {30: 870, 70: 4830}[count]
    started = site.reed("plugin", "start", *names, timeout=120)
    assert started.returncode == 0, started.stderr
    with Client(site.socket_path) as core:
        assert {plugin["state"] for plugin in core.plugin_health()} == {"ready"}
        for asker, asked in ((names[0], names[-1]), (names[-1], names[0])):
            assert bytes(core.plugin_send(asker, "ask", asked).body) == b'"%s"' % asked.encode()
    site.no_tracebacks()
