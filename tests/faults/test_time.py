"""Clocks that jump, and a soak test."""

from __future__ import annotations

import contextlib
import os
import random
import sys
import time
from pathlib import Path

from reed.errors import CallError

FACTOR = max(1, int(os.environ.get("REED_FAULTS") or 1))
ECHO = 'plugin.action("echo", function(text) return text end)'
ACTIONS = "actions:\n  echo: {command_id: 1}\n"
# A core whose wall clock is off by the seconds in a file. The monotonic clock is not changed.
JUMPING = """
import sys, time
def off():
    try:
        with open(CLOCK) as file: return float(file.read() or 0)
    except OSError:
        return 0.0
time_, time_ns = time.time, time.time_ns
time.time = lambda: time_() + off()
time.time_ns = lambda: time_ns() + int(off() * 1e9)
from reed.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_clocks_that_jump(ground, times, tmp_path) -> None:
    clock = tmp_path / "clock"
    ground.config = "timing: {health_interval: 100ms, health_misses: 3, start_deadline: 15s}\n"
    ground.lua("tool", ECHO, ACTIONS)
    command = ground.site.command
    before = command().index("serve")
    ground.site.command = lambda *flags: [
        sys.executable, "-c", f"CLOCK = {str(clock)!r}\n{JUMPING}", *command(*flags)[before:]
    ]  # fmt: skip
    client = ground.start()
    pid = ground.plugin_pid(client, "tool")
    made: list[str] = []
    rnd = random.Random()
    year = 365 * 24 * 3600.0
    with ground.fault(
        "the clock jumps back and forth by a year", "order, health checks and timeouts are right"
    ) as fault:
        for _ in range(times(20, 500)):
            clock.with_suffix(".new").write_text(str(rnd.choice([0, -year, year, -3600, 3600, -1, 1])))
            clock.with_suffix(".new").replace(clock)
            made += [str(client.snippet_create("page", "", b"{}")) for _ in range(3)]
            assert client.plugin_send("tool", "echo", 1).body == b"1"
            fault.injected()
        assert made == sorted(made), "ids do not rise"
        listed = [str(record.id) for record in client.snippets("page")]
        assert listed == made, "lists are out of order"
        assert ground.plugin_pid(client, "tool") == pid, "the plugin was killed as hung"


def test_ten_seconds_of_everything_leave_memory_and_descriptors_flat(ground) -> None:
    """REED_FAULTS=60 makes it ten minutes."""
    ground.config = "timing: {restart_limit: 1000, restart_window: 1s, start_deadline: 15s}\n"
    ground.lua("tool", ECHO, ACTIONS)
    ground.lua("other", ECHO, ACTIONS)
    client = ground.start()
    rnd = random.Random()
    seconds = min(10.0 * FACTOR, 600.0)
    with ground.fault(f"{seconds:g} s of everything", "descriptors and memory stay flat, no zombies") as fault:
        began = time.monotonic()
        warm: tuple[int, int] | None = None
        number = 0
        while (passed := time.monotonic() - began) < seconds:
            number += 1
            some(ground, client, rnd, number)
            fault.injected()
            if warm is None and passed > seconds * 0.4:
                warm = holds(ground, client)
        ground.until(lambda: not ground.zombies(), "zombies stay")
        assert warm is not None
        descriptors, memory = holds(ground, client)
        assert abs(descriptors - warm[0]) <= 4, f"descriptors: {warm[0]}, then {descriptors}"
        assert memory - warm[1] < 8 * 1024 * 1024, f"memory: {warm[1]:,}, then {memory:,}"


def some(ground, client, rnd: random.Random, number: int) -> None:
    name = f"soak/{number % 500}"
    with contextlib.suppress(CallError):  # 404 and 409: another round has created or deleted it
        client.snippet_create("page", name, b'{"title":"words and %d"}' % number)
    with contextlib.suppress(CallError):
        client.snippet_delete(f"soak/{rnd.randrange(500)}")
    client.search("words", limit=5)
    assert client.plugin_send("tool", "echo", number).body == b"%d" % number
    with ground.client() as another:
        another.stats()
    if number % 50 == 0:
        client.plugin_start("other")  # a start fails if the process is killed during it
        os.kill(ground.plugin_pid(client, "other"), 9)
        client.plugin_start("other")
    if number % 80 == 0:
        client.plugin_stop("other")
        client.plugin_start("other")
        client.plugin_reload()


def holds(ground, client) -> tuple[int, int]:
    """Descriptors and resident memory of the core, with both plugins ready."""
    client.plugin_start("tool")
    client.plugin_start("other")
    pages = int(Path(f"/proc/{ground.pid}/statm").read_text().split()[1])
    return len(os.listdir(f"/proc/{ground.pid}/fd")), pages * os.sysconf("SC_PAGE_SIZE")
