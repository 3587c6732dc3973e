"""Launching, watching and ending real processes; pid files."""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reed.config import PluginLimits
from reed.loop.loop import Loop
from reed.peer_log import PeerLog
from reed.plugin_types import NATIVE
from reed.process_handle import read_stat, start_time
from reed.sandbox.confine import Sandbox
from reed.supervision.adoption import kill_leftover, running_pid, write_pid_file
from reed.supervision.launch_spec import LaunchSpec
from reed.supervision.orphans import Orphans, children
from reed.supervision.watched_process import MAX_WALKED, WatchedProcess, memory_of
from reed.zygote.launcher import MAX_ATTEMPTS, ZygoteLauncher

if TYPE_CHECKING:
    from tests.supervision.conftest import World

MB = 1024 * 1024


def turn_until(loop: Loop, condition: Callable[[], object]) -> None:
    for _ in range(500):
        if condition():
            break
        loop.turn(0.02)


def make_launcher(loop: Loop) -> ZygoteLauncher:
    return ZygoteLauncher(loop, Sandbox(), PeerLog(logging.getLogger("tests.supervision"), loop))


class Launched:
    """A script, launched, with what it wrote and how it ended."""

    def __init__(
        self,
        loop: Loop,
        folder: Path,
        script: str,
        limits: PluginLimits | None = None,
        before_launch: Callable[[ZygoteLauncher], None] = lambda _: None,
        after_launch: Callable[[ZygoteLauncher], None] = lambda _: None,
    ) -> None:
        self.loop = loop
        self.pid = 0
        self.refusal = ""
        self.end = ""
        entry = folder / "seo"
        entry.write_text(script)
        entry.chmod(0o755)
        self.spec = LaunchSpec(
            name="seo",
            plugin_type=NATIVE,
            version="1.0.0",
            folder=folder,
            entry=entry,
            socket_path=folder / "seo.sock",
            runtime_dir=folder / "run",
            data_dir=folder / "data",
            settings={"words": ["ä", 1]},
            limits=limits or PluginLimits(),
            permissions=("snippet_read",),
            actions={"go": 1},
        )
        self._read, write = os.pipe()
        self.launcher = make_launcher(loop)
        before_launch(self.launcher)
        self.launcher.launch(self.spec, write, self._launched, self._refused)
        os.close(write)
        after_launch(self.launcher)
        turn_until(loop, lambda: self.pid or self.refusal)
        self.launcher.close()

    def _launched(self, pid: int) -> None:
        self.pid = pid
        self.child = WatchedProcess(self.loop, pid, self._ended)

    def _refused(self, reason: str) -> None:
        self.refusal = reason

    def _ended(self, reason: str) -> None:
        self.end = reason

    def wait(self) -> str:
        turn_until(self.loop, lambda: self.end)
        return self.end

    def output(self) -> str:
        with os.fdopen(self._read, closefd=False) as file:
            return file.read()

    def line(self) -> str:
        return os.read(self._read, 1000).decode().strip()


@pytest.fixture
def loop() -> Iterator[Loop]:
    bugs: list[BaseException] = []
    made = Loop(on_exception=bugs.append)
    yield made
    made.close()
    assert not bugs


def test_a_plugin_inherits_nothing_but_its_environment(
    loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "of the core")
    inherited = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(inherited, True)
    script = "#!/bin/sh\nenv -0 | tr '\\0' '\\n'\necho CWD=$(pwd)\nreadlink /proc/$$/fd/0\nls /proc/$$/fd"
    launched = Launched(loop, tmp_path, script)
    assert launched.wait() == "exit status 0"
    os.close(inherited)
    lines = launched.output().splitlines()
    stdin = lines.index("/dev/null")
    found = dict(line.split("=", 1) for line in lines[:stdin])
    assert {"SECRET", "HOME"}.isdisjoint(found)
    assert found["REED_PLUGIN_NAME"] == "seo"
    assert found["REED_SOCKET"] == str(tmp_path / "seo.sock")
    assert found["REED_DATA_DIR"] == str(tmp_path / "data")
    assert json.loads(found["REED_SETTINGS"]) == {"words": ["ä", 1]}
    assert found["CWD"] == str(tmp_path)
    assert set(lines[stdin + 1 :]) <= {"0", "1", "2", "10"}, "a shell reads its script from 10"


def test_it_leads_a_session_and_has_limits(loop: Loop, tmp_path: Path) -> None:
    launched = Launched(loop, tmp_path, "#!/bin/sh\nexec sleep 1000", PluginLimits(memory=64 * MB))
    assert os.getsid(launched.pid) == os.getpgid(launched.pid) == launched.pid
    assert resource.prlimit(launched.pid, resource.RLIMIT_DATA) == (64 * MB, 64 * MB)
    assert resource.prlimit(launched.pid, resource.RLIMIT_CORE) == (0, 0)
    assert 0 < launched.child.memory() < 64 * MB
    launched.child.kill()
    assert launched.wait() == "killed by SIGKILL"
    assert launched.child.memory() == 0


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("#!/no/such/interpreter\n", "No such file or directory"),
        ("", "Exec format error"),
    ],
)
def test_a_program_that_cannot_be_executed_is_reported(loop: Loop, tmp_path: Path, script: str, reason: str) -> None:
    launched = Launched(loop, tmp_path, script)
    assert launched.refusal == f"{tmp_path}/seo cannot be run: {reason}"
    assert not launched.pid


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 3", "exit status 3"),
        ("kill -SEGV $$", "killed by SIGSEGV"),
        ("kill -TERM $$", "killed by SIGTERM"),
        ("exec sleep 0", "exit status 0"),
    ],
)
def test_the_reason_of_an_exit(loop: Loop, tmp_path: Path, script: str, reason: str) -> None:
    assert Launched(loop, tmp_path, f"#!/bin/sh\n{script}\n").wait() == reason


def test_its_process_group_dies_with_it(loop: Loop, tmp_path: Path, world: World) -> None:
    launched = Launched(loop, tmp_path, "#!/bin/sh\nsleep 1000 &\necho $!\nexit 0")
    grandchild = int(launched.line())
    assert launched.wait() == "exit status 0"
    for _ in range(500):
        if world.gone(grandchild):
            break
        loop.turn(0.01)
    assert world.gone(grandchild)


def test_signals_to_an_ended_process_are_ignored(loop: Loop, tmp_path: Path) -> None:
    launched = Launched(loop, tmp_path, "#!/bin/sh\nexit 0")
    launched.wait()
    launched.child.send(signal.SIGTERM)
    launched.child.kill()


def test_a_process_that_is_already_gone_has_ended(loop: Loop) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    ends: list[str] = []
    WatchedProcess(loop, process.pid, ends.append)
    loop.turn(1)
    assert ends == ["ended before it was seen"]


def test_the_memory_of_a_missing_process_is_zero() -> None:
    assert memory_of(2**22 + 1) == 0


def test_the_memory_of_a_large_process_is_close_to_its_pss_though_nobody_walks_its_pages() -> None:
    code = f"import sys; held = bytearray({MAX_WALKED}); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        assert MAX_WALKED < memory_of(process.pid) < 2 * MAX_WALKED
        process.stdin.close()


def test_a_pid_file_identifies_one_process(tmp_path: Path) -> None:
    path = tmp_path / "seo.pid"
    process = subprocess.Popen(["sleep", "1000"])
    try:
        write_pid_file(path, process.pid)
        assert path.read_text().split() == [str(process.pid), str(start_time(process.pid))]
        assert running_pid(path) == process.pid
        path.write_text(f"{process.pid} 12\n")
        assert running_pid(path) is None, "the pid was reused"
        for invalid in ("", "x y", "1", "1 2 3", f"{process.pid}"):
            path.write_text(invalid)
            assert running_pid(path) is None
        assert running_pid(tmp_path / "none.pid") is None
    finally:
        process.kill()
        process.wait()


def test_a_leftover_is_killed_only_if_its_start_time_matches(tmp_path: Path) -> None:
    path = tmp_path / "seo.pid"
    process = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    path.write_text(f"{process.pid} 1\n")
    assert kill_leftover(path) is None
    assert process.poll() is None
    write_pid_file(path, process.pid)
    assert kill_leftover(path) == process.pid
    assert process.wait(10) == -signal.SIGKILL
    assert not path.exists()


def test_a_core_kills_processes_of_an_earlier_core_that_it_cannot_adopt(world: World) -> None:
    world.plugin("seo")
    folder = world.root / "run/pid/plugins"
    folder.mkdir(parents=True)
    process = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    write_pid_file(folder / "seo.pid", process.pid)
    world.start_core()
    assert process.wait(10) == -signal.SIGKILL
    assert list(folder.iterdir()) == []


def test_a_closed_launcher_leaves_no_process(loop: Loop) -> None:
    before = {*children()}
    launcher = make_launcher(loop)
    launcher.start()
    turn_until(loop, lambda: {read_stat(pid).name for pid in {*children()} - before} == {"reed:zygote", "reed:spare"})
    launcher.close()
    assert {*children()} == before


def test_a_launch_of_a_program_leaves_no_process(loop: Loop, tmp_path: Path) -> None:
    before = {*children()}
    assert Launched(loop, tmp_path, "#!/bin/sh\n").wait() == "exit status 0"
    assert {*children()} == before


def test_a_worker_that_was_killed_before_it_was_ready_is_reaped(loop: Loop) -> None:
    """Nobody knows its pid yet, and a core that is embedded does not reap all children of the program."""
    launcher = make_launcher(loop)
    orphans = Orphans(loop, launcher._log, (), launcher.zygotes, launcher.is_launching)
    before = {*children()}
    ours, theirs = socket.socketpair()
    with ours, theirs:
        launcher.launch_worker(MB, {}, theirs, lambda _: None)
        turn_until(loop, lambda: workers(before))
        (worker,) = workers(before)
        os.kill(worker, signal.SIGKILL)
    orphans.sweep()
    turn_until(loop, lambda: worker not in {*children()})
    assert worker not in {*children()}
    launcher.close()


def kill_zygote(launcher: ZygoteLauncher) -> None:
    """With the spare. The loop has not noticed when this returns."""
    zygote = launcher.zygotes[-1]
    spares = [pid for pid in children() if read_stat(pid).name == "reed:spare"]
    for pid in (zygote, *spares):
        os.kill(pid, signal.SIGKILL)
    for pid in (zygote, *spares):
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def test_a_launch_whose_zygote_was_killed_is_repeated(loop: Loop, tmp_path: Path) -> None:
    def stop(launcher: ZygoteLauncher) -> None:
        """While it still imports, before a spare could read the request."""
        launcher.start()
        os.kill(launcher.zygotes[-1], signal.SIGSTOP)

    launched = Launched(loop, tmp_path, "#!/bin/sh\necho here\n", before_launch=stop, after_launch=kill_zygote)
    assert (launched.refusal, launched.wait()) == ("", "exit status 0")
    assert launched.output() == "here\n"
    assert len(launched.launcher.zygotes) == 2


def test_a_launch_after_the_zygote_was_killed_starts_another(loop: Loop, tmp_path: Path) -> None:
    def start_and_kill(launcher: ZygoteLauncher) -> None:
        launcher.start()
        kill_zygote(launcher)

    launched = Launched(loop, tmp_path, "#!/bin/sh\necho here\n", before_launch=start_and_kill)
    assert (launched.refusal, launched.wait()) == ("", "exit status 0")
    assert launched.output() == "here\n"


def test_a_launch_fails_when_no_zygote_survives(loop: Loop, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    descriptors = len(os.listdir("/proc/self/fd"))
    launched = Launched(loop, tmp_path, "#!/bin/sh\n")
    assert launched.refusal == f"the zygote died during {MAX_ATTEMPTS} attempts; see the core's log"
    assert len(launched.launcher.zygotes) == MAX_ATTEMPTS
    os.close(launched._read)
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_a_worker_whose_zygote_was_killed_is_launched_again(loop: Loop) -> None:
    launcher = make_launcher(loop)
    before = {*children()}
    failures: list[str] = []
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            launcher.start()
            os.kill(launcher.zygotes[-1], signal.SIGSTOP)
            launcher.launch_worker(MB, {}, theirs, failures.append)
        kill_zygote(launcher)
        turn_until(loop, lambda: workers(before) or failures)
        assert not failures
        assert len(workers(before)) == 1
    launcher.close()


def workers(before: set[int]) -> list[int]:
    return [pid for pid in {*children()} - before if read_stat(pid).name == "reed:worker"]
