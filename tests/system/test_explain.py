"""`reed plugin explain` on a real core: permissions, their reasons, and what to change."""

from __future__ import annotations

import json

import pytest

from reed.wire.codes import Command

MAIN = 'local p = require("reed").create_plugin{name = "seo", version = "1.0.0"}\np.run()\n'


@pytest.fixture
def explain(site):
    site.add_lua_plugin("seo", MAIN)
    for name, manifest in (("model", "network: a model's server\n"), ("shy", "")):
        folder = site.root / "plugins" / name
        folder.mkdir()
        (folder / "plugin.yaml").write_text(f"name: {name}\nversion: 1.0.0\n{manifest}")
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    site.set_rows(
        'seo,lua,{},1.0.0,"snippet_read,file_write","editor",false,""',
        'model,native,{},1.0.0,"","admin",false,""',
        'shy,native,{},1.0.0,"","admin",false,""',
    )
    site.config.write_text(
        "groups:\n  editor:\n    users: [root]\nplugins:\n  model: {network: [443]}\n  shy: {network: [25]}\n"
    )
    site.start()
    return lambda *words: site.reed("plugin", "explain", *words)


def test_explain_covers_every_permission(explain, site) -> None:
    rows = [line.split("\t") for line in explain("seo").stdout.splitlines()]
    assert {what for what, *_ in rows} == {*(command.name for command in Command), "FILE_WRITE", "NETWORK"}
    allowed = {what for what, may, *_ in rows if may == "yes"}
    assert allowed == {
        "SNIPPET_GET", "SNIPPET_LIST", "SNIPPET_WATCH", "SNIPPET_FIND", "SNIPPET_NAMES", "REGISTRY_CHECK",
        "FILE_WRITE", "PLUGIN_REGISTER", "PLUGIN_SIGNAL",
    }  # fmt: skip
    assert all(why for _, _, why, _ in rows)
    assert all(bool(change) is (may == "no") for _, may, _, change in rows)
    found = json.loads(explain("seo", "--json").stdout)
    assert found["grounds"]["row"] == f"{site.registry}:2"
    assert found["grounds"]["groups"] == {"editor": [f"root ({site.config}:3)"]}
    assert found["sandbox"]["mode"] == "auto"
    assert len(found["answers"]) == len(rows)


@pytest.mark.parametrize(
    ("words", "what", "may", "why", "change"),
    [
        (("seo", "SNIPPET_GET"), "SNIPPET_GET", True, "snippet_read is in its row, {registry}:2", ""),
        (("seo", "snippet.get"), "SNIPPET_GET", True, "snippet_read", ""),
        (("seo", "snippet list"), "SNIPPET_LIST", True, "snippet_read", ""),
        (("seo", "snippet find"), "SNIPPET_FIND", True, "snippet_read", ""),
        (("seo", "file_write"), "FILE_WRITE", True, "{data}/plugins/seo", ""),
        (("seo", "snippet_delete"), "SNIPPET_DELETE", False, "{registry}:2", "add snippet_write to {registry}:2"),
        (("seo", "plugin_stop"), "PLUGIN_STOP", False, "admin", "plugin"),
        (("seo", "search_read"), "SEARCH_QUERY", False, "search_read", "search_read"),
        (("seo", "network"), "NETWORK", False, "lua", "native"),
        (("model", "network"), "NETWORK", True, "a model's server", ""),
        (("shy", "network"), "NETWORK", False, "25", "{plugins}/shy/plugin.yaml plugins.shy.network"),
    ],
)
def test_explain_answers_one_question(explain, site, words: tuple[str, ...], what, may, why, change) -> None:
    places = {"registry": site.registry, "data": site.data_dir, "plugins": site.root / "plugins"}
    ran = explain(*words)
    assert ran.returncode == (0 if may else 1)
    answer = json.loads(explain(*words, "--json").stdout)
    assert (answer["what"], answer["may"]) == (what, may)
    assert why.format(**places) in answer["why"]
    assert all(part in answer["change"] for part in change.format(**places).split())
    assert bool(answer["change"]) is not may
    verb = "may" if may else "may not"
    assert ran.stdout.startswith(f"{words[0]} {verb} {what}: {answer['why']}\n"), ran.stderr
    assert answer["change"] in ran.stdout


def test_explain_suggests_the_nearest_name(explain) -> None:
    ran = explain("seo", "snipet_get")
    assert ran.returncode == 2
    assert "did you mean 'snippet_get'?" in ran.stderr
    ran = explain("soe")
    assert ran.returncode == 1
    assert "did you mean 'seo'?" in ran.stderr


def test_explain_follows_a_reload(explain, site) -> None:
    site.set_rows('seo,lua,{},1.0.0,"snippet_write","editor",false,""')
    assert site.reed("plugin", "reload").returncode == 0
    assert explain("seo", "snippet_delete").returncode == 0
    assert explain("seo", "snippet_get").returncode == 1
