"""contrib/plugins: their own tests pass, and they stay within a plugin's limits on real pages."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from reed.lua.sandbox import LuaSandbox
from reed.lua.testing import run
from reed.own_tests import Project
from reed.plugin_host.files import Folder, read_source
from reed.plugin_host.runtime import Service

ROOT = Path(__file__).parents[2]
PAGES = Path(os.environ.get("REED_PAGES", ROOT.parent / "shared/data/pages.jsonl"))
PLUGINS = {
    "simple-seo": ("1.2.0", {"validate": 1, "keywords": 2}),
    "form-validator": ("2.1.0", {"validate": 1, "check": 2}),
}
TESTED = {**PLUGINS, "backup": ("1.0.0", {"snapshot": 1, "list": 2})}
CPU = 2.0  # seconds of processor time for each call, as by default


def plugin_folder(name: str) -> Path:
    folder = ROOT / "contrib/plugins" / name
    if not folder.is_dir():
        pytest.skip(f"contrib/plugins/{name} is not part of an installed reed")
    return folder


@pytest.mark.parametrize("lua", ["5.5", "5.4"])
@pytest.mark.parametrize("name", TESTED)
def test_their_own_tests_pass(name: str, lua: str) -> None:
    plugin = Project(plugin_folder(name), {}, TESTED[name][1], lua=lua)
    cases = list(run(plugin))
    assert cases
    assert not [case for case in cases if case.failure]


def loaded(name: str, **more: Service) -> LuaSandbox:
    version, actions = PLUGINS[name]
    folder = Folder(str(plugin_folder(name)))
    sandbox = LuaSandbox()
    services: dict[bytes, Service] = {b"source": lambda path: read_source(folder, path.decode())}
    services.update((operation.replace("_", ".").encode(), service) for operation, service in more.items())
    prepared = {"name": name, "version": version, "settings": {}, "actions": actions, "cpu": CPU}
    prepared |= {"seed": [1, 2], "can_write": False}
    sandbox.start(services, memory=8 << 20, spec=json.dumps(prepared).encode())
    assert sandbox.load("main.lua", read_source(folder, "main.lua")).kind == "run"
    return sandbox


@pytest.fixture(scope="module")
def pages() -> list[dict[str, Any]]:
    if not PAGES.is_file():
        pytest.skip(f"no pages at {PAGES}; set REED_PAGES")
    with PAGES.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.mark.parametrize("name", PLUGINS)
def test_real_pages_stay_within_the_limits(name: str, pages: list[dict[str, Any]]) -> None:
    sandbox = loaded(name)
    step = 4 if name == "simple-seo" else 50
    for page in [max(pages, key=lambda page: len(page["body"])), *pages[::step]]:
        snippet = {"id": "0" * 36, "type": "page", "name": "", "version": 1, "content": page}
        for command in PLUGINS[name][1].values():
            payload = json.dumps(snippet).encode()
            outcome = sandbox.call(command, payload)
            assert outcome.kind in ("done", "fail"), (page["path"], outcome)
            if name == "simple-seo" and command == 1:
                report = json.loads(outcome.results[1])
                assert 0 <= report["score"] <= 100
                assert all(issue["message"] and issue["hint"] for issue in report["issues"])


def test_a_form_with_the_bodies_of_real_pages(pages: list[dict[str, Any]]) -> None:
    """A visitor may send any body that is not too long."""
    form = {"fields": [{"name": "message", "label": "Message", "type": "textarea", "max": 50_000}]}
    snippet = {"id": "0" * 36, "type": "form", "name": "f", "version": 1, "content": form}
    sandbox = loaded("form-validator", snippet_get=lambda _: json.dumps(snippet).encode())
    for page in pages[::10]:
        data = {"form": "f", "data": {"message": page["body"]}}
        outcome = sandbox.call(1, json.dumps(data).encode())
        answer = json.loads(outcome.results[1])
        assert answer["valid"] is (len(page["body"].strip()) <= 50_000), page["path"]
