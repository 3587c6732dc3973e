"""New code, settings, manifest or row: a process beside the old one, which stays until the new one is READY."""

from __future__ import annotations

from pathlib import Path

import pytest

from reed.supervision.lifecycle import State
from reed.wire.codes import Signal

from .conftest import SLEEPER, Answer, World

READY = Signal.PLUGIN_READY


def renew(world: World, name: str = "seo") -> Answer:
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
    """The pid of the process that stands beside the active one."""

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


def test_the_new_process_takes_over_when_it_is_ready(world: World, old: int) -> None:
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


def test_a_changed_row_holds_for_the_new_process_alone(world: World, old: int) -> None:
    world.plugin("seo", permissions="snippet_read,snippet_write")
    reload(world)
    new = candidate(world)
    processes = [world.supervisor.process_of(pid) for pid in (old, new)]
    assert [len(process.spec.row.required_permissions) for process in processes if process] == [1, 2]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo no such module; exit 3", "exit status 3; its last lines: no such module"),
        ("exec /missing", "exit status"),
    ],
)
def test_a_new_version_that_ends_is_refused(world: World, old: int, script: str, reason: str) -> None:
    world.script("seo", script)
    answer = reload(world)
    world.until(lambda: answer.error is not None)
    assert reason in str(answer.error)
    assert reason in world.supervisor.describe("seo")[0]["reason"]
    assert (world["seo"].pid, world["seo"].state) == (old, State.READY)
    assert world["seo"].backoff.total == 0


@pytest.mark.parametrize("lines", [[], ["no such module"], ["a", "b", "c", "d"]], ids=len)
def test_a_refusal_has_the_last_lines_of_the_new_process_alone(world: World, lines: list[str]) -> None:
    world.plugin("seo", f"echo old 1; echo old 2; echo old 3; {SLEEPER}")
    world.start_core()
    world.make_ready("seo")
    world.until(lambda: "old 3" in world["seo"].output.last_lines)
    world.script("seo", "".join(f"echo {line}; " for line in lines) + "exit 3")
    answer = reload(world)
    world.until(lambda: answer.error is not None)
    shown = f"; its last lines: {' | '.join(lines[-3:])}" if lines else ""
    assert world["seo"].replacement.refused == f"the new version was refused: exit status 3{shown}"


def test_who_is_launched_again_while_it_starts_has_its_own_last_lines(world: World) -> None:
    world.plugin("seo", f"echo first; {SLEEPER}")
    world.start_core()
    started = world.start("seo")
    world.until(lambda: "first" in world["seo"].output.last_lines)
    world.script("seo", "echo second; exit 3")
    renew(world)
    world.until(lambda: started.error is not None)
    assert str(started.error).startswith("plugin seo: exit status 3; its last lines: second;")


def test_a_new_version_that_is_not_ready_in_time_is_refused(world: World, old: int) -> None:
    answer = renew(world)
    new = candidate(world)
    world.pass_time(5.1)
    assert "it was not ready within 5 s" in str(answer.error)
    world.until(lambda: world.gone(new))
    assert (world["seo"].pid, world["seo"].state) == (old, State.READY)
    assert world.supervisor.owner_of(new) is None


def test_a_new_version_with_a_bad_manifest_is_refused_with_the_reason(world: World, old: int) -> None:
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


def test_what_cannot_be_executed_is_refused(world: World, old: int) -> None:
    (world.root / "plugins" / "seo" / "seo").chmod(0o600)
    answer = reload(world)
    assert "is not executable" in str(answer.error)
    assert world["seo"].pid == old


def test_a_crash_of_the_old_one_gives_the_newcomer_up(world: World, old: int) -> None:
    answer = renew(world)
    new = candidate(world)
    world.kill("seo")
    world.until_state("seo", State.BACKOFF)
    assert "not tried to its end" in str(answer.error)
    world.until(lambda: world.gone(new))
    world.pass_time(1)
    assert world["seo"].state is State.STARTING


def test_a_stop_ends_both(world: World, old: int) -> None:
    renew(world)
    new = candidate(world)
    stopped = world.stop("seo")
    world.pass_time(5.1)
    world.until(lambda: world.gone(old) and world.gone(new) and stopped.done)
    assert world["seo"].state is State.STOPPED


def test_who_starts_is_launched_again(world: World) -> None:
    world.plugin("seo")
    world.start_core()
    started = world.start("seo")
    world.until(lambda: world["seo"].pid)
    first = world["seo"].pid
    answer = renew(world)
    world.until(lambda: world["seo"].pid not in (None, first))
    world.says("seo", READY)
    assert (started.done, answer.done) == (1, 1)


def test_what_does_not_run_is_not_started(world: World) -> None:
    world.plugin("seo")
    world.start_core()
    world.plugin("seo", manifest="settings: {a: 1}\n")
    assert reload(world).done == 1
    assert world["seo"].state is State.STOPPED
    assert world["seo"].spec.launch.settings == {"a": 1}
    assert renew(world).done == 1
    assert world["seo"].state is State.STOPPED


def test_the_pid_file_is_that_of_the_process_in_charge(world: World, old: int) -> None:
    def pids() -> dict[str, str]:
        files = Path(world.config.runtime_dir, "pid", "plugins").glob("*.pid")
        return {path.name: path.read_text().split()[0] for path in files}

    renew(world)
    new = candidate(world)
    assert pids() == {"seo.pid": str(old), "seo+2.pid": str(new)}
    world.candidate_says("seo", READY)
    assert pids() == {"seo.pid": str(new), "seo+1.pid": str(old)}
    world.pass_time(5.1)
    world.until(lambda: world.gone(old))
    world.until(lambda: pids() == {"seo.pid": str(new)})
