"""Prepared files and folders, exhausted descriptors, and unknown users."""

from __future__ import annotations

import grp
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from reed.client import Client
from reed.core_process import CoreProcess
from reed.errors import CallError, PermissionDenied, ReedError

AS_ROOT = os.geteuid() == 0
NAMES = (
    "core.sock",
    "monitor.sock",
    "plugins/tool.sock",
    "fifos/tool→other",
    "pid/core.pid",
    "core.lock",
    "fifos",
    "pid",
)
KINDS = ("file", "folder", "link", "dangling link", "fifo", "socket")
ECHO = 'plugin.action("echo", function(text) return text end)'
ACTIONS = "actions:\n  echo: {command_id: 1}\n"


def test_twenty_cores_started_at_once(ground, tmp_path) -> None:
    client = ground.start()
    client.close()
    assert ground.site.stop() == 0
    with (tmp_path / "stdout").open("w") as stdout:
        cores = [
            subprocess.Popen(
                ground.site.command(), cwd=ground.site.root, stderr=subprocess.PIPE, stdout=stdout, text=True
            )
            for _ in range(20)
        ]
    losers = []
    ground.until(lambda: sum(core.poll() is None for core in cores) == 1, "more than one core, or none", 60)
    for core in cores:
        if core.poll() is None:
            core.returncode = 0  # CoreProcess waits for it, so Popen must not
            ground.site.process = CoreProcess(core.pid, ground.site.log)
        else:
            losers.append(core.communicate()[1].strip().splitlines())
    assert all(len(lines) == 1 and "another core" in lines[0] for lines in losers), losers
    ground.until(ground.site.socket_path.exists)
    with ground.fault("twenty cores started at once", "one runs, 19 fail with one line") as fault:
        fault.injected(20)


def test_stale_files_are_replaced_and_wrong_types_refused_by_name(ground, times, tmp_path) -> None:
    """Links are never followed."""
    ground.lua("tool", ECHO, ACTIONS)
    ground.lua("other", ECHO, ACTIONS)
    ground.start().close()
    assert ground.site.stop() == 0
    treasure = tmp_path / "treasure"
    treasure.write_text("unchanged")
    rnd = random.Random()
    ways = [(name, kind) for name in NAMES for kind in KINDS]
    chosen = rnd.sample(ways, min(len(ways), times(8, len(ways))))
    refused = 0
    for name, kind in chosen:
        put(ground.site.runtime_dir / name, kind, treasure)
        try:
            ground.site.start()
        except ReedError:
            refused += 1
            last = ground.site.log.read_text().strip().splitlines()[-1]
            assert name.split("/")[0] in last, f"{kind} at {name}: {last}"
        else:
            assert ground.site.stop() == 0
        assert treasure.read_text() == "unchanged", f"{kind} at {name}"
        clear(ground.site.runtime_dir / name)
    ground.site.start()
    with ground.fault("stale and wrong-typed files in the runtime folder", "replaced, or refused by name") as fault:
        with ground.client() as client:
            client.plugin_start("tool")
            assert client.plugin_send("tool", "echo", 1).body == b"1"
        fault.injected(len(chosen))


def put(path: Path, kind: str, treasure: Path) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    clear(path)
    if kind == "file":
        path.write_text("4711 1\n")
    elif kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(treasure)
    elif kind == "dangling link":
        path.symlink_to(treasure.with_name("nowhere"))
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(path))


def clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@pytest.mark.skipif(not AS_ROOT, reason="only root can act as another user")
def test_a_runtime_folder_prepared_by_another_user_is_refused(ground, tmp_path) -> None:
    run = ground.site.runtime_dir
    victim = tmp_path / "victim"
    victim.mkdir()

    def foreign() -> None:
        run.mkdir(mode=0o700)
        os.chown(run, 12345, 12345)

    def writable() -> None:
        run.mkdir()
        run.chmod(0o777)

    def link() -> None:
        run.symlink_to(victim)
        os.lchown(run, 12345, 12345)

    def foreign_inside() -> None:
        run.mkdir(mode=0o700)
        (run / "plugins").mkdir()
        os.chown(run / "plugins", 12345, 12345)

    for prepare in (foreign, writable, link, foreign_inside):
        clear(run)
        prepare()
        ended = subprocess.run(ground.site.command(), cwd=ground.site.root, capture_output=True, text=True, check=False)
        assert ended.returncode == 1
        assert len(ended.stderr.strip().splitlines()) == 1, ended.stderr
        assert str(run) in ended.stderr
        assert not list(victim.iterdir())
    clear(run)
    ground.start()
    with ground.fault("a runtime folder that another user prepared", "refused with one line, unchanged") as fault:
        fault.injected(4)


@pytest.mark.skipif(not AS_ROOT, reason="only root can become another user")
def test_unknown_users_get_nothing_on_core_sock(ground, times) -> None:
    client = ground.start()
    open_up(ground)

    def ask_for_everything() -> None:
        with Client(ground.site.socket_path) as stranger:
            for ask in (
                lambda: stranger.snippet_get("c1/1"),
                lambda: stranger.snippet_create("page", "", b"{}"),
                stranger.plugin_list,
                lambda: stranger.plugin_stop("tool"),
                stranger.stats,
                lambda: stranger.plugin_send("tool", "echo", 1),
            ):
                with pytest.raises(PermissionDenied, match="nobody"):
                    ask()

    def connect() -> None:
        with pytest.raises(ReedError, match="permission denied"):
            Client(ground.site.socket_path).stats()

    with ground.fault("unknown users on core.sock", "cannot connect; 403 if they can") as fault:
        for _ in range(times(2, 50)):
            as_nobody(connect)
            fault.injected()
            os.chmod(ground.site.socket_path, 0o666)
            os.chmod(ground.site.runtime_dir, 0o755)
            as_nobody(ask_for_everything)
            fault.injected(6)
            os.chmod(ground.site.socket_path, 0o600)
            os.chmod(ground.site.runtime_dir, 0o700)
    assert client.stats()["denied"] >= 6


def open_up(ground) -> None:
    for folder in (ground.site.root, *ground.site.root.parents):
        if folder.stat().st_uid == os.geteuid() and str(folder).startswith("/tmp/"):
            folder.chmod(0o755)


def as_nobody(action: Callable[[], None]) -> None:
    """Run `action` in a process of user nobody; an exception fails the test."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(grp.getgrnam("nogroup").gr_gid)
            os.setuid(pwd.getpwnam("nobody").pw_uid)
            action()
            os._exit(0)
        except BaseException:  # noqa: BLE001 - the child must not continue as the test
            traceback.print_exc()
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_the_core_survives_running_out_of_descriptors(ground, times) -> None:
    """Open connections are served; others wait until descriptors are free."""
    ground.lua("tool", ECHO, ACTIONS)
    client = ground.start("--log-level=error", wrapper=("prlimit", "--nofile=256:256"))
    with ground.fault("no descriptor is left", "open connections are served, others wait") as fault:
        for _ in range(times(1, 50)):
            crowd = []
            for _ in range(400):
                sock = socket.socket(socket.AF_UNIX)
                sock.connect(str(ground.site.socket_path))
                crowd.append(sock)
            ground.until(lambda: "Too many open files" in ground.site.log.read_text())
            assert client.plugin_send("tool", "echo", 1).body == b"1"
            for sock in crowd:
                sock.close()
            with ground.client() as another:
                another.stats()
            fault.injected()


def test_a_reader_recovers_from_a_fifo_full_of_garbage(ground, times) -> None:
    ground.lua("teller", TELLER, "actions:\n  tell: {command_id: 1, timeout: 20s}\n")
    ground.lua("listener", LISTENER, "")
    client = ground.start()
    rnd = random.Random()
    with ground.fault("a FIFO full of garbage, its reader suspended", "dropped; the next message arrives") as fault:
        for _ in range(times(3, 200)):
            pid = ground.plugin_pid(client, "listener")
            os.kill(pid, signal.SIGSTOP)
            fd = os.open(ground.site.runtime_dir / "fifos" / "teller→listener", os.O_RDWR | os.O_NONBLOCK)
            try:
                while True:
                    os.write(fd, rnd.choice([rnd.randbytes(rnd.randrange(1, 4096)), b"GMLP" * 200, b"GMLP\x01"]))
            except BlockingIOError:
                pass
            os.close(fd)
            os.kill(pid, signal.SIGCONT)
            try:
                assert b"heard" in client.plugin_send("teller", "tell", None).body
            except CallError as error:
                raise AssertionError(ground.site.log.read_text()) from error
            fault.injected()


TELLER = """
plugin.action("tell", function()
  return plugin.request("listener", 0x33, {}, 15)
end)
"""
LISTENER = """
plugin.register_message_handler(0x33, function() return { heard = true } end)
"""
