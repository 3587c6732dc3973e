"""Restricted containers: refused system calls, low limits, foreign volumes, read-only roots."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from reed.client import Client
from tests.waiting import until

DENYING = Path(__file__).parents[1] / "denying.py"
PATIENCE = 20.0
ECHO = 'local plugin = require("reed").create_plugin{name="echo",version="1.0.0"}\n'
ECHO += 'plugin.action("echo", function(text) return text end)\nplugin.run()\n'
ROW = 'echo,lua,{},1.0.0,"snippet_read","admin",true,"answers"'
ACTIONS = "actions: {echo: {command_id: 1}}"

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")


def denying(error: str, *calls: str) -> tuple[str, ...]:
    """A command prefix that refuses these system calls."""
    wrapper = (sys.executable, str(DENYING), error, ",".join(calls))
    tried = subprocess.run([*wrapper, "/bin/true"], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip("no seccomp filter can be installed here")
    return wrapper


def mounting(script: str) -> tuple[str, ...]:
    """A command prefix that runs the script in a new mount namespace first."""
    if not shutil.which("unshare") or subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        pytest.skip("no mount namespace can be made here")
    return ("unshare", "-m", "sh", "-ec", f'{script}\nexec "$@"', "sh")


def run(*command: object, **more) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, timeout=60, **more
    )


def refusal(site, *wrapper: str, **more) -> str:
    """The one line of a core that cannot start."""
    ended = run(*wrapper, *site.command(), cwd=site.root, **more)
    assert ended.returncode == 1, ended.stderr
    lines = [line for line in ended.stderr.splitlines() if "descriptors are allowed" not in line]
    assert len(lines) == 1, ended.stderr
    return lines[0]


@pytest.fixture
def echo(site):
    """A site with one plugin that starts with the core."""
    site.add_lua_plugin("echo", ECHO, ACTIONS)
    site.set_rows(ROW)
    return site


def answers(site) -> bool:
    with Client(site.socket_path) as core:
        core.plugin_start("echo")
        return core.plugin_send("echo", "echo", 7).body == b"7"


def pid_of_echo(site) -> int:
    with Client(site.socket_path) as core:
        return int(core.plugin_health("echo")[0]["pid"] or 0)


# System calls.


@pytest.mark.parametrize("error", ["EPERM", "ENOSYS"])
@pytest.mark.parametrize(
    "calls",
    [("pidfd_open",), ("pidfd_send_signal",), ("waitid:3",), ("pidfd_open", "pidfd_send_signal", "waitid:3")],
    ids="+".join,
)
def test_everything_works_without_pidfds(echo, error: str, calls: tuple[str, ...]) -> None:
    wrapper = denying(error, *calls)
    echo.start(wrapper=wrapper)
    assert answers(echo)
    warning = next(line for line in echo.log.read_text().splitlines() if "WARNING" in line)
    for call in calls:
        assert call.partition(":")[0] in warning

    killed = pid_of_echo(echo)
    os.kill(killed, signal.SIGKILL)
    until(lambda: pid_of_echo(echo) not in {0, killed}, "its end was not noticed")
    assert answers(echo)

    runs = pid_of_echo(echo)
    command = [*wrapper, sys.executable, "-m", "reed"]
    environ = {**os.environ, "REED_RUNTIME_DIR": str(echo.runtime_dir)}
    restarted = run(*command, "restart", env=environ)
    assert restarted.returncode == 0, restarted.stderr
    assert answers(echo)
    assert pid_of_echo(echo) == runs, "the next core did not adopt it"

    stopped = run(*command, "stop", env=environ)
    assert stopped.returncode == 0, stopped.stderr
    assert echo.process.wait(PATIENCE) == 0
    echo.no_tracebacks()


@pytest.mark.parametrize(
    ("call", "named"),
    [("setsid", "setsid"), ("prlimit64", "prlimit64"), ("epoll_create1", "epoll_create1"), ("flock", "core.lock")],
)
@pytest.mark.parametrize("error", ["EPERM", "ENOSYS"])
def test_a_required_system_call_that_is_refused_is_named_in_one_line(site, error: str, call: str, named: str) -> None:
    line = refusal(site, *denying(error, call))
    assert named in line
    assert call.removesuffix("64") in line
    assert "seccomp" in line


def test_a_core_in_the_background_names_it_too(site) -> None:
    environ = {**os.environ, "REED_RUNTIME_DIR": str(site.runtime_dir), "REED_DATA_DIR": str(site.data_dir)}
    ended = run(*denying("EPERM", "setsid"), sys.executable, "-m", "reed", "start", cwd=site.root, env=environ)
    assert ended.returncode == 1
    assert "setsid" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_parent_that_ignores_sigchld_changes_nothing(echo) -> None:
    ignoring = (
        "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execvp(sys.argv[1], sys.argv[1:])"
    )
    echo.start(wrapper=(sys.executable, "-c", ignoring))
    assert answers(echo)
    os.kill(pid_of_echo(echo), signal.SIGKILL)
    until(lambda: "killed by SIGKILL" in echo.log.read_text(), "its exit status is unknown")
    assert answers(echo)
    assert echo.stop() == 0
    echo.no_tracebacks()


# Limits.


@pytest.mark.skipif(not shutil.which("prlimit"), reason="prlimit is not here")
def test_64_descriptors_are_enough_for_a_plugin(echo) -> None:
    echo.start(wrapper=("prlimit", "--nofile=64:64"))
    assert answers(echo)
    assert "64 descriptors" in echo.log.read_text()
    assert "pages are not made ready" not in echo.log.read_text()


@pytest.mark.skipif(not shutil.which("prlimit"), reason="prlimit is not here")
def test_too_few_descriptors_are_reported_in_one_line(site) -> None:
    assert "ulimit -n" in refusal(site, "prlimit", "--nofile=12:12")


# Folders.


def test_a_deleted_working_directory_is_named_as_the_cause(site, tmp_path) -> None:
    gone = tmp_path / "gone"
    for verb in ("serve", "start"):
        gone.mkdir()
        code = f"import os; os.rmdir(os.getcwd()); os.execv({sys.executable!r}, ['python', '-m', 'reed', {verb!r}])"
        ended = run(sys.executable, "-c", code, cwd=gone, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
        assert ended.returncode == 1
        assert "working directory" in ended.stderr
        assert len(ended.stderr.strip().splitlines()) == 1


@as_root
def test_a_full_disk_below_the_runtime_folder_is_reported_and_a_running_core_continues(echo) -> None:
    run_dir = echo.runtime_dir
    run_dir.mkdir(mode=0o700)
    small = f"mount -t tmpfs -o size=64k,mode=700 none {run_dir}"
    full = f"dd if=/dev/zero of={run_dir}/fill bs=1k 2>/dev/null || true"
    line = refusal(echo, *mounting(f"{small}\n{full}"))
    assert str(run_dir) in line
    assert "No space left" in line

    echo.start(wrapper=mounting(small))
    inside = Path(f"/proc/{echo.process.pid}/root{run_dir}")
    with Client(inside / "core.sock") as core:
        core.plugin_start("echo")
        with (inside / "fill").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(1024))
        core.plugin_stop("echo")
        core.plugin_start("echo")
        assert core.plugin_send("echo", "echo", 7).body == b"7"
    assert echo.stop() == 0
    echo.no_tracebacks()


def test_the_runtime_folder_may_have_a_long_path_with_real_processes(echo, tmp_path) -> None:
    """The core, a Lua plugin that reconnects, a client and a monitor."""
    deep = tmp_path / ("deep" * 40)
    deep.mkdir()
    echo.runtime_dir = deep / "run"
    echo.start()
    assert answers(echo)
    runs = pid_of_echo(echo)
    echo.kill()
    echo.start()
    until(lambda: pid_of_echo(echo) == runs and answers(echo), "it was not adopted")
    environ = {**os.environ, "REED_RUNTIME_DIR": str(echo.runtime_dir)}
    monitor = subprocess.Popen(
        [sys.executable, "-m", "reed", "monitor"], env=environ, stdout=subprocess.PIPE, text=True, cwd=echo.root
    )
    until(lambda: "started monitoring" in echo.log.read_text(), "no monitor")
    answers(echo)
    assert "PLUGIN" in monitor.stdout.readline()
    monitor.terminate()
    monitor.communicate()
    assert echo.reed("stop").returncode == 0
    assert echo.process.wait(PATIENCE) == 0


@as_root
def test_a_restart_needs_no_folder_for_temporary_files(echo, tmp_path) -> None:
    """The root and /tmp are read-only; only the runtime folder and the data folder are writable."""
    script = [
        "mount -o remount,ro,bind /",
        "for each in /tmp /var/tmp; do mount -o remount,ro,bind $each 2>/dev/null || true; done",
    ]
    for folder in (echo.runtime_dir, echo.data_dir):
        folder.mkdir(mode=0o700)
        script.insert(0, f"mount --bind {folder} {folder}")
    echo.start(wrapper=mounting("\n".join(script)))
    assert answers(echo)
    runs = pid_of_echo(echo)
    restarted = echo.reed("restart")
    assert restarted.returncode == 0, restarted.stderr
    assert answers(echo)
    assert pid_of_echo(echo) == runs
    echo.no_tracebacks()


@as_root
def test_a_missing_proc_is_reported(site) -> None:
    assert "mount -t proc" in refusal(site, *mounting("umount -l /proc"))


# Who may what.


@as_root
def test_a_core_in_another_pid_namespace_is_recognised(echo) -> None:
    echo.start()
    environ = {**os.environ, "REED_RUNTIME_DIR": str(echo.runtime_dir)}
    for flags, kind in ((["--pid", "--mount-proc"], "PID"), (["--time", "--boottime", "1000"], "time")):
        if run("unshare", *flags, "--fork", "true").returncode:
            pytest.skip(f"no {kind} namespace can be made here")
        ended = run("unshare", *flags, "--fork", sys.executable, "-m", "reed", "stop", env=environ)
        assert ended.returncode == 1, ended.stderr
        assert f"another {kind} namespace" in ended.stderr
    assert answers(echo)
