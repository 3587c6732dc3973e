"""Processes that a plugin forks or daemonises end within a second of the plugin.

The sandbox is off, since it forbids fork.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

QUICK = "sandbox: off\ntiming: {stop_grace: 300ms, term_grace: 200ms, start_deadline: 15s}\n"

FORKING = {
    "a child": """
if not os.fork():
    note(); time.sleep(1000)
""",
    "a child that ignores SIGTERM and SIGHUP": """
if not os.fork():
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT): signal.signal(number, signal.SIG_IGN)
    note(); time.sleep(1000)
""",
    "a daemon (two forks, setsid)": """
if not os.fork():
    os.setsid()
    if not os.fork():
        note(); time.sleep(1000)
    wait_for_notes(1); os._exit(0)
""",
    "a daemon without a name of its own": """
if not os.fork():
    os.setsid()
    if not os.fork():
        os.chdir("/"); os.closerange(0, 100)
        note()
        os.execve("/bin/sleep", ["[kworker/0:1]", "1000"], {})
    wait_for_notes(1); os._exit(0)
""",
    "daemons of a daemon": """
for _ in range(4):
    if not os.fork():
        os.setsid()
        for _ in range(3):
            if not os.fork():
                os.setsid()
                for _ in range(3):
                    if not os.fork():
                        os.setsid(); note(); time.sleep(1000)
                note(); time.sleep(1000)
        note(); time.sleep(1000)
wait_for_notes(4 + 12 + 36)
""",
    "a group of its own": """
if not os.fork():
    os.setpgid(0, 0); note(); time.sleep(1000)
""",
    "a stopped child": """
if not os.fork():
    os.setsid(); note(); os.kill(os.getpid(), signal.SIGSTOP)
""",
    "one that forks for ever": """
if not os.fork():
    os.setsid(); note()
    while True:
        if os.fork(): os._exit(0)
        note(); time.sleep(0.002)
""",
}
CODE = """
def note():
    with open({notes!r}, "a") as file: file.write(f"{{os.getpid()}}\\n")
def wait_for_notes(count):  # an orphan may be killed at any time, so parents wait
    while not os.path.exists({notes!r}) or len(open({notes!r}).readlines()) < count: time.sleep(0.001)
def do(way):
    if not os.fork():
        exec(WAYS[way])
        wait_for_notes(1); os._exit(0)
    return os.wait()[0]
WAYS = {ways!r}
"""


def noted(notes: Path) -> list[int]:
    return [int(line) for line in notes.read_text().split()] if notes.exists() else []


def forking(notes: Path) -> str:
    """The code of a plugin whose action `do` forks in the given way."""
    return CODE.format(notes=str(notes), ways=FORKING) + "main(do)"


def test_processes_that_a_plugin_forked_end_within_a_second_of_its_stop(ground, times, tmp_path) -> None:
    notes = tmp_path / "notes"
    ground.config = QUICK
    ground.native("forks", forking(notes), auto=False)
    client = ground.start()
    for way in FORKING:
        with ground.fault(f"a plugin forks: {way}", "ended within 1 s of its stop") as fault:
            for _ in range(times(1, 20)):
                notes.unlink(missing_ok=True)
                client.plugin_start("forks")
                client.plugin_send("forks", "do", way)
                ground.until(lambda: noted(notes), "it forked nothing")
                client.plugin_stop("forks")
                deadline = time.monotonic() + 1.0
                while left := [pid for pid in noted(notes) if running(pid)]:
                    assert time.monotonic() < deadline, f"still running: {left}"
                fault.injected()
        ground.until(lambda: not ground.zombies(), f"zombies stay: {ground.zombies()}")


def test_a_plugin_that_ignores_shutdown_and_sigterm_is_killed_after_its_grace_periods(ground) -> None:
    ground.config = QUICK
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nmain(lambda _: None, on_shutdown=lambda: None)"
    ground.native("deaf", deaf)
    client = ground.start()
    with ground.fault(
        "a plugin ignores SHUTDOWN_GRACEFUL and SIGTERM", "killed after stop_grace + term_grace"
    ) as fault:
        pid = ground.plugin_pid(client, "deaf")
        began = time.monotonic()
        client.plugin_stop("deaf")
        assert time.monotonic() - began >= 0.5, "killed before its grace periods were over"
        assert not running(pid)
        fault.injected()


@pytest.mark.parametrize("end", ["kill -9", "stop of the core"])
def test_daemons_of_a_plugin_end_when_it_is_killed_or_the_core_stops(ground, end, tmp_path) -> None:
    notes = tmp_path / "notes"
    ground.config = QUICK
    ground.native("forks", forking(notes))
    client = ground.start()
    client.plugin_send("forks", "do", "daemons of a daemon")
    ground.until(lambda: len(noted(notes)) == 4 + 12 + 36)
    with ground.fault(f"a plugin with daemons: {end}", "all have ended") as fault:
        if end == "kill -9":
            os.kill(ground.plugin_pid(client, "forks"), signal.SIGKILL)
        else:
            assert ground.site.stop() == 0
        ground.until(lambda: not any(running(pid) for pid in noted(notes)), "a daemon still runs", 3)
        if end != "kill -9":
            ground.site.start()
        fault.injected()


def test_orphans_of_a_running_plugin_live_on_and_are_reaped(ground, tmp_path) -> None:
    """A plugin may have background processes that stay in its session."""
    notes = tmp_path / "notes"
    ground.config = QUICK
    ground.native("forks", forking(notes))
    ground.lua("other", "", "")
    client = ground.start()
    client.plugin_send("forks", "do", "a child")
    ground.until(lambda: noted(notes))
    with ground.fault("a plugin stops while another one has an orphan", "the orphan lives on") as fault:
        client.plugin_stop("other")
        client.plugin_start("other")
        client.plugin_stop("other")
        assert running(noted(notes)[0])
        os.kill(noted(notes)[0], signal.SIGKILL)
        client.plugin_start("other")
        client.plugin_stop("other")
        ground.until(lambda: not ground.zombies(), "the orphan stays as a zombie")
        fault.injected()


def test_a_killed_zygote_leaves_no_zombie(ground, times) -> None:
    ground.lua("tool", "", "")
    client = ground.start()
    with ground.fault("kill -9 of the zygote", "replaced, no zombie") as fault:
        for _ in range(times(2, 20)):
            os.kill(zygote(ground, client), signal.SIGKILL)
            client.plugin_stop("tool")
            client.plugin_start("tool")
            ground.until(lambda: not ground.zombies(), "the spare stays as a zombie")
            fault.injected()


def zygote(ground, client) -> int:
    """Its pid. After a kill, the first launch uses the spare that is left, and the second one starts a new zygote."""
    deadline = time.monotonic() + 10
    while True:
        for pid in children(ground.pid):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
                is_leader = os.getsid(pid) == pid  # not a spare that has not set its name yet
                if is_leader and Path(f"/proc/{pid}/comm").read_text() == "reed:zygote\n":
                    return pid
        assert time.monotonic() < deadline
        client.plugin_stop("tool")
        client.plugin_start("tool")


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
