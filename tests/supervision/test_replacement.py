"""Replacement: the old process stays active until the new one is READY."""

from __future__ import annotations

from pathlib import Path

import pytest

from reed.errors import Invalid
from reed.supervision.lifecycle import State
from reed.wire.codes import Signal

from .conftest import SLEEPER, Answer, World

READY = Signal.PLUGIN_READY


def replace(world: World, name: str = "seo") -> Answer:
    answer = Answer()
    world.supervisor.replace(name, answer.on_done, answer.on_failed)
    return answer


def reload(world: World) -> Answer:
    answer = Answer()
    world.write_rows()
    world.supervisor.reload(answer.on_done, answer.on_failed)
    world.until(lambda: answer.done or answer.error or world["seo"].replacement.process, "read again")
    return answer


def candidate(world: World) -> int:
    """The pid of the candidate."""

    def pid() -> int | None:
        process = world["seo"].replacement.process
        return process.pid if process else None

    world.until(pid, "a candidate")
    found = pid()
    assert found is not None
    return found


@pytest.fixture
def old(world: World) -> int:
    """The pid of a plugin seo that is READY."""
    world.plugin("seo", SLEEPER)
    world.start_core()
    pid = world.make_ready("seo")
    world.until(lambda: "sleep" in Path(f"/proc/{pid}/comm").read_text(), "its script read: tests write another")
    return pid


def test_a_candidate_takes_over_when_it_is_ready(world: World, old: int) -> None:
    world.plugin("seo", manifest="settings: {a: 1}\n")
    answer = reload(world)
    new = candidate(world)
    assert (world["seo"].pid, world["seo"].state, world["seo"].spec.launch.settings) == (old, State.READY, {})
    assert world.supervisor.owner_of(old) == world.supervisor.owner_of(new) == "seo"
    assert not answer.done
    world.candidate_says("seo", READY)
    assert (world["seo"].pid, world["seo"].state, world["seo"].spec.launch.settings) == (new, State.READY, {"a": 1})
    assert answer.done == 1
    assert world.sent == [("seo", Signal.SHUTDOWN_GRACEFUL)]
    world.pass_time(5.1)
    world.until(lambda: world.gone(old), "the old process gone")
    assert world["seo"].state is State.READY
    assert world["seo"].pid == new
    assert world.changes == [("seo", State.STARTING), ("seo", State.READY)]


@pytest.mark.parametrize(
    "change",
    [
        lambda world: world.script("seo", "sleep 1; " + SLEEPER),
        lambda world: world.plugin("seo", manifest="settings: {a: 1}\n"),
        lambda world: world.plugin("seo", version="2.0.0"),
        lambda world: world.plugin("seo", permissions="snippet_read,snippet_write"),
    ],
    ids=["code", "settings", "version", "permissions"],
)
def test_a_reload_notices_what_changed(world: World, old: int, change) -> None:
    assert reload(world).done == 1, "nothing changed yet"
    assert world["seo"].replacement.process is None
    change(world)
    reload(world)
    new = candidate(world)
    world.candidate_says("seo", READY)
    assert world["seo"].pid == new != old
    assert reload(world).done == 1
    assert world["seo"].replacement.process is None


def test_a_changed_row_applies_only_to_the_new_process(world: World, old: int) -> None:
    world.plugin("seo", permissions="snippet_read,snippet_write")
    reload(world)
    new = candidate(world)
    processes = [world.supervisor.process_of(pid) for pid in (old, new)]
    assert [len(process.spec.row.required_permissions) for process in processes if process] == [1, 2]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo no such module; exit 3", "no such module"),
        ("exec /missing", "exit status"),
    ],
)
def test_a_candidate_that_exits_is_refused(world: World, old: int, script: str, reason: str) -> None:
    world.script("seo", script)
    answer = reload(world)
    world.until(lambda: answer.error is not None)
    assert reason in str(answer.error)
    assert reason in world.supervisor.describe("seo")[0]["reason"]
    assert (world["seo"].pid, world["seo"].state) == (old, State.READY)
    assert world["seo"].backoff.total == 0


@pytest.mark.parametrize("lines", [[], ["no such module"], ["a", "b", "c", "d"]], ids=len)
def test_a_refusal_has_only_the_last_lines_of_the_candidate(world: World, lines: list[str]) -> None:
    world.plugin("seo", f"echo old 1; echo old 2; echo old 3; {SLEEPER}")
    world.start_core()
    world.make_ready("seo")
    world.until(lambda: "old 3" in world["seo"].output.last_lines)
    world.script("seo", "".join(f"echo {line}; " for line in lines) + "exit 3")
    answer = reload(world)
    world.until(lambda: answer.error is not None)
    refused = world["seo"].replacement.refused
    assert " | ".join(lines[-3:]) in refused
    assert "old" not in refused


def test_a_relaunched_start_has_the_last_lines_of_the_second_process(world: World) -> None:
    world.plugin("seo", f"echo first; {SLEEPER}")
    world.start_core()
    started = world.start("seo")
    world.until(lambda: "first" in world["seo"].output.last_lines)
    world.script("seo", "echo second; exit 3")
    replace(world)
    world.until(lambda: started.error is not None)
    assert "second" in str(started.error)
    assert "first" not in str(started.error)


def test_a_candidate_that_is_not_ready_in_time_is_refused(world: World, old: int) -> None:
    answer = replace(world)
    new = candidate(world)
    world.pass_time(5.1)
    assert isinstance(answer.error, Invalid)
    world.until(lambda: world.gone(new))
    assert (world["seo"].pid, world["seo"].state) == (old, State.READY)
    assert world.supervisor.owner_of(new) is None


def test_an_invalid_manifest_is_refused_with_the_reason(world: World, old: int) -> None:
    world.plugin("seo", manifest="acions: {}\n")
    answer = reload(world)
    assert "acions" in str(answer.error)
    assert "acions" in world.supervisor.describe("seo")[0]["reason"]
    assert (world["seo"].pid, world["seo"].state) == (old, State.READY)
    world.plugin("seo")
    reload(world)
    candidate(world)
    world.candidate_says("seo", READY)
    assert world.supervisor.describe("seo")[0]["reason"] == ""


def test_a_program_that_is_not_executable_is_refused(world: World, old: int) -> None:
    (world.root / "plugins" / "seo" / "seo").chmod(0o600)
    answer = reload(world)
    assert isinstance(answer.error, Invalid)
    assert world["seo"].pid == old


def test_a_crash_of_the_active_process_aborts_the_replacement(world: World, old: int) -> None:
    answer = replace(world)
    new = candidate(world)
    world.kill("seo")
    world.until_state("seo", State.BACKOFF)
    assert isinstance(answer.error, Invalid)
    world.until(lambda: world.gone(new))
    world.pass_time(1)
    assert world["seo"].state is State.STARTING


def test_a_stop_ends_both_processes(world: World, old: int) -> None:
    replace(world)
    new = candidate(world)
    stopped = world.stop("seo")
    world.pass_time(5.1)
    world.until(lambda: world.gone(old) and world.gone(new) and stopped.done)
    assert world["seo"].state is State.STOPPED


def test_a_replacement_relaunches_a_starting_plugin(world: World) -> None:
    world.plugin("seo")
    world.start_core()
    started = world.start("seo")
    world.until(lambda: world["seo"].pid)
    first = world["seo"].pid
    answer = replace(world)
    world.until(lambda: world["seo"].pid not in (None, first))
    world.says("seo", READY)
    assert (started.done, answer.done) == (1, 1)


def test_a_reload_does_not_start_a_stopped_plugin(world: World) -> None:
    world.plugin("seo")
    world.start_core()
    world.plugin("seo", manifest="settings: {a: 1}\n")
    assert reload(world).done == 1
    assert world["seo"].state is State.STOPPED
    assert world["seo"].spec.launch.settings == {"a": 1}
    assert replace(world).done == 1
    assert world["seo"].state is State.STOPPED


def test_the_pid_file_names_the_active_process(world: World, old: int) -> None:
    def pids() -> dict[str, str]:
        files = Path(world.config.runtime_dir, "pid", "plugins").glob("*.pid")
        return {path.name: path.read_text().split()[0] for path in files}

    replace(world)
    new = candidate(world)
    assert pids() == {"seo.pid": str(old), "seo+2.pid": str(new)}
    world.candidate_says("seo", READY)
    assert pids() == {"seo.pid": str(new), "seo+1.pid": str(old)}
    world.pass_time(5.1)
    world.until(lambda: world.gone(old))
    world.until(lambda: pids() == {"seo.pid": str(new)})
