"""Starting, stopping, crashing and hanging plugins: real processes, and a clock that the test advances."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from reed.config import PluginConfig, PluginLimits, Timing
from reed.errors import PluginNotFound, PluginOffline, RegistryError
from reed.supervision.lifecycle import Phase, State
from reed.wire.codes import Signal

SLEEPER = "exec sleep 1000"
READY, BUSY, SLEEPING, ERROR = (
    Signal.PLUGIN_READY,
    Signal.PLUGIN_BUSY,
    Signal.PLUGIN_SLEEPING,
    Signal.PLUGIN_ERROR,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.supervision.conftest import World


def test_a_start_is_done_when_the_plugin_is_ready(world: World) -> None:
    world.plugin("seo", "echo hello; " + SLEEPER)
    world.start_core()
    first, second = world.start("seo"), world.start("seo")
    assert world["seo"].state is State.STARTING
    assert (first.done, second.done) == (0, 0)
    world.clock.now += 0.25
    world.says("seo", READY)
    assert (first.done, second.done) == (1, 1)
    assert world.start("seo").done == 1, "it already runs"
    assert world.states("seo") == [State.STARTING, State.READY]
    pid = world["seo"].pid
    assert pid is not None
    assert world.supervisor.owner_of(pid) == "seo"
    assert world.supervisor.owner_of(os.getpid()) is None
    world.until(lambda: "hello" in world["seo"].output.last_lines)
    (told,) = world.supervisor.describe("seo")
    assert (told["state"], told["pid"], told["ready_ms"], told["restarts"]) == ("ready", pid, 250, 0)
    assert told["memory_bytes"] > 0
    assert told["last_lines"] == ["hello"]
    assert (world.root / "run/pid/plugins/seo.pid").read_text().startswith(f"{pid} ")
    assert f"-- seo 1.0.0 started, pid {pid}" in world.written("seo")


def test_auto_start_follows_the_rows(world: World) -> None:
    world.plugin("yes", auto_start=True)
    world.plugin("no")
    world.start_core().auto_start()
    assert (world["yes"].state, world["no"].state) == (State.STARTING, State.STOPPED)
    assert world.added == ["yes", "no"]


def test_an_unknown_name_gets_the_nearest_as_its_hint(world: World) -> None:
    world.plugin("simple-seo")
    world.start_core()
    for answer in (world.start("simple-soe"), world.stop("simple-soe")):
        assert isinstance(answer.error, PluginNotFound)
        assert "'simple-seo'" in answer.error.hint


# Plugins that cannot run.


def test_invalid_plugins_do_not_affect_others(world: World) -> None:
    world.plugin("good")
    world.plugin("gone")
    world.plugin("bad", manifest="acions: {}\n")
    for file in (world.root / "plugins/gone").iterdir():
        file.unlink()
    (world.root / "plugins/gone").rmdir()
    world.start_core().auto_start()
    assert {name: world[name].state for name in ("good", "gone", "bad")} == {
        "good": State.STOPPED,
        "gone": State.FAILED,
        "bad": State.FAILED,
    }
    assert world["gone"].reason.startswith(f"{world.root}/plugins/gone: ")
    assert world["bad"].reason.startswith(f"{world.root}/plugins/bad/plugin.yaml:3:1: ")
    answer = world.start("bad")
    assert isinstance(answer.error, PluginOffline)
    assert world["bad"].reason in answer.error.message
    world.plugin("bad")
    world.make_ready("bad")


def test_a_program_that_cannot_be_executed_fails_the_plugin(world: World) -> None:
    world.plugin("seo")
    (world.root / "plugins/seo/seo").write_text("#!/no/such/interpreter\n")
    world.start_core()
    answer = world.start("seo")
    assert isinstance(answer.error, PluginOffline)
    assert f"{world.root}/plugins/seo/seo" in answer.error.message
    assert world["seo"].state is State.FAILED
    world.script("seo", SLEEPER)
    world.make_ready("seo")


def test_a_failed_start_has_the_exit_status_and_the_last_lines(world: World) -> None:
    world.plugin("seo", "echo one; echo 'main.lua:3: unexpected symbol' >&2; exit 3")
    world.start_core()
    answer = world.start("seo")
    world.until_state("seo", State.BACKOFF)
    assert isinstance(answer.error, PluginOffline)
    assert "exit status 3" in answer.error.message
    assert "one | main.lua:3: unexpected symbol" in answer.error.message


def test_a_start_has_a_deadline(world: World) -> None:
    world.plugin("seo", "echo thinking; " + SLEEPER)
    world.start_core()
    answer = world.start("seo")
    pid = world["seo"].pid
    assert pid is not None
    world.until(lambda: world["seo"].output.last_lines)
    world.pass_time(4.9)
    assert world["seo"].state is State.STARTING
    world.pass_time(0.2)
    assert world["seo"].state is State.FAILED
    assert isinstance(answer.error, PluginOffline)
    assert "thinking" in answer.error.message
    world.until(lambda: world.gone(pid), "gone")
    assert world.supervisor.owner_of(pid) is None
    assert world["seo"].reason in world.written("seo")
    world.pass_time(100)
    assert world["seo"].state is State.FAILED, "it is not retried"
    world.make_ready("seo")


# Crashes.


def test_a_killed_plugin_is_restarted(world: World) -> None:
    world.plugin("seo")
    world.start_core()
    first = world.make_ready("seo")
    world.kill("seo")
    world.until_state("seo", State.BACKOFF)
    assert world["seo"].reason == "killed by SIGKILL"
    assert world["seo"].pid is None
    assert not (world.root / "run/pid/plugins/seo.pid").exists()
    world.pass_time(0.1)
    assert world["seo"].state is State.BACKOFF, "the first delay is 0.2 s"
    world.pass_time(0.11)
    assert world["seo"].state is State.STARTING
    second = world["seo"].pid
    assert second not in (None, first)
    assert world["seo"].generation == 2
    world.says("seo", READY)
    (told,) = world.supervisor.describe("seo")
    assert (told["restarts"], told["last_error"], told["reason"]) == (1, "killed by SIGKILL", "")


def test_a_plugin_fails_after_five_restarts_in_a_minute(world: World) -> None:
    world.plugin("seo", "echo attempt; exit 7")
    world.start_core()
    world.start("seo")
    for delay in (0.2, 0.4, 0.8, 1.6, 3.2):
        world.until_state("seo", State.BACKOFF)
        world.pass_time(delay - 0.01)
        assert world["seo"].state is State.BACKOFF
        world.pass_time(0.02)
    world.until_state("seo", State.FAILED)
    assert world["seo"].reason.startswith("exit status 7")
    assert (world["seo"].generation, world["seo"].backoff.recent) == (6, 6)
    assert list(world["seo"].output.last_lines) == ["attempt"] * 6
    world.script("seo", SLEEPER)
    world.make_ready("seo")
    world.kill("seo")
    world.until_state("seo", State.BACKOFF)  # the start reset the window


def test_a_start_during_backoff_launches_at_once(world: World) -> None:
    world.plugin("seo")
    world.start_core()
    world.make_ready("seo")
    world.kill("seo")
    world.until_state("seo", State.BACKOFF)
    world.make_ready("seo")
    world.pass_time(60)
    assert world["seo"].generation == 2, "the scheduled restart was cancelled"


def test_a_stop_during_backoff_cancels_the_restart(world: World) -> None:
    world.plugin("seo")
    world.start_core()
    world.make_ready("seo")
    world.kill("seo")
    world.until_state("seo", State.BACKOFF)
    assert world.stop("seo").done == 1
    world.pass_time(60)
    assert world["seo"].state is State.STOPPED


# Stopping.


def test_a_stop_is_done_when_the_process_is_gone(world: World) -> None:
    world.plugin("seo", "trap 'exit 0' USR1; while :; do sleep 0.01; done")
    world.start_core()
    pid = world.make_ready("seo")

    def hears(_name: str, kind: Signal) -> bool:
        if kind == Signal.SHUTDOWN_GRACEFUL:
            os.kill(pid, signal.SIGUSR1)
        return True

    world.hears = hears
    first, second = world.stop("seo"), world.stop("seo")
    assert world["seo"].state is State.STOPPING
    world.until(lambda: first.done)
    assert second.done == 1
    assert world.gone(pid)
    assert world["seo"].state is State.STOPPED
    assert world["seo"].reason == ""
    assert world.sent.count(("seo", Signal.SHUTDOWN_GRACEFUL)) == 1
    assert world.stop("seo").done == 1, "it is already stopped"
    world.pass_time(100)
    assert world["seo"].state is State.STOPPED, "it is not restarted"


def test_a_stop_escalates_after_5_and_2_seconds(world: World) -> None:
    world.plugin("seo", "trap 'echo no' TERM; echo up; while :; do sleep 0.01; done")
    world.start_core()
    pid = world.make_ready("seo")
    world.until(lambda: world["seo"].output.last_lines)
    answer = world.stop("seo")
    world.pass_time(4.9)
    assert list(world["seo"].output.last_lines) == ["up"]
    world.pass_time(0.2)
    world.until(lambda: "no" in world["seo"].output.last_lines, "SIGTERM")
    world.pass_time(1.9)
    assert not world.gone(pid)
    world.pass_time(0.2)
    world.until(lambda: answer.done)
    assert world.gone(pid)


def test_a_stop_without_a_connection_begins_with_sigterm(world: World) -> None:
    world.plugin("seo")
    world.start_core()
    world.make_ready("seo")
    world.hears = lambda _name, _kind: False
    answer = world.stop("seo")
    world.until(lambda: answer.done)


def test_a_stop_fails_a_start_that_was_not_ready(world: World) -> None:
    world.plugin("seo")
    world.start_core()
    start = world.start("seo")
    world.hears = lambda _name, _kind: False
    stop = world.stop("seo")
    assert isinstance(start.error, PluginOffline)
    world.says("seo", READY)
    assert world["seo"].state is State.STOPPING, "too late"
    world.until(lambda: stop.done)


def test_a_start_during_a_stop_follows_it(world: World) -> None:
    world.plugin("seo")
    world.start_core()
    first = world.make_ready("seo")
    world.hears = lambda _name, _kind: False
    stop, start = world.stop("seo"), world.start("seo")
    world.until(lambda: stop.done)
    world.until(lambda: world["seo"].pid)
    world.says("seo", READY)
    assert start.done == 1
    assert world["seo"].pid != first
    stop, start = world.stop("seo"), world.start("seo")
    world.stop("seo")
    assert isinstance(start.error, PluginOffline), "the last request wins"
    world.until_state("seo", State.STOPPED)


def test_the_callback_of_a_stop_may_start_the_plugin(world: World) -> None:
    world.plugin("seo")
    world.start_core()
    first = world.make_ready("seo")
    world.hears = lambda _name, _kind: False
    done: list[bool] = []
    supervisor = world.supervisor
    supervisor.stop("seo", lambda: supervisor.start("seo", lambda: done.append(True), pytest.fail), pytest.fail)
    world.until(lambda: world["seo"].pid not in (None, first))
    world.says("seo", READY)
    assert done == [True]
    assert world.gone(first)


def test_shutdown_leaves_no_process(world: World) -> None:
    for name in ("one", "two", "three", "four"):
        world.plugin(name)
    world.start_core()
    pids = [world.make_ready(name) for name in ("one", "two")]
    world.start("three")
    world.kill("two")
    world.until_state("two", State.BACKOFF)
    world.hears = lambda _name, _kind: False
    done: list[bool] = []
    world.supervisor.shutdown(lambda: done.append(True))
    assert isinstance(world.start("one").error, PluginOffline)
    world.until(lambda: done)
    assert all(world.gone(pid) for pid in pids)
    assert {plugin.state for plugin in world.supervisor.plugins.values()} == {State.STOPPED}
    assert done == [True]


# Health and signals.


def test_three_missed_health_checks_restart_the_plugin(world: World) -> None:
    world.plugin("seo")
    world.start_core()
    pid = world.make_ready("seo")
    for _ in range(5):
        world.pass_time(10)
        world.says("seo", READY)
    assert world["seo"].state is State.READY
    for _ in range(3):
        world.pass_time(10)
    assert world["seo"].state is State.READY
    world.pass_time(10)
    assert world["seo"].state is State.BACKOFF
    assert world["seo"].reason.startswith("killed: ")
    assert world.sent.count(("seo", Signal.HEALTH_CHECK)) == 8
    world.until(lambda: world.gone(pid))
    world.pass_time(1)
    assert world["seo"].state is State.STARTING


def test_a_health_check_that_was_not_sent_is_no_miss(world: World) -> None:
    world.plugin("seo")
    world.start_core()
    world.make_ready("seo")
    world.hears = lambda _name, _kind: False
    for _ in range(10):
        world.pass_time(10)
    assert world["seo"].state is State.READY


def test_signals_change_the_state(world: World) -> None:
    world.plugin("seo")
    world.start_core()
    world.make_ready("seo")
    for kind in (BUSY, BUSY, READY, SLEEPING, BUSY, READY):
        world.says("seo", kind)
    assert world.states("seo")[2:] == [State.BUSY, State.READY, State.SLEEPING, State.BUSY, State.READY]
    world.says("seo", ERROR, b"out of words")
    assert world["seo"].state is State.READY
    (told,) = world.supervisor.describe("seo")
    assert (told["last_error"], told["error_data"]) == ("out of words", "out of words")


def test_health_checks_do_not_wake_a_sleeping_plugin(world: World) -> None:
    world.plugin("seo")
    world.start_core()
    world.make_ready("seo")
    world.says("seo", SLEEPING)
    for _ in range(10):
        world.pass_time(10)
    assert world["seo"].state is State.SLEEPING
    assert ("seo", Signal.HEALTH_CHECK) not in world.sent


def test_the_core_can_kill_a_hung_plugin(world: World) -> None:
    world.plugin("seo", "sleep 1000 & exec sleep 1000")
    world.start_core()
    pid = world.make_ready("seo")
    world.supervisor.kill("seo", "action validate did not end within 30 s")
    assert world["seo"].state is State.BACKOFF
    assert world["seo"].reason == "killed: action validate did not end within 30 s"
    assert world.supervisor.owner_of(pid) is None, "it is ignored"
    world.until(lambda: world.gone(pid))


def test_a_plugin_that_disconnects_must_reconnect_in_time(world: World) -> None:
    world.plugin("seo")
    world.start_core()
    world.make_ready("seo")
    world.supervisor.on_disconnect("seo")
    world.pass_time(4)
    world.says("seo", READY)  # it registered again
    world.pass_time(4)
    assert world["seo"].state is State.READY
    world.supervisor.on_disconnect("seo")
    world.pass_time(6)
    assert world["seo"].state is State.BACKOFF
    assert world["seo"].reason.startswith("killed: ")


# Reload.


def reload(world: World) -> None:
    world.write_rows()
    answers: list[Exception | None] = []
    world.supervisor.reload(lambda _: answers.append(None), answers.append)
    world.until(lambda: answers, "read again")
    if answers[0] is not None:
        raise answers[0]


def test_an_invalid_registry_changes_nothing(world: World) -> None:
    world.plugin("seo")
    world.start_core()
    pid = world.make_ready("seo")
    before = dict(world.supervisor.plugins)
    world.rows = {"new": "new,lua"}
    with pytest.raises(RegistryError) as caught:
        reload(world)
    assert (caught.value.line, caught.value.column) == (2, 5)
    assert world.supervisor.plugins == before
    assert world["seo"].pid == pid
    assert (world.added, world.removed) == (["seo"], [])


def test_rows_come_and_go(world: World) -> None:
    world.plugin("old")
    world.start_core()
    pid = world.make_ready("old")
    world.hears = lambda _name, _kind: False
    del world.rows["old"]
    world.plugin("new", auto_start=True)
    reload(world)
    assert list(world.supervisor.plugins) == ["new"]
    assert world["new"].state is State.STARTING
    assert isinstance(world.start("old").error, PluginOffline)
    world.until(lambda: world.removed == ["old"])
    assert world.gone(pid)
    assert isinstance(world.start("old").error, PluginNotFound)


def test_a_row_with_another_socket_starts_a_new_plugin(world: World) -> None:
    world.plugin("seo")
    world.start_core()
    pid = world.make_ready("seo")
    world.hears = lambda _name, _kind: False
    world.rows["seo"] = world.rows["seo"].replace("/seo.sock", "/search.sock")
    reload(world)
    world.until(lambda: "seo" in world.supervisor.plugins)
    world.until(lambda: world["seo"].pid)
    assert world.gone(pid)
    assert world.added == ["seo", "seo"]
    assert world.removed == ["seo"]
    assert world["seo"].state is State.STARTING


def test_new_user_groups_apply_at_once(world: World) -> None:
    world.plugin("seo")
    world.start_core()
    pid = world.make_ready("seo")
    world.rows["seo"] = world.rows["seo"].replace('"editor"', '"editor,author"')
    reload(world)
    assert world["seo"].row.user_groups == {"editor", "author"}
    assert (world["seo"].pid, world["seo"].state) == (pid, State.READY)


def test_a_reload_with_an_invalid_manifest_fails_a_stopped_plugin(world: World) -> None:
    world.plugin("seo")
    world.start_core()
    for key in ("acions", "evnts"):
        world.plugin("seo", manifest=f"{key}: {{}}\n")
        reload(world)
        assert world["seo"].state is State.FAILED
        assert key in world["seo"].reason


def test_a_reload_starts_a_repaired_plugin(world: World) -> None:
    world.plugin("seo", manifest="acions: {}\n", auto_start=True)
    world.start_core().auto_start()
    assert world["seo"].state is State.FAILED
    world.plugin("seo", auto_start=True)
    reload(world)
    assert world["seo"].state is State.STARTING


def test_settings_and_timing_come_from_the_configuration(world: World) -> None:
    world.timing = Timing(start_deadline=1, restart_limit=0)
    world.settings = {"seo": PluginConfig({"a": 2}, PluginLimits(memory=64 * 1024 * 1024))}
    world.plugin("seo", 'echo "$REED_SETTINGS"; exit 1', manifest="settings: {a: 1, b: 1}\n")
    world.start_core()
    world.start("seo")
    world.until_state("seo", State.FAILED)
    assert list(world["seo"].output.last_lines) == ['{"a":2,"b":1}']
    assert world["seo"].reason.startswith("exit status 1")


def test_file_write_creates_the_data_folder(world: World) -> None:
    world.plugin("seo", 'ls -ld "$REED_DATA_DIR"; ' + SLEEPER, permissions="file_write")
    world.start_core()
    world.start("seo")
    world.until(lambda: world["seo"].output.last_lines)
    assert world["seo"].output.last_lines[0].startswith("drwx------")
    assert world["seo"].output.last_lines[0].endswith(f"{world.root}/data/plugins/seo")


def test_a_few_dozen_plugins_run_at_once(world: World) -> None:
    names = [f"p{number}" for number in range(30)]
    for name in names:
        world.plugin(name, auto_start=True)
    world.start_core().auto_start()
    world.until(lambda: all(world[name].pid for name in names))
    for name in names:
        world.says(name, READY)
    told = world.supervisor.describe()
    assert {entry["state"] for entry in told} == {"ready"}
    world.pass_time(1.0)  # memory is measured a moment after READY
    world.until(lambda: all(entry["memory_bytes"] for entry in world.supervisor.describe()))


DOZER = 'trap "exit 0" USR1; trap "exit 3" USR2; echo up; while :; do sleep 0.01; done'


def doze(world: World) -> None:
    """A sleeping plugin, which exits with status 0 on SIGUSR1 and 3 on SIGUSR2."""
    world.plugin("seo", DOZER)
    world.start_core()
    world.start("seo")
    world.until(lambda: "up" in world["seo"].output.last_lines)
    world.says("seo", READY)
    world.says("seo", SLEEPING)


def test_a_plugin_hibernates_when_its_process_exits_cleanly_asleep(world: World) -> None:
    doze(world)
    world.supervisor.wake("seo")
    assert ("seo", Signal.WAKE_UP) in world.sent
    world.says("seo", READY)
    world.says("seo", SLEEPING)
    os.kill(world["seo"].pid or 0, signal.SIGUSR1)
    world.until(lambda: world["seo"].pid is None)
    assert world["seo"].state is State.SLEEPING
    assert world["seo"].backoff.total == 0
    world.supervisor.wake("seo")
    assert world["seo"].state is State.STARTING
    world.says("seo", READY)
    assert world["seo"].state is State.READY


def test_a_waking_plugin_whose_process_exits_is_launched_again(world: World) -> None:
    doze(world)
    world.supervisor.wake("seo")
    os.kill(world["seo"].pid or 0, signal.SIGUSR1)
    world.until(lambda: world["seo"].state is State.STARTING)


def test_a_crash_asleep_is_a_crash(world: World) -> None:
    doze(world)
    os.kill(world["seo"].pid or 0, signal.SIGUSR2)
    world.until(lambda: world["seo"].state is State.BACKOFF)
    assert world["seo"].reason == "exit status 3"


def test_a_hibernating_plugin_is_stopped_at_once(world: World) -> None:
    doze(world)
    os.kill(world["seo"].pid or 0, signal.SIGUSR1)
    world.until(lambda: world["seo"].pid is None)
    assert world.stop("seo").done == 1
    assert world["seo"].state is State.STOPPED


def test_a_reload_runs_in_slices_and_requests_meanwhile_wait_for_the_next(world: World) -> None:
    for number in range(30):
        world.plugin(f"p{number}")
    world.start_core()
    answers: list[str] = []
    world.supervisor.reload(lambda _: answers.append("first"), pytest.fail)
    slices = iter(range(1000))
    world.loop.now = lambda: world.clock() + next(slices)  # each step uses up its slice
    world.loop.turn(0)
    assert answers == []
    world.plugin("newer")
    world.write_rows()
    world.supervisor.reload(lambda _: answers.append("second"), pytest.fail)
    while answers != ["first", "second"]:
        world.loop.turn(0)
    assert next(slices) > 60
    assert "newer" in world.supervisor.plugins


def test_the_deadline_of_a_start_begins_with_its_process(world: World) -> None:
    """Processes are spawned one after another, and a plugin is not to blame for the queue."""
    world.plugin("seo", SLEEPER)
    line: list[Callable[[], None]] = []
    world.start_core()
    world.launcher.queue = line
    world.start("seo")
    world.pass_time(20)
    assert world["seo"].state is State.STARTING
    line.pop()()
    world.until(lambda: world["seo"].pid is not None)
    world.pass_time(4.9)
    assert world["seo"].state is State.STARTING
    world.pass_time(0.2)
    assert world["seo"].state is State.FAILED


def test_a_stop_cancels_a_launch_that_has_no_process_yet(world: World) -> None:
    world.plugin("seo", SLEEPER)
    line: list[Callable[[], None]] = []
    world.start_core()
    world.launcher.queue = line
    start = world.start("seo")
    assert world["seo"].phase is Phase.SPAWNING
    assert world.stop("seo").done == 1
    assert isinstance(start.error, PluginOffline)
    assert world["seo"].state is State.STOPPED
    line.pop()()
    world.until(lambda: not world.supervisor._context.processes, "the late process killed and reaped")
    assert world["seo"].state is State.STOPPED


@pytest.mark.parametrize("forks", [True, False])
def test_orphans_are_searched_for_only_after_a_process_that_can_fork(world: World, monkeypatch, forks: bool) -> None:
    """A search reads the whole of /proc."""
    world.plugin("seo")
    world.start_core()
    world.launcher.forks = forks
    pid = world.make_ready("seo")
    searched: list[int] = []
    monkeypatch.setattr(world.supervisor.orphans, "clear_session", searched.append)
    world.kill("seo")
    world.until(lambda: world.supervisor.process_of(pid) is None)
    assert searched == [pid] * forks
    monkeypatch.undo()
