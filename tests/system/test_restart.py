"""`reed restart` under load: writes are neither lost nor repeated, reads get a response, plugins keep running."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

from reed.client import Client, NoAnswer
from reed.process_handle import read_stat

COUNTER = """
local plugin = require("reed").create_plugin{ name = "counter", version = "1.0.0" }
local count = 0
plugin.action("count", function() count = count + 1; return tostring(count) end)
plugin.run()
"""


class Writer:
    """Creates snippets one by one. Those in `unknown` may have been created or not."""

    def __init__(self, core, letter: str, over: threading.Event) -> None:
        self.acknowledged: list[str] = []
        self.unknown: list[str] = []
        self.errors: list[Exception] = []
        self._client = Client(core.socket_path)
        self._over = over
        self._letter = letter
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        for number in itertools.count():
            if self._over.is_set():
                return
            name = f"{self._letter}{number}"
            try:
                self._client.snippet_create("page", name, {"n": number})
                self.acknowledged.append(name)
            except NoAnswer:
                self.unknown.append(name)
            except Exception as error:  # noqa: BLE001
                self.errors.append(error)
                return


class Reader:
    def __init__(self, core, over: threading.Event) -> None:
        self.answers = 0
        self.errors: list[Exception] = []
        self._client = Client(core.socket_path)
        self._over = over
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                assert self._client.snippet_get("first").content == b"{}"
                self.answers += 1
            except Exception as error:  # noqa: BLE001
                self.errors.append(error)
                return


def test_five_restarts_under_load(site) -> None:
    site.add_lua_plugin("counter", COUNTER, "actions:\n  count: {command_id: 1}\n")
    site.set_rows('counter,lua,{},1.0.0,"","admin",true,x')
    site.start()
    over = threading.Event()
    with Client(site.socket_path) as admin:
        admin.registry_define("page", {"schema": {}})
        admin.snippet_create("page", "first", {})
        admin.plugin_start("counter")
        assert admin.plugin_send("counter", "count").body == b"1"
        plugin = admin.plugin_health("counter")[0]["pid"]
        clients = [Writer(site, letter, over) for letter in "abc"] + [Reader(site, over) for _ in range(2)]
        for number in range(1, 6):
            restarted = site.reed("restart")
            assert restarted.returncode == 0, restarted.stderr
            assert admin.stats()["restarts"] == number
            assert admin.stats()["pid"] == site.process.pid
            assert admin.plugin_send("counter", "count").body == str(number + 1).encode()
        over.set()
        for client in clients:
            client.thread.join(60)
            assert not client.errors
        assert admin.plugin_health("counter")[0]["pid"] == plugin
        stored = [record.semantic_name for record in admin.snippets("page")]
        assert len(stored) == len(set(stored))
        for client in clients:
            if isinstance(client, Writer):
                assert set(client.acknowledged) <= set(stored)
                mine = {name for name in stored if name[0] == client.acknowledged[0][0]}
                assert mine <= {*client.acknowledged, *client.unknown}
            else:
                assert client.answers
    assert site.stop() == 0
    site.no_tracebacks()


def test_a_restart_leaves_no_zombie(site) -> None:
    site.set_rows()
    site.start()
    assert site.reed("restart").returncode == 0
    core = site.process.pid
    stats = [read_stat(int(pid)) for pid in Path(f"/proc/{core}/task/{core}/children").read_text().split()]
    assert [stat.name for stat in stats if stat.is_dead] == []


def importing(site, *flags: str) -> subprocess.Popen[str]:
    """`reed import` of its standard input."""
    return subprocess.Popen(
        [sys.executable, "-m", "reed", "import", "-", "--type", "page", *flags],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"REED_RUNTIME_DIR": str(site.runtime_dir)},
    )


def test_an_import_continues_across_restarts(site) -> None:
    """The lines have no names, so a line that is sent twice would create two snippets."""
    site.set_rows()
    site.start()
    over = threading.Event()
    run = importing(site, "--json")
    written = 0

    def write() -> None:
        nonlocal written
        with run.stdin as lines:
            while not over.is_set():
                lines.write(json.dumps({"n": written, "text": "x" * 500}) + "\n")
                written += 1

    with Client(site.socket_path) as admin:
        admin.registry_define("page", {"schema": {}})
        feeder = threading.Thread(target=write)
        feeder.start()
        for _ in range(3):
            before = admin.stats()["store"]["snippets"]
            while admin.stats()["store"]["snippets"] == before:
                assert run.poll() is None
            assert site.reed("restart").returncode == 0
        over.set()
        said, errors = run.stdout.read(), run.stderr.read()
        feeder.join(60)
        assert run.wait(60) == 0, errors
        assert json.loads(said)["snippets"] == written
        stored = sorted(json.loads(record.content)["n"] for record in admin.snippets("page", 1000))
        assert stored == list(range(written))
    site.no_tracebacks()


def test_an_import_interrupted_by_a_crash_says_how_to_continue(site) -> None:
    site.set_rows()
    site.start()
    lines = [json.dumps({"n": f"page-{number}", "text": "x" * 500}) + "\n" for number in range(3000)]
    run = importing(site, "--name-field", "n")
    with Client(site.socket_path) as admin:
        run.stdin.writelines(lines[:2000])
        while admin.stats()["store"]["snippets"] < 600:
            assert run.poll() is None
    site.kill()
    errors = run.communicate()[1]
    assert run.returncode in {1, 3}  # 3: all that had been sent was answered, and the core is not running
    done = int(re.search(r"after line (\d+);", errors)[1])
    site.start()
    again = site.reed("import", "-", "--type", "page", "--name-field", "n", "--json", stdin="".join(lines))
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["unchanged"] >= done
    with Client(site.socket_path) as admin:
        stored = [record.semantic_name for record in admin.snippets("page", 1000)]
    assert stored == [f"page-{number}" for number in range(3000)]
    assert done <= 2000


def test_a_restart_with_an_invalid_site_is_refused(site) -> None:
    site.set_rows()
    site.config.write_text("{}\n")
    site.start()
    for path, text, reason in (
        (site.config, "nonsense: 1\n", "nonsense"),
        (site.registry, "nonsense\n", "plugin-registry.csv"),
    ):
        was = path.read_text()
        path.write_text(text)
        refused = site.reed("restart")
        assert refused.returncode == 1
        assert reason in refused.stderr
        path.write_text(was)
        with Client(site.socket_path) as core:
            assert core.stats()["restarts"] == 0
    assert site.reed("restart").returncode == 0
    with Client(site.socket_path) as core:
        assert core.stats()["restarts"] == 1


def test_a_restart_needs_a_running_core(site) -> None:
    none = site.reed("restart")
    assert none.returncode == 3
    assert "core not running" in none.stderr
