"""Starting, stopping, crashing and hanging plugins: real processes, and a clock that the test turns forward."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from reed.config import PluginConfig, PluginLimits, Timing
from reed.errors import PluginNotFound, PluginOffline
from reed.supervision.lifecycle import State
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
    assert world.start("seo").done == 1, "it runs already"
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


def test_auto_start_starts_what_the_rows_say(world: World) -> None:
    world.plugin("yes", auto_start=True)
    world.plugin("no")
    world.start_core().auto_start()
    assert (world["yes"].state, world["no"].state) == (State.STARTING, State.STOPPED)
    assert world.added == ["yes", "no"]


def test_an_unknown_plugin_is_named_with_the_nearest(world: World) -> None:
    world.plugin("simple-seo")
    world.start_core()
    for answer in (world.start("simple-soe"), world.stop("simple-soe")):
        assert isinstance(answer.error, PluginNotFound)
        assert str(answer.error) == "no plugin 'simple-soe' in the registry; did you mean 'simple-seo'?"


# Plugins that cannot run.


def test_a_plugin_without_a_folder_fails_alone(world: World) -> None:
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
    assert world["gone"].reason.startswith(f"{world.root}/plugins/gone: no folder of this plugin;")
    assert world["bad"].reason.endswith("plugin.yaml:3:1: acions: unknown key; did you mean 'actions'?")
    answer = world.start("bad")
    assert isinstance(answer.error, PluginOffline)
    assert "plugin bad: " in str(answer.error)
    assert "unknown key; did you mean 'actions'?" in str(answer.error)
    world.plugin("bad")
    world.make_ready("bad")


def test_what_cannot_be_executed_fails_with_the_reason(world: World) -> None:
    world.plugin("seo")
    (world.root / "plugins/seo/seo").write_text("#!/no/such/interpreter\n")
    world.start_core()
    answer = world.start("seo")
    assert str(answer.error).startswith(f"plugin seo: {world.root}/plugins/seo/seo cannot be run: No such file")
    assert world["seo"].state is State.FAILED
    world.script("seo", SLEEPER)
    world.make_ready("seo")


def test_who_waits_for_a_start_is_told_why_there_is_none(world: World) -> None:
    world.plugin("seo", "echo one; echo 'main.lua:3: unexpected symbol' >&2; exit 3")
    world.start_core()
    answer = world.start("seo")
    world.until_state("seo", State.BACKOFF)
    assert str(answer.error) == (
        "plugin seo: exit status 3; its last lines: one | main.lua:3: unexpected symbol; see `reed plugin logs seo`"
    )
    assert isinstance(answer.error, PluginOffline)


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
    assert str(answer.error).startswith("plugin seo: killed: it was not ready within 5 s; its last lines: thinking")
    world.until(lambda: world.gone(pid), "gone")
    assert world.supervisor.owner_of(pid) is None
    assert "killed: it was not ready within 5 s" in world.written("seo")
    world.pass_time(100)
    assert world["seo"].state is State.FAILED, "only a start helps"
    world.make_ready("seo")


# Crashes.


def test_a_killed_plugin_is_started_again(world: World) -> None:
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


def test_five_restarts_in_a_minute_and_then_it_is_failed(world: World) -> None:
    world.plugin("seo", "echo attempt; exit 7")
    world.start_core()
    world.start("seo")
    for delay in (0.2, 0.4, 0.8, 1.6, 3.2):
        world.until_state("seo", State.BACKOFF)
        world.pass_time(delay - 0.01)
        assert world["seo"].state is State.BACKOFF
        world.pass_time(0.02)
    world.until_state("seo", State.FAILED)
    assert world["seo"].reason == "exit status 7; that was crash 6 within 60 s"
    assert world["seo"].generation == 6
    assert list(world["seo"].output.last_lines) == ["attempt"] * 6
    world.script("seo", SLEEPER)
    world.make_ready("seo")
    world.kill("seo")
    world.until_state("seo", State.BACKOFF)  # the start forgave the crashes before it


def test_a_start_during_the_delay_is_at_once(world: World) -> None:
    world.plugin("seo")
    world.start_core()
    world.make_ready("seo")
    world.kill("seo")
    world.until_state("seo", State.BACKOFF)
    world.make_ready("seo")
    world.pass_time(60)
    assert world["seo"].generation == 2, "the planned restart was forgotten"


def test_a_stop_during_the_delay_ends_it(world: World) -> None:
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
    assert world.stop("seo").done == 1, "it is stopped already"
    world.pass_time(100)
    assert world["seo"].state is State.STOPPED, "it is not started again"


def test_a_plugin_that_ignores_all_is_killed_after_5_and_2_seconds(world: World) -> None:
    world.plugin("seo", "trap 'echo no' TERM; echo up; while :; do sleep 0.01; done")
    world.start_core()
    pid = world.make_ready("seo")
    world.until(lambda: world["seo"].output.last_lines)
    answer = world.stop("seo")
    world.pass_time(4.9)
    assert list(world["seo"].output.last_lines) == ["up"]
    world.pass_time(0.2)
    world.until(lambda: "no" in world["seo"].output.last_lines, "told by SIGTERM")
    world.pass_time(1.9)
    assert not world.gone(pid)
    world.pass_time(0.2)
    world.until(lambda: answer.done)
    assert world.gone(pid)


def test_without_a_connection_it_gets_sigterm_at_once(world: World) -> None:
    world.plugin("seo")
    world.start_core()
    world.make_ready("seo")
    world.hears = lambda _name, _kind: False
    answer = world.stop("seo")
    world.until(lambda: answer.done)


def test_a_stop_before_it_was_ready_fails_the_start(world: World) -> None:
    world.plugin("seo")
    world.start_core()
    start = world.start("seo")
    world.hears = lambda _name, _kind: False
    stop = world.stop("seo")
    assert str(start.error).startswith("plugin seo: it was stopped before it was ready")
    world.says("seo", READY)
    assert world["seo"].state is State.STOPPING, "too late"
    world.until(lambda: stop.done)


def test_a_start_while_it_stops_follows_the_stop(world: World) -> None:
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
    assert isinstance(start.error, PluginOffline), "the last word holds"
    world.until_state("seo", State.STOPPED)


def test_who_waits_for_a_stop_may_start_again(world: World) -> None:
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
    assert str(world.start("one").error) == "plugin one: the core is stopping"
    world.until(lambda: done)
    assert all(world.gone(pid) for pid in pids)
    assert {plugin.state for plugin in world.supervisor.plugins.values()} == {State.STOPPED}
    assert done == [True]


# Health and signals.


def test_three_missed_checks_and_it_is_killed_and_started_again(world: World) -> None:
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
    assert world["seo"].reason == "killed: it did not answer 3 health checks"
    assert world.sent.count(("seo", Signal.HEALTH_CHECK)) == 8
    world.until(lambda: world.gone(pid))
    world.pass_time(1)
    assert world["seo"].state is State.STARTING


def test_a_check_that_was_not_sent_is_no_miss(world: World) -> None:
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


def test_a_sleeping_plugin_is_not_woken_by_checks(world: World) -> None:
    world.plugin("seo")
    world.start_core()
    world.make_ready("seo")
    world.says("seo", SLEEPING)
    for _ in range(10):
        world.pass_time(10)
    assert world["seo"].state is State.SLEEPING
    assert ("seo", Signal.HEALTH_CHECK) not in world.sent


def test_a_hung_plugin_is_killed_when_the_core_says_so(world: World) -> None:
    world.plugin("seo", "sleep 1000 & exec sleep 1000")
    world.start_core()
    pid = world.make_ready("seo")
    world.supervisor.kill("seo", "action validate did not end within 30 s")
    assert world["seo"].state is State.BACKOFF
    assert world["seo"].reason == "killed: action validate did not end within 30 s"
    assert world.supervisor.owner_of(pid) is None, "what it still says is nobody's"
    world.until(lambda: world.gone(pid))


def test_who_disconnects_must_come_back_or_end(world: World) -> None:
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
    assert world["seo"].reason == "killed: it closed its connections and was not back within 5 s"


# Reload.


def reload(world: World) -> None:
    world.write_rows()
    answers: list[Exception | None] = []
    world.supervisor.reload(lambda _: answers.append(None), answers.append)
    world.until(lambda: answers, "read again")
    if answers[0] is not None:
        raise answers[0]


def test_a_bad_registry_changes_nothing(world: World) -> None:
    world.plugin("seo")
    world.start_core()
    pid = world.make_ready("seo")
    before = dict(world.supervisor.plugins)
    world.rows = {"new": "new,lua"}
    with pytest.raises(Exception, match=r"plugin-registry\.csv:2:5: 2 fields, expected 8"):
        reload(world)
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
    assert str(world.start("old").error).startswith("plugin old is being stopped")
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


def test_a_row_changed_in_the_rest_holds_at_once(world: World) -> None:
    world.plugin("seo")
    world.start_core()
    pid = world.make_ready("seo")
    world.rows["seo"] = world.rows["seo"].replace('"editor"', '"editor,author"')
    reload(world)
    assert world["seo"].row.user_groups == {"editor", "author"}
    assert (world["seo"].pid, world["seo"].state) == (pid, State.READY)


def test_a_broken_manifest_fails_what_does_not_run(world: World) -> None:
    world.plugin("seo")
    world.start_core()
    for key in ("acions", "evnts"):
        world.plugin("seo", manifest=f"{key}: {{}}\n")
        reload(world)
        assert world["seo"].state is State.FAILED
        assert f"{key}: unknown key" in world["seo"].reason


def test_what_failed_gets_another_chance(world: World) -> None:
    world.plugin("seo", manifest="acions: {}\n", auto_start=True)
    world.start_core().auto_start()
    assert world["seo"].state is State.FAILED
    world.plugin("seo", auto_start=True)
    reload(world)
    assert world["seo"].state is State.STARTING


def test_settings_and_timing_are_those_of_the_config(world: World) -> None:
    world.timing = Timing(start_deadline=1, restart_limit=0)
    world.settings = {"seo": PluginConfig({"a": 2}, PluginLimits(memory=64 * 1024 * 1024))}
    world.plugin("seo", 'echo "$REED_SETTINGS"; exit 1', manifest="settings: {a: 1, b: 1}\n")
    world.start_core()
    world.start("seo")
    world.until_state("seo", State.FAILED)
    assert list(world["seo"].output.last_lines) == ['{"a":2,"b":1}']
    assert world["seo"].reason == "exit status 1; that was crash 1 within 60 s"


def test_the_data_folder_is_made_with_file_write(world: World) -> None:
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
    world.until(lambda: all(entry["memory_bytes"] for entry in world.supervisor.describe()))


DOZER = 'trap "exit 0" USR1; trap "exit 3" USR2; echo up; while :; do sleep 0.01; done'


def doze(world: World) -> None:
    """A plugin that sleeps: SIGUSR1 ends it in order, SIGUSR2 as a crash does."""
    world.plugin("seo", DOZER)
    world.start_core()
    world.start("seo")
    world.until(lambda: "up" in world["seo"].output.last_lines)
    world.says("seo", READY)
    world.says("seo", SLEEPING)


def test_who_ends_in_its_sleep_has_no_process_until_it_is_woken(world: World) -> None:
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


def test_who_is_woken_on_its_way_to_deep_sleep_is_launched_again(world: World) -> None:
    doze(world)
    world.supervisor.wake("seo")
    os.kill(world["seo"].pid or 0, signal.SIGUSR1)
    world.until(lambda: world["seo"].state is State.STARTING)


def test_a_crash_in_its_sleep_is_a_crash(world: World) -> None:
    doze(world)
    os.kill(world["seo"].pid or 0, signal.SIGUSR2)
    world.until(lambda: world["seo"].state is State.BACKOFF)
    assert world["seo"].reason == "exit status 3"


def test_a_deep_sleeper_is_stopped_at_once(world: World) -> None:
    doze(world)
    os.kill(world["seo"].pid or 0, signal.SIGUSR1)
    world.until(lambda: world["seo"].pid is None)
    assert world.stop("seo").done == 1
    assert world["seo"].state is State.STOPPED


def test_many_rows_are_read_again_in_slices_and_who_asks_meanwhile_gets_what_is_newer(world: World) -> None:
    for number in range(30):
        world.plugin(f"p{number}")
    world.start_core()
    answers: list[str] = []
    world.supervisor.reload(lambda _: answers.append("first"), pytest.fail)
    slices = iter(range(1000))
    world.loop.now = lambda: world.clock() + next(slices)  # every step ends its slice
    world.loop.turn(0)
    assert answers == []
    world.plugin("newer")
    world.write_rows()
    world.supervisor.reload(lambda _: answers.append("second"), pytest.fail)
    while answers != ["first", "second"]:
        world.loop.turn(0)
    assert next(slices) > 60
    assert "newer" in world.supervisor.plugins


def test_the_deadline_of_a_start_counts_from_its_process_on(world: World) -> None:
    """Many are started at once, and processes are made one after another: waiting in line is no fault of a plugin."""
    world.plugin("seo", SLEEPER)
    line: list[Callable[[], None]] = []
    world.start_core()
    world.launcher.in_line = line
    world.start("seo")
    world.pass_time(20)
    assert world["seo"].state is State.STARTING
    line.pop()()
    world.until(lambda: world["seo"].pid is not None)
    world.pass_time(4.9)
    assert world["seo"].state is State.STARTING
    world.pass_time(0.2)
    assert world["seo"].state is State.FAILED
