"""Hostile plugins on a real core: a native one, and a Lua plugin that broke out of its sandbox in Python.

Their attempts (tests/system/hostile) must fail; everything that a plugin needs must work.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from reed.client import Client
from reed.errors import CallError, PluginOffline
from reed.process_handle import runs, start_time
from reed.sandbox.confine import Sandbox
from tests.waiting import until

HOSTILE = Path(__file__).parent / "hostile"
NEIGHBOUR = 'local p = require("reed").create_plugin{name = "%s", version = "1.0.0"}\np.run()\n'

# By attempt: the result for a native plugin and for one in Lua.
DENIED = {
    "read a file of the system": ("EACCES", "EACCES"),
    "read the content": ("EACCES", "EACCES"),
    "read the settings": ("EACCES", "EACCES"),
    "read a neighbour's code": ("EACCES", "EACCES"),
    "read a neighbour's memory": ("EACCES", "EACCES"),
    "read the core's environment": ("EACCES", "EACCES"),
    "change its own code": ("EACCES", "EACCES"),
    "write to the registry": ("EACCES", "EACCES"),
    "write to /tmp": ("EACCES", "EACCES"),
    "write a data folder without file_write": ("EACCES", "EACCES"),
    "change the mode of its own code": ("EPERM", "EPERM"),
    "remove core.sock": ("EACCES", "EACCES"),
    "connect by TCP": ("EPERM", "EPERM"),
    "send by UDP": ("EPERM", "EPERM"),
    "connect to a neighbour's socket": ("closed", "EPERM"),
    "listen": ("EPERM", "EPERM"),
    "read a foreign FIFO": ("EACCES", "EACCES"),
    "write a foreign FIFO": ("EACCES", "EACCES"),
    "read what it wrote to a neighbour": ("EACCES", "EACCES"),
    "kill the core": ("EPERM", "EPERM"),
    "kill a neighbour": ("EPERM", "EPERM"),
    "trace a neighbour": ("EPERM", "EPERM"),
    "leave its session": ("EPERM", "EPERM"),
    "fork": ("done", "EPERM"),
    "execute": ("status 0", "EPERM"),
    "make a namespace": ("EPERM", "EPERM"),
    "load a kernel's program": ("EPERM", "EPERM"),
    "read its own folder": ("done", "done"),
    "write to a neighbour": ("done", "done"),
    "read from a neighbour": ("done", "done"),
}


@pytest.fixture(autouse=True)
def _all_layers() -> None:
    if missing := Sandbox().layers.missing:
        pytest.skip(f"this kernel lacks {'; '.join(missing)}")


class Scene:
    """A site with the Lua plugins `neighbour` and `other`, and a hostile plugin."""

    def __init__(self, site: Any) -> None:
        self.site = site
        self.rows = []
        self.settings: dict[str, Any] = {}
        for name in ("neighbour", "other"):
            site.add_lua_plugin(name, NEIGHBOUR % name)
            self.rows.append(f'{name},lua,{{}},1.0.0,"snippet_read","admin",true,""')

    def native(
        self, permissions: str = "snippet_read", name: str = "hostile", manifest: str = "", code: str = ""
    ) -> None:
        folder = self.site.root / "plugins" / name
        folder.mkdir()
        (folder / "plugin.yaml").write_text(
            f"name: {name}\nversion: 1.0.0\nactions: {{do: {{command_id: 1}}}}\n{manifest}"
        )
        shutil.copy(HOSTILE / "attempts.py", folder)
        (folder / name).write_text(f"#!{sys.executable}\n{code}\n" + (HOSTILE / "native.py").read_text())
        (folder / name).chmod(0o755)
        self.rows.append(f'{name},native,{{}},1.0.0,"{permissions}","admin",false,""')

    def lua(self, permissions: str = "snippet_read") -> None:
        folder = self.site.add_lua_plugin("hostile", NEIGHBOUR % "hostile")
        shutil.copy(HOSTILE / "attempts.py", folder)
        self.rows.append(f'hostile,lua,{{}},1.0.0,"{permissions}","admin",false,""')
        self.import_first(HOSTILE)

    def import_first(self, folder: Path) -> None:
        """The core, and what is forked from it, import modules of this folder."""
        self.site.environ["PYTHONPATH"] = os.pathsep.join([str(folder), *filter(None, sys.path)])

    def start(self, config: str = "") -> Client:
        paths = sorted({sys.prefix, sys.base_prefix, *filter(None, sys.path)})
        names = [row.split(",")[0] for row in self.rows if ",native," in row]
        plugins = {name: {"paths": paths, **self.settings} for name in names}
        self.site.config.write_text(f"{config}\nplugins: {json.dumps(plugins)}\n")
        self.site.set_rows(*self.rows)
        self.site.start()
        self.client = Client(self.site.socket_path)
        return self.client

    def do(self, code: str, name: str = "hostile") -> Any:
        return json.loads(bytes(self.client.plugin_send(name, "do", code).body))

    def pid(self, name: str) -> int:
        return int(self.client.plugin_health(name)[0]["pid"])

    def places(self, port: int) -> dict[str, Any]:
        until(lambda: self.client.plugin_health("neighbour")[0]["state"] == "ready")
        return {
            "name": "hostile",
            "runtime_dir": str(self.site.runtime_dir),
            "site": str(self.site.root),
            "folder": str(self.site.root / "plugins" / "hostile"),
            "core": self.site.process.pid,
            "neighbour": self.pid("neighbour"),
            "port": port,
        }


@pytest.fixture
def scene(site):
    scene = Scene(site)
    yield scene
    if hasattr(scene, "client"):
        scene.client.close()
    site.no_tracebacks()


@pytest.fixture
def port():
    """A server that accepts connections."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_hostile_native_plugin_is_confined(scene: Scene, port: int) -> None:
    scene.native()
    client = scene.start()
    (scene.site.data_dir / "plugins" / "hostile").mkdir(parents=True)
    client.plugin_start("hostile")
    found = scene.do(f"import attempts; result = attempts.results({scene.places(port)!r})")
    assert found == {name: expected for name, (expected, _) in DENIED.items()}
    assert scene.pid("neighbour"), "it lives"
    assert "hostile: refused a connection" not in scene.site.log.read_text()
    assert "neighbour: refused a connection of pid" in scene.site.log.read_text()


def test_a_lua_plugin_that_broke_out_is_confined(scene: Scene, port: int) -> None:
    scene.lua()
    client = scene.start()
    (scene.site.data_dir / "plugins" / "hostile").mkdir(parents=True)
    settings = json.dumps(scene.places(port))
    with (scene.site.root / "plugins" / "hostile" / "plugin.yaml").open("a") as manifest:
        manifest.write(f"settings: {settings}\n")
    client.plugin_start("hostile")
    lines = client.plugin_health("hostile")[0]["last_lines"]
    (said,) = [line.partition("ATTEMPTS ")[2] for line in lines if "ATTEMPTS " in line]
    assert json.loads(said) == {name: expected for name, (_, expected) in DENIED.items()}


def test_file_write_opens_only_the_data_folder(scene: Scene) -> None:
    scene.native(permissions="file_write")
    client = scene.start()
    client.plugin_start("hostile")
    write = "import os; open(os.environ['REED_DATA_DIR'] + '/{}', 'w').write('mine'); result = 1"
    assert scene.do(write.format("a")) == 1
    assert (scene.site.data_dir / "plugins/hostile/a").read_text() == "mine"
    assert "Permission denied" in scene.do(write.format("../../logs/a"))
    assert "Permission denied" in scene.do("import os; os.mkfifo(os.environ['REED_DATA_DIR'] + '/f')")


@pytest.mark.parametrize(("asks", "allowed"), [(True, True), (True, False), (False, True)])
def test_network_access_needs_the_manifest_and_reed_yaml(scene: Scene, port: int, asks: bool, allowed: bool) -> None:
    scene.native(manifest="network: a test\n" if asks else "")
    if allowed:
        scene.settings["network"] = [port]
    client = scene.start()
    client.plugin_start("hostile")
    connect = "import socket; socket.create_connection(('127.0.0.1', {}), 5); result = 'connected'"
    both = asks and allowed
    assert ("connected" in scene.do(connect.format(port))) is both
    assert "rror(" in scene.do(connect.format(port - 1)), "another port"
    assert scene.do("import os; result = os.environ.get('RES_OPTIONS')") == ("use-vc" if both else None)
    assert "rror(" in scene.do("import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)"), "UDP"


def test_a_plugin_and_its_children_have_its_permissions_on_core_sock(scene: Scene) -> None:
    scene.native()
    client = scene.start()
    client.registry_define("page", b"{}")
    client.snippet_create("page", "hello", b"{}")
    client.plugin_start("hostile")
    get, stop = b"hello".ljust(36, b"\0"), b"neighbour".ljust(32, b"\0")
    tries = f"[ask({str(scene.site.socket_path)!r}, 4, {get!r}), ask({str(scene.site.socket_path)!r}, 0xF6, {stop!r})]"
    assert scene.do(f"result = {tries}") == [200, 403]
    child = f"""
import os
reading, writing = os.pipe()
if os.fork() == 0:
    os.write(writing, repr({tries}).encode())
    os._exit(0)
os.wait()
result = eval(os.read(reading, 100))
"""
    assert scene.do(child) == [200, 403]
    until(lambda: "denied: plugin hostile asked for PLUGIN_STOP" in scene.site.log.read_text())


def test_an_orphan_has_no_permissions(scene: Scene) -> None:
    scene.native()
    client = scene.start()
    client.plugin_start("hostile")
    orphan = f"""
import os
reading, writing = os.pipe()
adopted, adopting = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        os.close(adopting)
        os.read(adopted, 1)
        os.write(writing, repr([ask({str(scene.site.socket_path)!r}, 0xF9)]).encode())
    os._exit(0)
os.wait()
os.close(adopting)
result = eval(os.read(reading, 100))
"""
    assert scene.do(orphan) == [403]


def test_a_request_of_a_process_that_died_is_refused(scene: Scene) -> None:
    """Its frame waits in the core's queue without a living process, whose user would be the core's own."""
    scene.native()
    client = scene.start()
    client.plugin_start("hostile")
    until(lambda: client.plugin_health("neighbour")[0]["state"] == "ready")
    stop = b"neighbour".ljust(32, b"\0")
    code = f"""
import os, signal, socket, time
def die():
    os.kill(os.getpid(), signal.SIGSTOP)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect({str(scene.site.socket_path)!r})
        send(sock, 0xF6, {stop!r}, 1)
        os._exit(0)
pid = os.fork()
if pid == 0:
    die()
import threading
threading.Thread(target=os.waitpid, args=(pid, 0), daemon=True).start()
result = pid
"""
    child = scene.do(code)
    until(lambda: Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "T")
    os.kill(scene.site.process.pid, signal.SIGSTOP)
    try:
        os.kill(child, signal.SIGCONT)
        until(lambda: not Path(f"/proc/{child}").exists())
    finally:
        os.kill(scene.site.process.pid, signal.SIGCONT)
    until(lambda: f"pid {child}" in scene.site.log.read_text())
    assert client.plugin_health("neighbour")[0]["state"] == "ready"


def test_children_of_a_plugin_end_with_it(scene: Scene) -> None:
    scene.native()
    client = scene.start()
    client.plugin_start("hostile")
    left = scene.do(
        """
import os, signal, time
reading, writing = os.pipe()
if os.fork() == 0:
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if os.fork() == 0:
        os.write(writing, str(os.getpid()).encode())
        time.sleep(1000)
    os._exit(0)
os.wait()
result = int(os.read(reading, 20))
"""
    )
    started = start_time(left)
    assert started is not None
    client.plugin_stop("hostile")
    until(lambda: not runs(left, started), timeout=1)


def test_strict_names_the_missing_layer(scene: Scene, tmp_path: Path) -> None:
    """On a kernel with all layers, seccomp is hidden from the core's probe."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "if 'serve' in sys.orig_argv:\n"
        "    from reed.sandbox import probe\n"
        "    probe._seccomp = lambda kernel: False\n"
    )
    scene.import_first(tmp_path)
    scene.native()
    client = scene.start("sandbox: strict")
    for name in ("hostile", "neighbour"):
        with pytest.raises(PluginOffline, match="seccomp"):
            client.plugin_start(name)
    assert client.stats()["sandbox"]["missing"][0].startswith("seccomp")
    assert "sandbox strict: " not in scene.site.reed("plugin", "status").stdout
    status = json.loads(scene.site.reed("plugin", "status", "--json").stdout)
    assert status[0]["sandbox"]["mode"] == "strict"


def test_strict_starts_plugins_if_no_layer_is_missing(scene: Scene) -> None:
    scene.native()
    client = scene.start("sandbox: strict")
    client.plugin_start("hostile")
    assert client.stats()["sandbox"]["missing"] == []
    lines = dict(line.split(":\t") for line in Path(f"/proc/{scene.pid('hostile')}/status").read_text().splitlines())
    assert (lines["NoNewPrivs"], lines["Seccomp"], lines["CapEff"]) == ("1", "2", "0" * 16)


def test_off_keeps_only_limits(scene: Scene) -> None:
    scene.native()
    client = scene.start("sandbox: off")
    client.plugin_start("hostile")
    assert scene.do("open('/etc/passwd').close(); result = 'read'") == "read"
    lines = dict(line.split(":\t") for line in Path(f"/proc/{scene.pid('hostile')}/status").read_text().splitlines())
    assert (lines["NoNewPrivs"], lines["Seccomp"]) == ("1", "0")


def test_a_plugin_reaches_a_neighbour_that_a_reload_added(scene: Scene) -> None:
    scene.native()
    client = scene.start()
    client.plugin_start("hostile")
    scene.site.add_lua_plugin("late", NEIGHBOUR % "late")
    scene.site.set_rows(*scene.rows, 'late,lua,{},1.0.0,"snippet_read","admin",false,""')
    client.plugin_reload()
    link = scene.site.runtime_dir / "peers" / "hostile" / "to" / "late"
    opened = f"import os; os.close(os.open({str(link)!r}, os.O_WRONLY | os.O_NONBLOCK)); result = 'open'"
    assert scene.do(opened) == "open"


def test_a_sandbox_refusal_reaches_the_client(scene: Scene) -> None:
    scene.native(permissions="")
    client = scene.start()
    client.plugin_start("hostile")
    status = scene.do(f"result = ask({str(scene.site.socket_path)!r}, 4, {b'hello'.ljust(36, bytes(1))!r})")
    assert status == 403
    with pytest.raises(CallError):
        client.snippet_get("hello")
