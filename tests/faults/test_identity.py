"""Identity: processes that a plugin creates, in whatever way, count as the plugin; those of others do not.

contrib/test.sh also runs these tests under `setpriv --no-new-privs`, which must make no difference.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reed.client import Client

# A native plugin that outlives its core: it reconnects to the next one, as the SDKs do, and may fork meanwhile.
CODE = """
import ctypes, json, os, signal, socket, struct, sys, time
HEADER = struct.Struct("<IBBBBI")
NAME, FOLDER = os.environ["REED_PLUGIN_NAME"], os.environ["REED_DATA_DIR"]
CORE = os.path.join(os.environ["REED_RUNTIME_DIR"], "core.sock")

def message(command, payload, flags=0):
    return HEADER.pack(0x52454544, 1, command, flags, 0, len(payload)) + payload
def read(sock, size):
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more: raise EOFError
        data += more
    return data
def receive(sock):
    _, _, command, flags, _, size = HEADER.unpack(read(sock, 12))
    return command, flags, read(sock, size)

def status_of(path, *request):
    "The status in the response, or 0 if the core closes the connection."
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        sock.settimeout(5)
        try:
            sock.sendall(message(*request))
            return struct.unpack_from("<H", receive(sock)[2])[0]
        except (EOFError, OSError):
            return 0
def attack(core=CORE):
    pad = lambda text, size: text.encode().ljust(size, b"\\0")
    content = b"{}"
    return {
        "create": status_of(core, 0x01, pad("page", 32) + bytes(32) + struct.pack("<I", len(content)) + content),
        "list": status_of(core, 0x05, bytes(72)),
        "stop": status_of(core, 0xF6, pad("other", 32)),
        "monitor": status_of(core.replace("core.sock", "monitor.sock"), 0xF9, b""),
    }
def report(name):
    result = attack()
    with open(os.path.join(FOLDER, "new"), "w") as file: json.dump(result | {"pid": os.getpid()}, file)
    os.rename(os.path.join(FOLDER, "new"), os.path.join(FOLDER, name))
def core_pid():
    with socket.socket(socket.AF_UNIX) as sock:
        try: sock.connect(CORE)
        except OSError: return 0
        return struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
def stays(name, then=lambda: None):
    then()
    report(name)
    while True: signal.pause()
def orphaned():
    "Waits until its parent has ended."
    parent = os.getppid()
    while os.getppid() == parent: time.sleep(0.001)

def fork_twice(name, then=orphaned):
    if not os.fork():
        if not os.fork(): stays(name, then)
        time.sleep(0.01)
        os._exit(0)
    os.wait()
def clone_parent(name):
    syscall = ctypes.CDLL(None).syscall
    number = {"x86_64": 56}.get(os.uname().machine, 220)
    if not syscall(number, 0x8000 | signal.SIGCHLD, 0, 0, 0, 0): stays(name)
def leave_session(name):
    if not os.fork():
        try: os.setsid()
        except OSError: pass
        if not os.fork(): stays(name, orphaned)
        time.sleep(0.01)
        os._exit(0)
    os.wait()
WAYS = {"fork_twice": fork_twice, "clone_parent": clone_parent, "leave_session": leave_session}

def between_cores(old):
    "A process that is forked while no core runs and connects to the next core."
    def until_the_next():
        while core_pid() in (0, old): time.sleep(0.005)
    fork_twice("between", until_the_next)

def session():
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(os.environ["REED_SOCKET"])
    actions = json.dumps({"actions": {"do": {"command_id": 1}}}).encode()
    sock.sendall(message(0xF0, struct.pack("<32s16sII", NAME.encode(), b"1.0.0", os.getpid(), len(actions)) + actions))
    receive(sock)
    core = core_pid()
    ready = message(0xF3, struct.pack("<BQ32sH", 1, 0, NAME.encode(), 0), 2)
    sock.sendall(ready)
    try:
        while True:
            command, flags, payload = receive(sock)
            if command == 1:
                way = json.loads(payload)
                if way.startswith("/"): answer = attack(way)
                else: WAYS[way](way); answer = None
                sock.sendall(message(1, struct.pack("<H", 200) + json.dumps(answer).encode(), 8))
            elif payload[0] == 0x10: sys.exit(0)
            else: sock.sendall(ready)
    except (EOFError, ConnectionError):
        return core
until = time.monotonic() + 30
while time.monotonic() < until:
    try: core = session()
    except (OSError, EOFError): time.sleep(0.01); continue
    until = time.monotonic() + 10
    between_cores(core)
"""

DENIED = {"create": 403, "list": 403, "stop": 403, "monitor": 0}


@pytest.fixture(params=["auto", "off"])
def attacker(request, ground):
    """A client of a core whose plugin has only the permission file_write."""
    ground.config = f"sandbox: {request.param}\ntiming: {{start_deadline: 15s}}\n"
    folder = ground.site.root / "plugins" / "forks"
    folder.mkdir()
    (folder / "plugin.yaml").write_text("name: forks\nversion: 1.0.0\nactions: {do: {command_id: 1}}\n")
    (folder / "forks").write_text(f"#!{sys.executable} -IS\n{CODE}")
    (folder / "forks").chmod(0o755)
    ground.plugins.append('forks,native,{},1.0.0,"file_write","admin",true,"an attacker"')
    ground.lua("other", "", "")
    ground.site.config.write_text(ground.config)
    ground.config = ""
    ground.site.allow_python("forks")
    return ground.start()


def report(ground, name: str) -> dict:
    """The report of a process of the plugin, once it is written."""
    path = ground.site.data_dir / "plugins" / "forks" / name
    ground.until(path.exists, f"no report from {name}\n{ground.site.log.read_text()}")
    return json.loads(path.read_text())


@pytest.mark.parametrize("way", ["fork_twice", "clone_parent", "leave_session"])
def test_children_of_an_adopted_plugin_have_no_more_permissions_than_the_plugin(ground, attacker, way) -> None:
    pid = ground.plugin_pid(attacker, "forks")
    ground.site.kill()
    ground.site.start()
    client = ground.client()
    client.plugin_start("forks")
    assert ground.plugin_pid(client, "forks") == pid, "not adopted"
    with ground.fault(f"an adopted plugin's child, {way}, uses core.sock", "denied; ends with its plugin") as fault:
        client.plugin_send("forks", "do", way)
        found = report(ground, way)
        made = found.pop("pid")
        assert found == DENIED
        assert json.loads(client.plugin_send("forks", "do", str(ground.site.socket_path)).body) == DENIED
        client.plugin_stop("forks")
        if not (way == "leave_session" and "off" in ground.site.config.read_text()):  # in a session of its own
            ground.until(lambda: not runs(made), "the child outlived its plugin")
        elif runs(made):
            os.kill(made, signal.SIGKILL)
        fault.injected()


def test_children_forked_between_two_cores_have_no_permissions_and_end_with_the_plugin(ground, attacker) -> None:
    pid = ground.plugin_pid(attacker, "forks")
    ground.site.kill()
    ground.site.start()
    client = ground.client()
    client.plugin_start("forks")
    assert ground.plugin_pid(client, "forks") == pid, "not adopted"
    with ground.fault("a child forked between two cores uses core.sock", "denied; ends with its plugin") as fault:
        found = report(ground, "between")
        made = found.pop("pid")
        assert found == DENIED
        client.plugin_stop("forks")
        ground.until(lambda: not runs(made), "the child outlived its plugin")
        fault.injected()


def test_the_next_core_kills_the_children_of_a_plugin_that_died_with_its_core(ground, attacker) -> None:
    attacker.plugin_send("forks", "do", "fork_twice")
    made = report(ground, "fork_twice")["pid"]
    pid = ground.plugin_pid(attacker, "forks")
    with ground.fault("kill -9 of the core and of a plugin with children", "the next core kills them") as fault:
        companion = ground.site.process
        os.kill(companion.pid, signal.SIGSTOP)
        os.kill(pid, signal.SIGKILL)
        ground.site.kill()
        ground.site.start()
        ground.until(lambda: not runs(made), "the child outlived its plugin")
        fault.injected()


def test_a_plugin_of_another_core_of_the_same_user_has_no_permissions(ground, attacker, tmp_path) -> None:
    second = type(ground.site)(tmp_path / "second").start()
    try:
        with ground.fault("a plugin uses the core.sock of another core", "denied") as fault:
            assert json.loads(attacker.plugin_send("forks", "do", str(second.socket_path)).body) == DENIED
            fault.injected()
    finally:
        second.stop()


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


EMBEDDING = """
import json, logging, subprocess, sys
from reed.config import load
from reed.daemon import Daemon

daemon = Daemon(load("reed.yaml", {}, {}), logging.getLogger("reed"))
child = '''
import sys
from reed.client import Client
with Client(sys.argv[1]) as core:
    core.registry_define("page", b"{}")
    core.snippet_create("page", "made-by-a-child", b"{}")
    core.plugin_start("tool")
    core.plugin_stop("tool")
    print(sorted(row["name"] for row in core.plugin_list()), flush=True)
sys.stdin.read()
'''
worker = subprocess.Popen([sys.executable, "-c", child, sys.argv[1]], start_new_session=True,
    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
ended = []
def said():
    daemon.loop.unwatch(worker.stdout.fileno())
    ended.append(worker.stdout.readline())
    daemon.loop.call_later(0.3, lambda: (ended.append(worker.poll()), daemon.stop()))
daemon.loop.watch(worker.stdout.fileno(), said)
daemon.run()
daemon.close()
worker.stdin.close()
print(json.dumps([*ended, worker.wait()]))
"""


def test_a_child_of_a_program_that_embeds_the_core_has_its_users_permissions(site) -> None:
    """It is an admin as the program's user is, and is not killed as a plugin's orphan."""
    site.add_lua_plugin("tool", 'local reed = require "reed"\nreed.create_plugin{name="tool",version="1.0.0"}.run()\n')
    site.set_rows('tool,lua,{},1.0.0,"","admin",false,""')
    site.config.write_text(f"runtime_dir: {site.runtime_dir}\ndata_dir: {site.data_dir}\nregistry: {site.registry}\n")
    done = subprocess.run(
        [sys.executable, "-c", EMBEDDING, str(site.socket_path)],
        cwd=site.root,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said, while_the_core_ran, status = json.loads(done.stdout)
    assert said == "['tool']\n"
    assert while_the_core_ran is None, "the child was killed"
    assert status == 0


def test_children_started_before_the_core_in_its_process_are_left_alone(site) -> None:
    """`sh -c 'sleep & exec reed serve'`: the sleep is a child of the core, in its own session."""
    notes = site.root / "pid"
    script = f'setsid sleep 1000 & echo $! >{notes}; exec "$@"'
    site.add_lua_plugin("tool", 'local reed = require "reed"\nreed.create_plugin{name="tool",version="1.0.0"}.run()\n')
    site.set_rows('tool,lua,{},1.0.0,"","admin",false,""')
    site.start(wrapper=("sh", "-c", script, "sh"))
    with Client(site.socket_path) as client:
        client.plugin_start("tool")
        client.plugin_stop("tool")
    assert site.reed("restart").returncode == 0
    sleeper = int(notes.read_text())
    try:
        assert runs(sleeper)
        os.kill(sleeper, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while Path(f"/proc/{sleeper}").exists():
            assert time.monotonic() < deadline, "it stays as a zombie"
            time.sleep(0.02)
    finally:
        if runs(sleeper):
            os.kill(sleeper, signal.SIGKILL)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare")
def test_as_pid_1_the_core_reaps_orphans_of_others(site) -> None:
    site.start(wrapper=("unshare", "--pid", "--fork", "--mount-proc", "--kill-child"))
    (core,) = children(site.process.pid)
    enter = ["nsenter", f"--target={core}", "--pid", "--mount"]
    subprocess.run([*enter, "sh", "-c", "for n in 1 2 3; do (setsid sleep 0.01 &) ; done"], check=True, timeout=20)
    deadline = time.monotonic() + 20
    while any(name(pid) == "sleep" for pid in children(core)):
        assert time.monotonic() < deadline, "zombies stay"
        time.sleep(0.02)
    os.kill(core, signal.SIGTERM)
    assert site.process.wait(20) == 0
    site.process = None


def test_a_core_that_carries_the_mark_of_plugins_is_refused(site) -> None:
    done = subprocess.run(
        ["sh", "-c", 'ulimit -x 0 2>/dev/null || exec prlimit --locks=0 "$@"; exec "$@"', "sh", *site.command()],
        cwd=site.root,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "ulimit -x" in done.stderr
    assert "Traceback" not in done.stderr


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
