"""Import restores an export, and reports the lines that it rejects."""

from __future__ import annotations

import json
import os

import pytest

from reed.client import Client
from reed.errors import PermissionDenied

OLD = "0190a5b2-7c3d-7e4f-8a9b-0c1d2e3f4a5b"
OTHER = "0190a5b2-7c3d-7e50-8a9b-0c1d2e3f4a5c"
EXACT = b'{"n":18446744073709551615,"f":0.1000000000000000055511151231257827,"e":1E2,"z":-0}'


@pytest.fixture
def core(on_site):
    with Client(os.path.join(os.environ["REED_RUNTIME_DIR"], "core.sock")) as client:
        yield client


def snippet(snippet_id, kind, content, name="", version=3):
    return (
        f'{{"kind":"snippet","id":"{snippet_id}","type":"{kind}","name":"{name}","version":{version},'
        f'"created_at":1700000000000000,"updated_at":1700000000000005,"content":{content}}}\n'
    )


def bond(parent, child, weight=1, path=""):
    return f'{{"kind":"bond","parent":"{parent}","child":"{child}","weight":{weight},"path":"{path}"}}\n'


def written(tmp_path, *lines):
    path = tmp_path / "file.jsonl"
    path.write_text("".join(lines))
    return str(path)


def report(ran):
    return json.loads(ran.out)


def counts(ran):
    return {what: count for what, count in report(ran).items() if isinstance(count, int) and count}


def test_changed_and_deleted_snippets_are_restored(on_site, core, tmp_path):
    core.registry_define("kept", {})
    ids = [core.snippet_create("kept", name, {"n": n}) for n, name in enumerate(("k/a", "", "k/c"))]
    core.schema_bond(ids[0], ids[1], 4, "p")
    before = [core.snippet_get(each) for each in ids]
    assert on_site("export", "kept.jsonl", "--type", "kept").code == 0
    core.snippet_update("k/a", {"n": "newer"})
    core.snippet_delete(ids[1], cascade=True)
    ran = on_site("import", "kept.jsonl", "--json")
    assert ran.code == 1
    assert counts(ran) == {"snippets": 1, "unchanged": 1, "bonds": 1}
    (refused,) = report(ran)["refused"]
    assert "version 2" in refused["error"]
    assert core.snippet_get(ids[1]) == before[1]
    ran = on_site("import", "kept.jsonl", "--update", "--json")
    assert (ran.code, counts(ran)) == (0, {"updated": 1, "unchanged": 2})
    assert [core.snippet_get(each) for each in ids] == before
    (child,) = core.schema_tree(ids[0])["children"]
    assert (child["id"], child["weight"], child["path"]) == (ids[1], 4, "p")


def test_content_that_no_longer_fits_is_restored_with_a_warning(on_site, core, tmp_path):
    core.registry_define("tight", {"schema": {"required": ["title"]}})
    path = written(tmp_path, snippet(OLD, "tight", '{"body":"b"}'))
    ran = on_site("import", path, "--json")
    assert (ran.code, counts(ran)) == (0, {"snippets": 1})
    (warning,) = report(ran)["warnings"]
    assert (warning["line"], "title" in warning["error"]) == (1, True)
    assert f"{path}:1: warning: " in ran.err
    assert core.snippet_get(OLD).content == b'{"body":"b"}'
    core.snippet_delete(OLD)


def test_a_dry_run_reports_the_same_and_writes_nothing(on_site, core, tmp_path):
    core.registry_define("dry", {"schema": {"required": ["title"]}})
    core.snippet_create("dry", "dry/taken", {"title": "t"})
    path = written(
        tmp_path,
        '{"kind":"type","name":"dry-new","definition":{}}\n',
        snippet(OLD, "dry", '{"title":"a"}', "dry/a"),
        snippet(OTHER, "dry", '{"body":"unfit"}'),
        snippet("label", "dry-new", '{"n":1}', "dry/b"),
        snippet("twice", "dry-new", '{"n":2}', "dry/b"),
        '{"kind":"snippet","type":"dry","name":"dry/taken","content":{"title":"other"}}\n',
        bond(OLD, OTHER),
    )
    before = on_site("export", "-").out
    tried = on_site("import", path, "--dry-run", "--json")
    assert on_site("export", "-").out == before
    done = on_site("import", path, "--json")
    assert report(tried).pop("dry_run") is True
    for ran in (tried, done):
        assert ran.code == 1
        what = report(ran)
        assert [what[each] for each in ("snippets", "types", "bonds")] == [3, 1, 1]
        assert [each["line"] for each in what["warnings"]] == [3]
        assert sorted(each["line"] for each in what["refused"]) == [5, 6]
    core.snippet_delete(OLD, cascade=True)
    core.snippet_delete(OTHER)


def test_plain_content_is_identified_by_a_key(on_site, core, tmp_path):
    lines = [f'{{"path": "{"x" * 40}{n}", "n": {n}}}\n' for n in range(20)]  # too long for a name
    path = written(tmp_path, *lines)
    first = on_site("import", path, "--type", "keyed", "--key", "path", "--json")
    assert (first.code, counts(first)) == (0, {"snippets": 20})
    again = on_site("import", path, "--type", "keyed", "--key", "path", "--json")
    assert (again.code, counts(again)) == (0, {"unchanged": 20})
    path = written(tmp_path, lines[0].replace('"n": 0', '"n": 7.50'), *lines[1:], lines[3], '{"n": 1}\n')
    refused = on_site("import", path, "--type", "keyed", "--key", "path", "--json")
    assert sorted(each["line"] for each in report(refused)["refused"]) == [1, 21, 22]
    changed = on_site("import", path, "--type", "keyed", "--key", "path", "--update", "--json")
    assert counts(changed) == {"updated": 1, "unchanged": 19}
    assert sum(b"7.50" in bytes(record.content) for record in core.snippets("keyed")) == 1


def test_a_field_missing_in_all_lines_is_an_error(on_site, core, tmp_path):
    path = written(tmp_path, '{"path": "a"}\n', '{"path": "b"}\n')
    for option in ("--name-field", "--key"):
        ran = on_site("import", path, "--type", "unfielded", option, "pathh")
        assert ran.code == 1
        assert "'pathh'" in ran.err
        assert "'path'" in ran.err
    assert "unfielded" not in [each.type_name for each in core.registry_list()]


def test_reasons_of_lines_without_a_name(on_site, tmp_path):
    path = written(
        tmp_path, '{"p": "named"}\n', '{"p": "no good"}\n', '{"p": 5}\n', "{}\n", '{"p": "%s"}\n' % ("é" * 16)
    )
    ran = on_site("import", path, "--type", "unnamed", "--name-field", "p", "--json")
    assert ran.code == 0
    unnamed = report(ran)["unnamed"]
    assert (unnamed["count"], unnamed["first"]) == (4, {"line": 2, "value": "no good"})
    assert sorted(unnamed["reasons"].values()) == [1, 1, 1, 1]


def test_many_invalid_lines_print_twenty_errors_and_a_count(on_site, tmp_path):
    path = written(tmp_path, *["{bad}\n"] * 20_000, '{"n": 1}\n')
    ran = on_site("import", path, "--type", "bad")
    assert ran.code == 1
    assert ran.err.count("not JSON") == 20
    assert "19980 more" in ran.err
    assert len(ran.err.splitlines()) < 25


def test_deep_content_and_long_numbers_are_restored(on_site, core, tmp_path):
    deep = '{"a":' * 63 + "[]" + "}" * 63
    long_number = '{"n":' + "7" * 400 + "}"
    path = written(
        tmp_path, snippet(OLD, "deep", deep), snippet(OTHER, "deep", long_number), "[" * 100_000 + "\n",
        f'{{"content": {EXACT.decode()}, "type": "deep", "name": "exact"}}\n',
    )  # fmt: skip
    core.registry_define("deep", {})
    ran = on_site("import", path, "--json")
    assert [each["line"] for each in report(ran)["refused"]] == [3]
    assert core.snippet_get(OLD).content == deep.encode()
    assert core.snippet_get(OTHER).content == long_number.encode()
    assert core.snippet_get("exact").content == EXACT
    core.snippet_update("exact", {"new": 1})
    assert core.snippet_get("exact").content == EXACT[:-1] + b',"new":1}'
    assert EXACT[:-1].decode() in on_site("snippet", "get", "exact", "--json").out
    assert EXACT[:-1].decode() in on_site("snippet", "list", "--type", "deep", "--json").out
    for each in (OLD, OTHER):
        core.snippet_delete(each)


def test_import_with_ids_that_are_not_uuidv7(on_site, core, tmp_path):
    core.registry_define("foreign", {})
    path = written(
        tmp_path,
        snippet("0190a5b2-7c3d-4e4f-8a9b-0c1d2e3f4a5b", "foreign", "{}"),
        snippet(OLD, "foreign", '{"n":1}', "f/a"),
        bond(OLD, "f/b"),
        snippet("local", "foreign", '{"n":2}', "f/b"),
        bond("local", OLD, 2),
    )
    ran = on_site("import", path, "--new-ids", "--json")
    assert (ran.code, counts(ran)) == (1, {"snippets": 3, "bonds": 1})  # the second bond would close a cycle
    (child,) = core.schema_tree("f/a")["children"]
    assert child["name"] == "f/b"
    assert core.snippet_get("f/a").id != OLD
    ran = on_site("import", path, "--json")
    assert [each["line"] for each in report(ran)["refused"]] == [1, 5]
    assert counts(ran) == {"unchanged": 2}


def test_restoring_requires_its_permission(core, monkeypatch, on_site, tmp_path):
    core.registry_define("denied", {})
    path = written(tmp_path, snippet(OLD, "denied", "{}"))
    seen = []

    def refuse(self, requests, window=512):
        for request in requests:
            seen.append(request)
            yield request, PermissionDenied("user editor may not SNIPPET_RESTORE")

    monkeypatch.setattr(Client, "pipelined", refuse)
    ran = on_site("import", path)
    assert ran.code == 1
    assert len(seen) == 1
    assert "may not SNIPPET_RESTORE" in ran.err


def test_redefining_a_type_reports_snippets_that_do_not_fit(on_site, core):
    assert on_site("registry", "define", "loose", "{}").err == ""
    ids = [core.snippet_create("loose", "", {"n": n}) for n in range(5)]
    ran = on_site("registry", "define", "loose", '{"schema": {"properties": {"n": {"maximum": 2}}}}')
    assert ran.code == 0
    assert "2 of 5" in ran.err
    assert ids[3] in ran.err
    ran = on_site("registry", "define", "loose", '{"schema": {"properties": {"n": {"maximum": 1}}}}', "--json")
    assert (report(ran)["unfit"], report(ran)["checked"]) == (3, 5)
    assert on_site("registry", "define", "loose", "{}").err == ""


def test_a_line_with_a_duplicate_unique_value_is_rejected(on_site, core, tmp_path):
    assert on_site("registry", "define", "exclusive", '{"unique": ["slug"]}').err == ""
    here = core.snippet_create("exclusive", "", {"slug": "a"})
    file = tmp_path / "lines.jsonl"
    line = {"kind": "snippet", "type": "exclusive", "content": {"slug": "a"}}
    file.write_text("".join(f"{json.dumps({**line, 'name': name})}\n" for name in ("other", here[:8])))
    for options in ([], ["--update"]):
        ran = on_site("import", str(file), *options)
        assert ran.code == 1
        assert ran.err.count(here) == 2
        assert "no snippet" not in ran.err
    assert core.snippet_get(here).version == 1
