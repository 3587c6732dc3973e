"""Export and import: content returns byte for byte, and an invalid line does not affect the others."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from reed.cli.importing.existing import merge_patch
from reed.cli.importing.plain import infer
from reed.client import Client
from reed.errors import Malformed
from reed.wire import jsonl
from reed.wire.identifiers import is_semantic_name
from reed.wire.jsonl import Line
from reed.wire.registry import Definition
from reed.wire.snippets import Record

from .conftest import ENVIRON

NAMES = st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9_./-]{0,30}\Z")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from(["content", "kind", '","content":{', "a", "ü"]), JSON, max_size=4)
LAYOUTS = st.sampled_from([{}, {"indent": 1}, {"ensure_ascii": False}, {"separators": (",", ":")}])


@given(content=OBJECTS, layout=LAYOUTS, around=st.sampled_from(["", " ", "\n"]), name=NAMES | st.just(""))
def test_a_line_of_an_export_keeps_the_content_byte_for_byte(content, layout, around, name):
    text = (around + json.dumps(content, **layout) + around).encode()
    line = jsonl.of_snippet(Record("id", "page", name, 2, 3, 4, text))
    assert line.count(b"\n") == 1
    read = jsonl.read(line.strip())
    assert read.json == text
    assert (read.text("kind"), read.text("name")) == ("snippet", name)
    assert json.loads(line)["id"] == "id"
    assert jsonl.read(jsonl.of_type(Definition("page", text)).strip()).json == text


@given(content=OBJECTS, seed=st.randoms())
def test_keys_of_a_line_may_have_any_order(content, seed):
    fields = list({"kind": "snippet", "type": "page", "name": "n", "content": content, "extra": 1}.items())
    seed.shuffle(fields)
    read = jsonl.read(json.dumps(dict(fields)).encode())
    assert json.loads(read.json) == content
    assert read.fields["extra"] == 1


@given(st.binary(max_size=40) | st.text().map(str.encode) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_line_is_read_or_rejected(line):
    with contextlib.suppress(ValueError, Malformed):
        assert isinstance(jsonl.read(line), Line)


@given(OBJECTS, OBJECTS)
def test_a_merge_patch_turns_old_content_into_new(old, new):
    try:
        patch = merge_patch(json.dumps(old), json.dumps(new, indent=1))
    except Malformed:
        assert "null" in json.dumps(new)
        return
    assert apply(old, json.loads(patch)) == new


def test_a_merge_patch_keeps_digits_and_omits_equal_values():
    old = '{"a": 1.50, "b": 0.1, "c": {"d": 1, "e": 2}}'
    new = '{"b":0.1000000000000000055511151231257827,"c":{"e":2,"d":1},"a":1.50,"n":18446744073709551615}'
    assert merge_patch(old, new) == '{"b":0.1000000000000000055511151231257827,"n":18446744073709551615}'


def apply(target, patch):
    """RFC 7396, MergePatch."""
    if not isinstance(patch, dict):
        return patch
    target = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        else:
            target[key] = apply(target.get(key), value)
    return target


def test_searchable_fields_are_inferred():
    sample = [
        b'{"path": "a", "title": "T", "tags": [], "body": "b", "n": 1}',
        b"not json",
        b'{"words": ["x"], "l": [1]}',
    ]
    assert infer(sample, "dir/pages.jsonl") == {
        "description": "Imported from pages.jsonl",
        "schema": {"type": "object"},
        "searchable": {"title": 5, "tags": 4, "body": 1, "words": 1},
    }


# Against a real core.


def written(tmp_path, name, *contents):
    path = tmp_path / name
    path.write_bytes(b"".join(content if isinstance(content, bytes) else content.encode() for content in contents))
    return str(path)


def test_import_of_plain_content(on_site, tmp_path):
    path = written(
        tmp_path, "recipes.jsonl",
        '{"slug": "bread/rye", "title": "Rye"}\n', "\n", '{"slug": "no good", "title": "A"}\r\n',
        '{"slug": "%s"}\n' % ("x" * 32), '{"slug": 7,   "n":1e2}',
    )  # fmt: skip
    ran = on_site("import", path, "--type", "recipe", "--name-field", "slug")
    assert ran.code == 0
    assert f"{path}: 3 of 4 lines" in ran.err
    assert "line 3, 'no good'" in ran.err
    assert dict(line.split("\t") for line in ran.out.splitlines())["snippets"] == "4"
    rows = [line.split("\t") for line in on_site("snippet", "list", "--type", "recipe").out.splitlines()]
    assert [row[2] for row in rows] == ["bread/rye", "", "", ""]
    assert on_site("snippet", "get", rows[3][0]).out == '{"slug": 7,   "n":1e2}\n'
    assert json.loads(on_site("registry", "get", "recipe").out)["searchable"] == {"title": 5}


def test_invalid_lines_are_rejected_and_the_others_imported(on_site, tmp_path):
    on_site("registry", "define", "strict", '{"schema": {"required": ["title"]}}')
    path = written(
        tmp_path, "mixed.jsonl",
        '{"title": "one"}\n', '{"title": "cut\n', '{"body": "no title"}\n', b'{"title": "\xff"}\n', "[1]\n",
        '{"title": NaN}\n', '{"title": "two", "name": "dup"}\n', '{"title": "three", "name": "dup"}\n',
        '{"title": "last"}\n',
    )  # fmt: skip
    ran = on_site("import", path, "--type", "strict", "--name-field", "name", "--json")
    assert ran.code == 1
    report = json.loads(ran.out)
    assert report["snippets"] == 3
    assert [each["line"] for each in sorted(report["refused"], key=lambda each: each["line"])] == [2, 3, 4, 5, 6, 8]
    assert f"{path}:2:11: " in ran.err
    assert f"{path}:3: " in ran.err
    assert "title" in ran.err
    assert f"{path}:4:12: " in ran.err
    assert f"{path}:8: " in ran.err
    assert "dup" in ran.err
    rows = [line.split("\t") for line in on_site("snippet", "list", "--type", "strict").out.splitlines()]
    titles = [json.loads(row[6])["title"] for row in rows]
    assert titles == ["one", "two", "last"]


def test_import_of_files_with_a_byte_order_mark_or_a_json_array(on_site, tmp_path):
    on_site("registry", "define", "shape", "{}")
    windows = written(tmp_path, "windows.jsonl", b"\xef\xbb\xbf", '{"n": 1}\r\n', '{"n": 2}\r\n')
    ran = on_site("import", windows, "--type", "shape")
    assert (ran.code, ran.err) == (0, "")
    pretty = written(tmp_path, "pretty.json", "[\n", '{"n": 3}\n', "]\n")
    ran = on_site("import", pretty, "--type", "shape")
    assert ran.code == 1
    assert f"{pretty}:1:2: " in ran.err


def test_export_into_a_pipe(site_folder):
    done = subprocess.run(
        [sys.executable, "-m", "reed", "--runtime-dir", str(site_folder / "run"), "export", "/dev/stdout"],
        stdout=subprocess.PIPE,
        env=ENVIRON,
        timeout=60,
        check=True,
    )
    assert done.stdout.startswith(b'{"kind":')


def test_import_update_changes_existing_snippets(on_site, tmp_path):
    first = written(tmp_path, "1.jsonl", '{"k": "u/1", "a": 1, "o": {"x": 1, "y": 2}}\n', '{"k": "u/2", "a": 1}\n')
    second = written(
        tmp_path, "2.jsonl",
        '{"k": "u/1", "b": 2, "o": {"y": 3}}\n', '{"k": "u/2", "a": 1}\n', '{"k": "u/3"}\n',
        '{"k": "u/2", "a": null}\n',
    )  # fmt: skip
    assert on_site("import", first, "--type", "thing", "--name-field", "k").code == 0
    again = on_site("import", first, "--type", "thing", "--name-field", "k", "--json")
    assert again.code == 0
    assert json.loads(again.out)["unchanged"] == 2
    refused = on_site("import", second, "--type", "thing", "--name-field", "k", "--dry-run", "--json")
    assert refused.code == 1
    assert [each["line"] for each in json.loads(refused.out)["refused"]] == [4, 1]
    ran = on_site("import", second, "--type", "thing", "--name-field", "k", "--update", "--json")
    report = json.loads(ran.out)
    assert (report["snippets"], report["updated"], report["unchanged"]) == (1, 1, 1)
    assert [each["line"] for each in report["refused"]] == [4]
    assert "null" in report["refused"][0]["error"]
    changed = json.loads(on_site("snippet", "get", "u/1", "--json").out)
    assert (changed["content"], changed["version"]) == ({"k": "u/1", "b": 2, "o": {"y": 3}}, 2)
    other = on_site("import", first, "--type", "page2", "--name-field", "k", "--update")
    assert other.code == 1
    assert "thing" in other.err
    assert "page2" in other.err


def test_an_export_is_imported_into_another_core(on_site, reed, second_core, tmp_path, monkeypatch):
    on_site("registry", "define", "tree", '{\n "description": "laid out"\n}')
    laid_out = '{\n  "title": "lines",\t"x": "a\\nb"\n}'
    on_site("snippet", "create", "tree", "--name", "t/root", laid_out)
    with Client(os.path.join(os.environ["REED_RUNTIME_DIR"], "core.sock")) as core:
        core.snippet_create("tree", "t/spaced", b'  {"a": 1} ')
        unnamed = core.snippet_create("tree", "", b'{"b":2,"content":{"c":3}}')
    on_site("schema", "bond", "t/root", unnamed, "--weight", "3", "--path", "/ü")
    on_site("schema", "bond", "t/root", "t/spaced", "--weight", "-3")
    on_site("schema", "bond", unnamed, "t/spaced")
    assert on_site("export", "all.jsonl").code == 0
    assert os.listdir(tmp_path) == ["all.jsonl"]
    exported = (tmp_path / "all.jsonl").read_bytes()
    assert on_site("export", "-").out.encode() == exported

    monkeypatch.setenv("REED_RUNTIME_DIR", str(second_core))
    ran = reed("import", "all.jsonl", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert json.loads(ran.out)["bonds"] == 3
    assert reed("export", "again.jsonl").code == 0
    assert (tmp_path / "again.jsonl").read_bytes() == exported
    again = reed("import", "all.jsonl", "--json")
    assert (again.code, again.err) == (0, "")
    report = json.loads(again.out)
    counts = [report[what] for what in ("snippets", "updated", "unchanged", "types", "bonds")]
    assert counts == [0, 0, exported.count(b'"kind":"snippet"'), 0, 0]
    assert reed("export", "-").out.encode() == exported


def test_a_type_with_another_definition_is_redefined_only_with_update(on_site, tmp_path):
    on_site("registry", "define", "kept", '{"description": "mine"}')
    path = written(tmp_path, "t.jsonl", '{"kind":"type","name":"kept","definition":{"description":"theirs"}}\n')
    ran = on_site("import", path)
    assert ran.code == 1
    assert "--update" in ran.err
    assert on_site("registry", "get", "kept").out == '{"description": "mine"}\n'
    assert on_site("import", path, "--update").code == 0
    assert on_site("registry", "get", "kept").out == '{"description":"theirs"}\n'


def test_import_of_plain_content_requires_a_type(on_site, tmp_path):
    ran = on_site("import", written(tmp_path, "p.jsonl", '{"title": "x"}\n'))
    assert ran.code == 1
    assert "--type" in ran.err
    assert on_site("import", "p.jsonl", "--name-field", "x").code == 2


def test_a_failed_export_keeps_the_old_file(on_site, tmp_path):
    (tmp_path / "old.jsonl").write_text("old")
    assert on_site("export", "old.jsonl", "--type", "nosuch").code == 1
    assert (tmp_path / "old.jsonl").read_text() == "old"
    assert os.listdir(tmp_path) == ["old.jsonl"]
    assert on_site("export", "no/such/folder.jsonl").code == 1


def test_import_from_standard_input(on_site, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"s": "in/1"}\n{"s": bad}\n')))
    ran = on_site("import", "-", "--type", "in", "--name-field", "s")
    assert ran.code == 1
    assert "reed: -:2:7: " in ran.err
    assert on_site("snippet", "get", "in/1").code == 0


def unique_names(contents):
    return [path for path in (json.loads(each)["path"] for each in contents) if is_semantic_name(path)]


def test_import_and_export_of_real_pages(on_site, pages, tmp_path):
    ran = on_site("import", pages, "--type", "real", "--name-field", "path", "--json")
    contents = pages.read_bytes().splitlines()
    assert ran.code == 0
    report = json.loads(ran.out)
    assert report["snippets"] == len(contents)
    assert report["unnamed"]["count"] == len(contents) - len(unique_names(contents))
    assert on_site("export", "real.jsonl", "--type", "real").code == 0
    exported = [jsonl.read(line) for line in (tmp_path / "real.jsonl").read_bytes().splitlines()]
    assert [line.json for line in exported if line.fields["kind"] == "snippet"] == contents
