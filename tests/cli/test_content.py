"""Types, snippets, bonds and search against a real core."""

from __future__ import annotations

import io
import json
import sys

import pytest

from reed.cli import options
from reed.cli.importing import command as importing

PAGE = '{"schema": {"type": "object", "required": ["title"]}, "searchable": {"title": 3, "body": 1}}'


@pytest.fixture
def site(on_site):
    """`reed` against a core with the type page."""
    assert on_site("registry", "define", "page", PAGE).code == 0
    return on_site


@pytest.fixture
def typed(monkeypatch):
    """Set the standard input of the next command."""

    def give(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    return give


def test_an_input_that_never_ends_is_refused(site, monkeypatch):
    for module in (options, importing):
        monkeypatch.setattr(module, "MAX_INPUT", 4 * 1024 * 1024)
    with open("/dev/zero") as endless:
        monkeypatch.setattr(sys, "stdin", endless)
        for words in (
            ("snippet", "create", "page", "-"),
            ("snippet", "create", "page", "--file", "/dev/zero"),
            ("import", "-"),
            ("import", "/dev/zero"),
        ):
            made = site(*words)
            assert made.code == 1
            assert "longer than 4 MB" in made.err


def test_content_is_stored_byte_for_byte(site):
    written = '{ "title":"Grüße" ,  "n":1.50 }'
    made = site("snippet", "create", "page", "--name", "greeting", written)
    assert (made.code, len(made.out)) == (0, 37)
    for ref in ("greeting", "$greeting", made.out.strip()):
        assert site("snippet", "get", ref).out == written + "\n"
    record = json.loads(site("snippet", "get", "greeting", "--json").out)
    assert record["id"] == made.out.strip()
    assert (record["type"], record["name"], record["version"]) == ("page", "greeting", 1)
    assert record["content"] == {"title": "Grüße", "n": 1.5}


def test_json_input_from_a_file_and_standard_input(site, tmp_path, typed):
    (tmp_path / "page.json").write_text('{\n  "title": "File"\n}\n')
    (tmp_path / "page.yaml").write_text("title: Yaml\nn: [1, 2]\n")
    for path, title in (("page.json", "File"), ("page.yaml", "Yaml")):
        made = site("snippet", "create", "page", "--file", path)
        assert json.loads(site("snippet", "get", made.out.strip()).out)["title"] == title
    typed(b'{"title": "Typed"}\n')
    made = site("snippet", "create", "page", "-")
    assert site("snippet", "get", made.out.strip()).out == '{"title": "Typed"}\n'
    (tmp_path / "bad.json").write_text('{"title": "File",}')
    (tmp_path / "bad.yaml").write_text("title: [1\n")
    assert "bad.json: " in site("snippet", "create", "page", "--file", "bad.json").err
    assert "bad.yaml:1:10: " in site("snippet", "create", "page", "--file", "bad.yaml").err
    (tmp_path / "empty.json").write_text("\n")
    assert "empty.json: " in site("snippet", "create", "page", "--file", "empty.json").err
    gone = site("snippet", "create", "page", "--file", "gone.json")
    assert (gone.code, gone.err) == (1, "reed: gone.json: No such file or directory\n")


def test_a_byte_order_mark_is_ignored(site, tmp_path, typed):
    marked = b'\xef\xbb\xbf{"title": "Marked"}\r\n'
    (tmp_path / "marked.json").write_bytes(marked)
    typed(marked)
    for words in (["--file", "marked.json"], ["--file", "-"]):
        made = site("snippet", "create", "page", *words)
        assert site("snippet", "get", made.out.strip()).out == '{"title": "Marked"}\n', made.err


def test_an_update_with_an_old_version_is_refused(site):
    site("snippet", "create", "page", "--name", "v", '{"title": "One", "draft": true}')
    assert site("snippet", "update", "v", '{"title": "Two", "draft": null}', "--if-version", "1").code == 0
    assert json.loads(site("snippet", "get", "v").out) == {"title": "Two"}
    late = site("snippet", "update", "v", '{"title": "Three"}', "--if-version=1")
    assert late.code == 1
    assert "version 2" in late.err


def test_errors_of_content_commands(site):
    site("snippet", "create", "page", "--name", "taken", '{"title": "T"}')
    for words, says in (
        (["snippet", "create", "page", "{}"], "title"),
        (["snippet", "create", "pgae", "{}"], "did you mean 'page'?"),
        (["snippet", "create", "page", "--name", "taken", '{"title": 1}'], "taken"),
        (["snippet", "create", "page", '{"title": '], "JSON"),
        (["snippet", "create", "page", "--name", "no way", '{"title": 1}'], "name"),
        (["snippet", "get", "tken"], "tken"),
        (["snippet", "get", "x" * 50], "31 bytes"),
        (["registry", "get", "pge"], "did you mean 'page'?"),
        (["registry", "define", "page", '{"shema": {}}'], "did you mean 'schema'?"),
    ):
        ran = site(*words)
        assert ran.code == 1, words
        assert ran.out == ""
        assert ran.err.startswith("reed: ")
        assert says in ran.err
        assert "Traceback" not in ran.err


def test_snippet_list_as_rows_and_as_json(site):
    ids = [site("snippet", "create", "page", f'{{"title": "{n}"}}').out.strip() for n in range(3)]
    rows = [line.split("\t") for line in site("snippet", "list", "--type", "page").out.splitlines()]
    assert [row[0] for row in rows][-3:] == ids
    assert rows[-1][1:4] == ["page", "", "1"]
    assert json.loads(rows[-1][6]) == {"title": "2"}
    listed = json.loads(site("--json", "snippet", "list", "--limit", "2").out)
    assert len(listed) == 2
    assert set(listed[0]) == {"id", "type", "name", "version", "created_at", "updated_at", "content"}


def test_snippet_list_reads_all_pages(site):
    for number in range(120):
        site("snippet", "create", "page", f'{{"title": "many {number}"}}')
    assert site("snippet", "list").out.count("\n") >= 120
    assert site("snippet", "list", "--limit", "110").out.count("\n") == 110


def test_bonds_and_tree(site):
    for name in ("root", "left", "right"):
        site("snippet", "create", "page", "--name", name, '{"title": "x"}')
    site("schema", "bond", "root", "right", "--weight", "5", "--path", "/r")
    bond = site("schema", "bond", "$root", "left", "--weight=-5")
    assert len(bond.out) == 37
    lines = [line.split("\t") for line in site("schema", "tree", "root").out.splitlines()]
    assert [(line[0], *line[3:]) for line in lines] == [
        ("0", "root", "0", ""), ("1", "left", "-5", ""), ("1", "right", "5", "/r"),
    ]  # fmt: skip
    tree = json.loads(site("schema", "tree", "root", "--depth", "1", "--json").out)
    assert [child["name"] for child in tree["children"]] == ["left", "right"]
    circle = site("schema", "bond", "right", "root")
    assert circle.code == 1
    assert site("snippet", "delete", "left").code == 1
    assert site("schema", "unbond", "root", "left").code == 0
    assert site("snippet", "delete", "left").code == 0
    assert site("snippet", "delete", "root", "--cascade").code == 0
    assert site("snippet", "get", "root").code == 1


def test_search_by_words_phrases_prefixes_and_without_accents(site):
    site("snippet", "create", "page", "--name", "brot", '{"title": "Küchenbrot", "body": "a night of patience"}')
    for query in (["kuchenbrot"], ['"night of patience"'], ["night of patience"], ["pat"], ["NIGHT", "kuchen"]):
        hits = json.loads(site("search", *query, "--json").out)
        assert [hit["name"] for hit in hits["hits"]] == ["brot"], query
        assert hits["total"] == 1
    score, name, kind, *_ = site("search", "kuchenbrot").out.split("\t")
    assert float(score) > 0
    assert (name, kind) == ("brot", "page")
    assert site("search", "zzz").out == ""
    assert site("search", "--", "-nothing").code == 0


def test_index_prints_the_count(site):
    site("snippet", "create", "page", "--name", "once", '{"title": "x"}')
    assert site("index", "once").out == "1\n"
    everything = json.loads(site("index", "--json").out)["indexed"]
    assert everything == site("snippet", "list").out.count("\n")


def test_a_type_is_deleted_when_its_snippets_are(site):
    site("registry", "define", "draft", "{}")
    made = site("snippet", "create", "draft", "{}").out.strip()
    refused = site("registry", "delete", "draft")
    assert refused.code == 1
    assert "type 'draft' has 1 snippet; delete them first: `reed snippet list --type draft` lists them" in refused.err
    site("snippet", "delete", made)
    assert site("registry", "delete", "draft") == (0, "", "")
    gone = site("registry", "delete", "draft")
    assert (gone.code, "no type 'draft'" in gone.err) == (1, True)


def test_registry_define_get_and_list(site):
    site("registry", "define", "note", '{"description": "A note"}')
    assert site("registry", "get", "note").out == '{"description": "A note"}\n'
    names = [row["name"] for row in json.loads(site("registry", "list", "--json").out)]
    assert {"note", "page"} <= set(names)


def test_status_prints_figures(site):
    figures = dict(line.split("\t") for line in site("status").out.splitlines())
    assert int(figures["store.types"]) >= 1
    assert json.loads(site("status", "--json").out)["pid"] == int(figures["pid"])


def test_snippet_list_where(site):
    site("registry", "define", "part", '{"indexed": ["path"], "unique": ["code"]}')
    contents = ['{"path": "a/b", "n": 10}', '{"path": "a/b", "n": "10"}', '{"path": "c", "code": 1.0, "tags": ["x"]}']
    ids = [site("snippet", "create", "part", content).out.strip() for content in contents]

    def found(*conditions):
        words = [word for condition in conditions for word in ("--where", condition)]
        ran = site("snippet", "list", "--type", "part", *words)
        assert ran.code == 0, ran.err
        return [line.split("\t")[0] for line in ran.out.splitlines()]

    assert found("path=a/b") == ids[:2]
    assert found("path=a/b", "n=10") == found("n=1e1") == ids[:1]
    assert found('n="10"') == ids[1:2]
    assert found("code=1") == found('tags=["x"]') == ids[2:]
    assert found("path=") == found("nowhere=null") == found("path=a=b") == []
    limited = site("snippet", "list", "--type", "part", "--where", "path=a/b", "--limit", "1", "--json")
    assert [record["id"] for record in json.loads(limited.out)] == ids[:1]
    refused = site("snippet", "create", "part", '{"code": 1}')
    assert refused.code == 1
    assert ids[2] in refused.err
    for bad in (["--where", "path=a"], ["--type", "part", "--where", "path"], ["--type", "part", "--where", "=a"],
                ["--type", "part", "--where", "n=1", "--where", "n=2"]):  # fmt: skip
        assert site("snippet", "list", *bad).code == 2
    refused = site("registry", "define", "part", '{"unique": ["path"]}')
    assert refused.code == 1
    assert all(snippet_id in refused.err for snippet_id in ids[:2])


def test_snippet_rename(site):
    snippet_id = site("snippet", "create", "page", "--name", "before", '{"title": "Quagga"}').out.strip()
    assert site("snippet", "rename", "$before", "$after").out == f"{snippet_id}\n"
    assert site("snippet", "get", "before").code == 1
    assert json.loads(site("search", "quagga", "--json").out)["hits"][0]["name"] == "after"
    other = site("snippet", "create", "page", "--name", "before", '{"title": "x"}').out.strip()
    taken = site("snippet", "rename", snippet_id, "before")
    assert taken.code == 1
    assert other in taken.err
    assert json.loads(site("snippet", "rename", "after", "", "--json").out) == {"id": snippet_id}
    record = json.loads(site("snippet", "get", snippet_id, "--json").out)
    assert (record["name"], record["version"]) == ("", 3)


def test_an_unambiguous_prefix_of_an_id_is_a_ref(site):
    snippet_id = site("snippet", "create", "page", '{"title": "Alone"}').out.strip()
    prefix = snippet_id[:21]  # ids of the same minute share the first 8 characters
    assert json.loads(site("snippet", "get", prefix).out) == {"title": "Alone"}
    assert site("snippet", "update", prefix, '{"title": "Alone 2"}').out.strip() == snippet_id
    site("snippet", "create", "page", '{"title": "Another"}')
    ambiguous = site("snippet", "get", snippet_id[:8])
    assert ambiguous.code == 1
    assert "snippets" in ambiguous.err
    assert site("snippet", "delete", prefix).out.strip() == snippet_id


@pytest.fixture
def sortable(site):
    site("registry", "define", "row", "{}")
    if not site("snippet", "list", "--type", "row").out:
        for name, content in {
            "b": '{"title": "beta", "weight": 10, "name": "inner"}',
            "a": '{"title": "Alpha", "weight": 9.5}',
            "c": '{"title": "\\u00dcber", "weight": null, "tags": ["x",  1.0]}',
            "": '{"title": 7, "weight": "heavy"}',
        }.items():
            site("snippet", "create", "row", *(["--name", name] if name else []), content)
        site("snippet", "update", "b", '{"seen": true}')
    return site


@pytest.mark.parametrize(
    ("sort", "titles"),
    [
        ("created", ["beta", "Alpha", "Über", "7"]),
        ("created:desc", ["7", "Über", "Alpha", "beta"]),
        ("updated:desc", ["beta", "7", "Über", "Alpha"]),
        ("name", ["Alpha", "beta", "Über", "7"]),
        ("name:desc", ["Über", "beta", "Alpha", "7"]),
        ("title", ["7", "Alpha", "beta", "Über"]),
        ("title:desc", ["Über", "beta", "Alpha", "7"]),
        ("weight", ["Alpha", "beta", "7", "Über"]),
        ("weight:desc", ["7", "beta", "Alpha", "Über"]),
        ("content.name", ["beta", "Alpha", "Über", "7"]),
        ("nothing", ["beta", "Alpha", "Über", "7"]),
    ],
)
def test_snippets_are_sorted(sortable, sort, titles):
    listed = ("snippet", "list", "--type", "row", "--sort", sort, "--fields", "title")
    assert sortable(*listed).out.splitlines() == titles
    assert sortable(*listed, "--limit", "2").out.splitlines() == titles[:2]


def test_the_fields_of_snippets(sortable):
    listed = ("snippet", "list", "--type", "row", "--fields", "name,content.name,weight,tags,version")
    rows = [line.split("\t") for line in sortable(*listed).out.splitlines()]
    assert rows == [
        ["b", "inner", "10", "", "2"],
        ["a", "", "9.5", "", "1"],
        ["c", "", "null", '["x",  1.0]', "1"],
        ["", "", "heavy", "", "1"],
    ]
    found = json.loads(sortable(*listed, "--json", "--where", "weight=9.5").out)
    assert found == [{"name": "a", "content.name": None, "weight": 9.5, "tags": None, "version": 1}]
    assert '"tags":["x",1.0]' in sortable(*listed, "--json").out
    whole = json.loads(sortable("snippet", "list", "--type", "row", "--fields", "content,created", "--json").out)
    assert whole[1]["content"] == {"title": "Alpha", "weight": 9.5}
    assert isinstance(whole[1]["created"], int)
    assert sortable("snippet", "list", "--fields", "a,,b").code == 2
    assert sortable("snippet", "list", "--sort", ":desc").code == 2


def test_too_many_snippets_to_sort(sortable, monkeypatch):
    monkeypatch.setattr("reed.cli.snippet_list.MAX_SORTED", 3)
    refused = sortable("snippet", "list", "--type", "row", "--sort", "title")
    assert refused.code == 1
    assert "more than 3 snippets" in refused.err
    assert sortable("snippet", "list", "--type", "row", "--sort", "title", "--limit", "3").code == 0
