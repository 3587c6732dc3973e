"""`reed plugin explain` on a real core: what a plugin may do, why, and what to change."""

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


def test_everything_that_there_is_to_be_allowed_has_a_reason(explain, site) -> None:
    rows = [line.split("\t") for line in explain("seo").stdout.splitlines()]
    assert {what for what, *_ in rows} == {*(command.name for command in Command), "FILE_WRITE", "NETWORK"}
    allowed = {what for what, may, *_ in rows if may == "yes"}
    assert allowed == {
        "SNIPPET_GET", "SNIPPET_LIST", "SNIPPET_FIND", "SNIPPET_NAMES", "REGISTRY_CHECK",
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
    ("words", "code", "says"),
    [
        (("seo", "SNIPPET_GET"), 0, "seo may SNIPPET_GET: snippet_read is in its row, {registry}:2\n"),
        (("seo", "snippet.get"), 0, "seo may SNIPPET_GET: "),
        (("seo", "snippet list"), 0, "seo may SNIPPET_LIST: "),
        (("seo", "snippet find"), 0, "seo may SNIPPET_FIND: "),
        (
            ("seo", "file_write"),
            0,
            "seo may FILE_WRITE: file_write is in its row, {registry}:2: {data}/plugins/seo",
        ),
        (
            ("seo", "snippet_delete"),
            1,
            "seo may not SNIPPET_DELETE: snippet_write is not in its row, {registry}:2\n"
            "to change it: add snippet_write to required_permissions in {registry}:2, then `reed plugin reload`\n",
        ),
        (("seo", "plugin_stop"), 1, "seo may not PLUGIN_STOP: people in the group admin alone may\n"),
        (("seo", "search_read"), 1, "seo may not SEARCH_QUERY: search_read is not in its row"),
        (("seo", "network"), 1, "seo may not NETWORK: a Lua plugin has none"),
        (("model", "network"), 0, "model may NETWORK: its manifest asks for it (a model's server), and "),
        (
            ("shy", "network"),
            1,
            "shy may not NETWORK: its manifest does not ask for it, though reed.yaml allows 25\n"
            "to change it: network: WHAT FOR in {plugins}/shy/plugin.yaml, and ports in plugins.shy.network in reed",
        ),
    ],
)
def test_one_question_has_one_answer(explain, site, words: tuple[str, ...], code: int, says: str) -> None:
    ran = explain(*words)
    places = {"registry": site.registry, "data": site.data_dir, "plugins": site.root / "plugins"}
    assert ran.stdout.startswith(says.format(**places)), ran.stdout + ran.stderr
    assert ran.returncode == code
    answer = json.loads(explain(*words, "--json").stdout)
    assert answer["may"] is (code == 0)


def test_what_is_not_known_is_told_with_the_nearest(explain) -> None:
    ran = explain("seo", "snipet_get")
    assert ran.returncode == 2
    assert "did you mean 'snippet_get'?" in ran.stderr
    ran = explain("soe")
    assert ran.returncode == 1
    assert "did you mean 'seo'?" in ran.stderr


def test_what_a_reload_changes_is_explained_at_once(explain, site) -> None:
    site.set_rows('seo,lua,{},1.0.0,"snippet_write","editor",false,""')
    assert site.reed("plugin", "reload").returncode == 0
    assert explain("seo", "snippet_delete").returncode == 0
    assert explain("seo", "snippet_get").returncode == 1
