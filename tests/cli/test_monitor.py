"""`reed monitor` on a real core, what it records, and `reed plugin test --replay`."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reed.client import Client
from reed.errors import NotFound

from .conftest import ENVIRON

ROOT = Path(__file__).parents[2]
PAGE = {"title": "Words", "description": "About words.", "keywords": ["word"], "path": "words", "body": "Some words."}


@pytest.fixture
def core(site_folder, on_site) -> Iterator[Client]:
    folder = site_folder / "plugins/simple-seo"
    if not folder.exists():
        shutil.copytree(ROOT / "contrib/plugins/simple-seo", folder)
        assert on_site("plugin", "reload").code == 0
    with Client(site_folder / "run" / "core.sock") as client:
        yield client


class Monitor:
    """A process `reed monitor …`; entering waits until the core has accepted it."""

    def __init__(self, site_folder: Path, *words: str) -> None:
        self.site_folder = site_folder
        self.words = words

    def __enter__(self) -> Monitor:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "reed", "monitor", *self.words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={
                **ENVIRON,
                "REED_RUNTIME_DIR": str(self.site_folder / "run"),
            },
        )
        with (self.site_folder / "core.log").open() as log:
            log.seek(0, os.SEEK_END)
            while "started monitoring" not in (line := log.readline()):
                assert line or self.process.poll() is None, self.process.stderr.read()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def lines(self) -> list[str]:
        out, err = self.process.communicate(timeout=30)
        assert self.process.returncode == 0, err
        return out.splitlines()


def test_requests_and_responses_are_decoded(site_folder, core):
    with Monitor(site_folder, "--count", "2") as monitor:
        with pytest.raises(NotFound):
            core.snippet_get("no/such")
        request, response = (line.split("\t") for line in monitor.lines())
    assert request[2:] == ["request", "SNIPPET_GET", "ref=no/such"]
    assert response[2:4] == ["response", "SNIPPET_GET"]
    assert response[4].startswith("status=404 error_code=ERR_NOT_FOUND")


def test_find_and_rename_are_decoded(site_folder, core):
    with Monitor(site_folder, "--json", "--count", "4") as monitor:
        with pytest.raises(NotFound):
            core.snippet_find("no-such", {"path": "a"})
        with pytest.raises(NotFound):
            core.snippet_rename("no/such", "other")
        find, _, rename, refused = map(json.loads, monitor.lines())
    assert find["what"] == "SNIPPET_FIND"
    assert find["fields"] == {"snippet_type": "no-such", "conditions": {"path": "a"}, "after": "", "limit": 0}
    assert (rename["what"], rename["fields"]) == ("SNIPPET_RENAME", {"ref": "no/such", "semantic_name": "other"})
    assert (refused["fields"]["status"], refused["fields"]["snippet_id"]) == (404, "")


def test_json_has_every_field(site_folder, core):
    with Monitor(site_folder, "--json", "--count", "2") as monitor:
        with pytest.raises(NotFound):
            core.snippet_get("no/such")
        request, response = map(json.loads, monitor.lines())
    assert (request["kind"], request["what"], request["fields"]) == ("request", "SNIPPET_GET", {"ref": "no/such"})
    assert (request["direction"], response["direction"]) == ("in", "out")
    assert response["kind"] == "response"
    assert response["fields"]["status"] == 404
    assert response["fields"]["error_code"] == "ERR_NOT_FOUND"
    assert request["timestamp"] <= response["timestamp"]


def test_a_plugin_call_and_its_answer_are_decoded(site_folder, core):
    core.plugin_start("simple-seo")
    with Monitor(site_folder, "simple-seo", "--json", "--count", "2") as monitor:
        core.registry_define("page", {"schema": {"type": "object"}})
        core.snippet_create("page", "words", PAGE)
        core.plugin_send("simple-seo", "validate", "words")
        call, answer = map(json.loads, monitor.lines())
    assert (call["kind"], call["what"], call["direction"], call["peer"]) == (
        "call",
        "validate",
        "out",
        "plugin simple-seo",
    )
    assert call["fields"]["input"]["content"] == PAGE
    assert (answer["kind"], answer["fields"]["status"]) == ("answer", 200)


def test_a_recording_is_printed_and_replayed(site_folder, core, on_site, tmp_path):
    core.plugin_start("simple-seo")
    frames = tmp_path / "seo.frames"
    with Monitor(site_folder, "simple-seo", "--record", str(frames), "--count", "2") as monitor:
        core.snippet_create("page", "again", PAGE)
        core.plugin_send("simple-seo", "validate", "again")
        live = monitor.lines()
    assert [line.split("\t")[2:4] for line in live] == [["call", "validate"], ["answer", "validate"]]
    assert len(on_site("monitor", "--from-file", frames).out.splitlines()) == 2
    plugins = ["--plugin-dir", str(site_folder / "plugins")]
    ran = on_site("plugin", "test", "simple-seo", "--replay", frames, *plugins)
    assert f"ok\treplay\t1 call of {frames}, answered as recorded" in ran.out

    changed = tmp_path / "plugins" / "simple-seo"
    shutil.copytree(site_folder / "plugins" / "simple-seo", changed)
    code = changed / "main.lua"
    code.write_text(code.read_text().replace("score", "points"))
    ran = on_site("plugin", "test", "simple-seo", "--replay", frames, "--plugin-dir", changed.parent)
    assert ran.code == 1
    assert "call 1, validate: was 200" in ran.out


def test_a_file_that_is_no_recording_is_an_error(on_site, tmp_path):
    (tmp_path / "letter").write_text("Dear reader, this is no record of any monitor, but long enough to be one.")
    ran = on_site("monitor", "--from-file", tmp_path / "letter")
    assert ran.code == 1
    assert str(tmp_path / "letter") in ran.err


def test_an_unknown_plugin_is_an_error(on_site):
    ran = on_site("monitor", "simple-soe")
    assert ran.code == 1
    assert "'simple-seo'" in ran.err


def test_monitor_without_a_core(reed):
    ran = reed("monitor")
    assert ran.code == 3
    assert "reed start" in ran.err


def test_a_monitor_that_reads_nothing_does_not_block_the_core(site_folder, core):
    with socket.socket(socket.AF_UNIX) as idle:
        idle.connect(str(site_folder / "run/monitor.sock"))
        for _ in range(2000):
            core.plugin_list()
    assert core.stats()["connections"] >= 1
