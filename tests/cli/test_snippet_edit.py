"""`reed snippet edit`, with scripts as editors."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys

import pytest

from reed.cli.snippet_edit import with_lines
from reed.wire.exact_json import dumps, load_object

from .conftest import ENVIRON

PAGE = '{"schema": {"properties": {"title": {"type": "string"}, "tags": {"items": {"type": "string"}}}}}'
WRITTEN = (
    r'{ "title":"Gr\u00fc\u00dfe", "n":1.50,  "big":12345678901234567890123, "tags":["a", "b"],'
    r'"in":{"z": 1e2,"a":null} }'
)


@pytest.fixture
def site(on_site, tmp_path, monkeypatch):
    """`reed` with the snippet `page`; `site.edit(SED)` edits it with a sed script, and gives what the editor saw."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    monkeypatch.delenv("VISUAL", raising=False)
    on_site("registry", "define", "page", PAGE)
    on_site("snippet", "delete", "page")
    on_site("snippet", "create", "page", "--name", "page", WRITTEN)
    (tmp_path / "ed").write_text('#!/bin/sh\ncp "$2" "$2.seen"\nmv "$2.seen" seen.json\nsed -i -e "$1" "$2"\n')
    (tmp_path / "ed").chmod(0o755)

    def edit(script: str, *words: str):
        monkeypatch.setenv("EDITOR", f"{tmp_path / 'ed'} '{script}'")
        return on_site("snippet", "edit", "page", *words)

    on_site.edit = edit
    on_site.kept = lambda: list(temporary.iterdir())
    return on_site


def test_only_what_was_changed_is_written(site, tmp_path):
    ran = site.edit('s/"a",/"a", "new",/')
    assert (ran.code, ran.err) == (0, "")
    now = site("snippet", "get", "page").out.strip()
    assert now == WRITTEN.replace('["a", "b"]', '["a","new","b"]')
    assert json.loads(site("snippet", "get", "page", "--json").out)["version"] == 2
    assert site.kept() == []
    seen = (tmp_path / "seen.json").read_text()
    assert seen == dumps(load_object(WRITTEN.encode()), 2) + "\n"
    assert '\n  "title": "Grüße",\n  "n": 1.50,\n  "big": 12345678901234567890123,\n' in seen


@pytest.mark.parametrize("script", ["", "s/^ */      /", "s/Grüße/Gr\\\\u00fc\\\\u00dfe/"])
def test_nothing_is_written_if_no_value_changed(site, script):
    ran = json.loads(site.edit(script, "--json").out)
    assert (ran["version"], ran["changed"]) == (1, False)
    assert site("snippet", "get", "page").out.strip() == WRITTEN
    assert site.kept() == []


def test_fields_are_added_and_removed_at_every_level(site):
    assert site.edit('s/"z": 1e2,/"new": {"deep": {}, "list": [null, 2.0]},/; /"n":/d').code == 0
    now = site("snippet", "get", "page").out.strip()
    assert json.loads(now)["in"] == {"a": None, "new": {"deep": {}, "list": [None, 2.0]}}
    assert "2.0" in now
    assert "n" not in json.loads(now)


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("s/: 1.50,/: 1.50/", "JSON: Expecting ',' delimiter at line 4 column 3"),
        ('s/"b"/5/', '$.tags[1] (line 7): 5 is not of type "string"'),
        ('s/"Grüße"/5/', '$.title (line 2): 5 is not of type "string"'),
        ('s/"n": 1.50/"n": null/', "$.n (line 3): an update cannot set a member to null"),
        ("s/.*//", "the text is empty"),
        ("s/{/[/", "JSON: "),
    ],
)
def test_a_text_that_is_refused_is_kept(site, script, says):
    ran = site.edit(script)
    assert ran.code == 1
    assert says in ran.err
    (kept,) = site.kept()
    assert f"your text is in {kept}" in ran.err
    assert kept.stat().st_mode & 0o777 == 0o600
    assert site("snippet", "get", "page").out.strip() == WRITTEN


def test_a_conflict_shows_both_changes_and_keeps_the_text(site, tmp_path):
    editor = tmp_path / "slow"
    update = f"{sys.executable} -m reed snippet update page '{{\"n\": 7}}'"
    editor.write_text(f'#!/bin/sh\n{update} >&2\nsed -i s/Grüße/Mine/ "$1"\n')
    editor.chmod(0o755)
    os.environ["EDITOR"] = str(editor)  # restored by the fixture
    ran = site("snippet", "edit", "page")
    assert ran.code == 1
    assert "--- version 1\n+++ version 2\n" in ran.err
    assert '-  "n": 1.50,\n+  "n": 7,\n' in ran.err
    assert "--- version 2\n+++ your text\n" in ran.err
    assert '-  "title": "Grüße",\n-  "n": 7,\n+  "title": "Mine",\n+  "n": 1.50,\n' in ran.err
    assert "page has version 2 by now, and you edited version 1" in ran.err
    (kept,) = site.kept()
    assert json.loads(kept.read_text())["title"] == "Mine"
    assert json.loads(site("snippet", "get", "page").out)["title"] == "Grüße"


def test_an_editor_that_fails(site, monkeypatch):
    for given, says in (("false", "ended with status 1"), ("/no/editor", "cannot run the editor /no/editor")):
        monkeypatch.setenv("EDITOR", given)
        ran = site("snippet", "edit", "page")
        assert ran.code == 1
        assert says in ran.err
        assert site.kept() == []


def test_it_asks_to_edit_again(site, site_folder, tmp_path):
    """At a terminal. The first text is no JSON, the second does not fit the type, the third is written."""
    editor = tmp_path / "thrice"
    editor.write_text(
        "#!/bin/sh\n"
        'if [ -e second ]; then sed -i \'s/"title": 5/"title": "Third"/\' "$1"\n'
        'elif [ -e first ]; then touch second; sed -i \'s/#//; s/"Grüße"/5/\' "$1"\n'
        'else touch first; sed -i \'s/"n"/#"n"/\' "$1"; fi\n'
    )
    editor.chmod(0o755)
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "reed", "snippet", "edit", "page"],
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRON | {"REED_RUNTIME_DIR": str(site_folder / "run"), "EDITOR": str(editor), "NO_COLOR": "1"},
        cwd=tmp_path,
        text=True,
    )
    os.close(slave)
    assert process.stderr
    said = ""
    for answer in (b"y\n", b"\n"):
        while not said.endswith("[Y/n] "):
            said += process.stderr.read(1)
        os.write(master, answer)
        said += "\n"
    _, rest = process.communicate(timeout=30)
    os.close(master)
    assert (process.returncode, rest) == (0, "")
    assert re.search(r"JSON: .* at line 3 column 3\n.*edit again", said)
    assert "$.title (line 2): 5 is not" in said
    assert json.loads(site("snippet", "get", "page").out)["title"] == "Third"


def test_lines_of_places():
    text = '{\n "a": [\n  1,\n  {"b": "x: $.a: y"}\n ],\n "c": {}\n}'
    message = "no fit: $.a[1].b: is long; $.a[0]: is 1; $.c: is {}; $: lacks d; $.e: is unknown"
    expected = "no fit: $.a[1].b (line 4): is long; $.a[0] (line 3): is 1; $.c (line 6): is {}; $ (line 1): lacks d; "
    assert with_lines(message, text) == f"{expected}$.e: is unknown"
