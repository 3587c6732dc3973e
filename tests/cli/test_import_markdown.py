"""`reed import FOLDER --markdown`: files become pages, folders the tree; run again it writes only what changed."""

from __future__ import annotations

import builtins
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from reed.client import Client

pytest.importorskip("markdown_it", reason="markdown-it-py is not here: pip install 'reed-cms[markdown]'")
pytest.importorskip("mdit_py_plugins", reason="mdit-py-plugins is not here: pip install 'reed-cms[markdown]'")

DOCS = {
    "index.md": "---\ntitle: Bakery\ndescription: Bread, and how it is made\n---\n\nSee [rye](bread/rye.md).\n",
    "bread/README.md": "# All *bread*\n\nText.\n",
    "bread/wheat.md": "---\norder: 2\nkeywords: [flour, oven]\nmade: 2026-11-27\nnothing:\n---\nWheat.\n",
    "bread/rye.md": "---\norder: 1\ntitle: Rye\n---\n    indented\n\nAnd more.\n\n",
    "bread/about-salt.md": "Salt.\n",
    "notes/first_note.md": "\ufeff# First\r\n\r\nOne.\r\n",
    ".hidden/secret.md": "no",
    "bread/picture.png": "no",
}


@pytest.fixture
def docs(tmp_path):
    """Writes files below the folder `docs`; None deletes."""
    folder = tmp_path / "docs"

    def write(files: dict[str, str | bytes | None]) -> Path:
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if text is None:
                path.unlink()
            else:
                path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return folder

    return write


@pytest.fixture(autouse=True)
def _no_names_are_left(site_folder):
    """Names are unique in a core, which the tests of this file share."""
    yield
    with Client(site_folder / "run" / "core.sock") as core:
        for record in list(core.snippets()):
            core.snippet_delete(record.id, cascade=True)


def imported(on_site, folder: Path, kind: str, *options: str, code: int = 0) -> dict[str, Any]:
    ran = on_site("import", folder, "--markdown", "--type", kind, "--json", *options)
    assert ran.code == code, ran
    return json.loads(ran.out)


def counts(report: dict[str, Any]) -> list[int]:
    return [report[what] for what in ("snippets", "updated", "unchanged", "bonds")]


def pages_of(on_site, kind: str) -> dict[str, dict[str, Any]]:
    listed = json.loads(on_site("snippet", "list", "--type", kind, "--json").out)
    return {each["content"]["path"]: each for each in listed}


def tree_of(on_site, root: str) -> Any:
    """(path, [children])"""

    def paths(node: dict[str, Any]) -> Any:
        path = json.loads(on_site("snippet", "get", node["id"]).out)["path"]
        return (path, [paths(child) for child in node["children"]])

    return paths(json.loads(on_site("schema", "tree", root, "--json").out))


def test_files_become_pages_and_folders_the_tree(on_site, docs):
    report = imported(on_site, docs(DOCS), "bakery")
    assert counts(report) == [7, 0, 0, 6]
    assert (report["types"], report["refused"], report["warnings"]) == (1, [], [])
    pages = pages_of(on_site, "bakery")
    assert {path: page["name"] for path, page in pages.items()} == {path: path for path in pages}
    contents = {path: page["content"] for path, page in pages.items()}
    assert contents["index"] == {
        "path": "index",
        "file": "index.md",
        "title": "Bakery",
        "description": "Bread, and how it is made",
        "body": "See [rye](bread/rye.md).",
    }
    assert contents["bread"]["title"] == "All bread"
    assert contents["bread/wheat"] == {
        "path": "bread/wheat",
        "file": "bread/wheat.md",
        "title": "Wheat",
        "order": 2,
        "keywords": ["flour", "oven"],
        "made": "2026-11-27",
        "body": "Wheat.",
    }
    assert contents["bread/rye"]["body"] == "    indented\n\nAnd more."
    assert contents["bread/about-salt"]["title"] == "About salt"
    assert contents["notes"] == {"path": "notes", "file": "notes/", "title": "Notes", "body": ""}
    assert contents["notes/first_note"]["body"] == "# First\n\nOne."
    bread = ("bread", [("bread/rye", []), ("bread/wheat", []), ("bread/about-salt", [])])
    assert tree_of(on_site, "index") == ("index", [bread, ("notes", [("notes/first_note", [])])])
    (hit,) = json.loads(on_site("search", "oven", "--type", "bakery", "--json").out)["hits"]
    assert hit["name"] == "bread/wheat"


def test_another_run_writes_what_changed(on_site, docs):
    folder = docs({"index.md": "Home", "a.md": "---\nnote: x\nbox: {k: 1}\n---\nA", "b.md": "B", "c.md": "C"})
    assert counts(imported(on_site, folder, "again")) == [4, 0, 0, 3]
    before = pages_of(on_site, "again")
    assert counts(imported(on_site, folder, "again")) == [0, 0, 4, 0]
    docs({"a.md": "---\nbox: {l: 1}\n---\nA", "c.md": "---\norder: 1\n---\nC"})
    assert counts(imported(on_site, folder, "again", "--dry-run")) == [0, 2, 2, 3]
    assert pages_of(on_site, "again") == before
    assert counts(imported(on_site, folder, "again")) == [0, 2, 2, 3]
    after = pages_of(on_site, "again")
    assert after["a"]["content"] == {"path": "a", "file": "a.md", "title": "A", "box": {"l": 1}, "body": "A"}
    assert after["b"] == before["b"]
    assert [path for path, _ in tree_of(on_site, after["index"]["id"])[1]] == ["c", "a", "b"]
    assert counts(imported(on_site, folder, "again")) == [0, 0, 4, 0]


def test_pages_without_a_file_are_named_and_pruned(on_site, docs):
    folder = docs({"index.md": "Home", "old/page.md": "Old", "new.md": "New"})
    imported(on_site, folder, "pruned")
    on_site("snippet", "create", "pruned", '{"path": "mine", "title": "Written by hand"}')
    docs({"old/page.md": None})
    (folder / "old").rmdir()
    ran = on_site("import", folder, "--markdown", "--type", "pruned")
    assert "2 pages without a file, first old; --prune deletes such pages" in ran.err
    assert imported(on_site, folder, "pruned", "--prune", "--dry-run")["deleted"] == 2
    assert len(pages_of(on_site, "pruned")) == 5
    docs({"new.md": b"\xff"})
    ran = on_site("import", folder, "--markdown", "--type", "pruned", "--prune")
    assert ran.code == 1
    assert "--prune deleted nothing, because files were rejected" in ran.err
    assert len(pages_of(on_site, "pruned")) == 5
    docs({"new.md": "New"})
    report = imported(on_site, folder, "pruned", "--prune")
    assert (report["deleted"], report["unchanged"]) == (2, 2)
    assert sorted(pages_of(on_site, "pruned")) == ["index", "mine", "new"]


REJECTED = {
    "yaml.md": ("---\ntitle: a\nlist: [1,\n---\n", "yaml.md:3:10: front matter: "),
    "twice.md": ("---\ntitle: a\ntitle: b\n---\n", "twice.md:3:1: front matter: the key 'title' occurs twice"),
    "number.md": ("---\n1: a\n---\n", "number.md:2:1: front matter: the key 1 is no text; quote it"),
    "alias.md": ("---\na: &x 1\nb: *x\n---\n", "alias.md:3:4: front matter: aliases"),
    "tag.md": ("---\na: !!python/object:os.x 1\n---\n", "tag.md:2:4: front matter: could not determine a constructor"),
    "list.md": ("---\n- a\n---\n", "list.md:2: front matter: expected fields and values, found a list"),
    "open.md": ("---\ntitle: a\n\ntext", "open.md:1: front matter begins here, but does not end"),
    "nan.md": ("---\na: .nan\n---\n", "nan.md:1: front matter: "),
    "control.md": ("---\na: 1\nb: \x07\n---\n", "control.md:3: front matter: character U+0007 is not allowed"),
    "octal.md": ("---\na: 0b2\nb: 1:99\n---\n", ""),  # text, or a number in base 60
    "bytes.md": (b"---\na: b\n---\nline\nab\xff", "bytes.md:5:3: not UTF-8: byte 0xFF"),
    "order.md": ("---\na: 1\norder: first\n---\n", "order.md:3: front matter: order must be a number, found 'first'"),
    "body.md": ("---\nbody: text\n---\n", "body.md:2: front matter: 'body' is set by the import"),
    "guide/index.md": ("Guide", "guide/index.md: duplicate path 'guide': guide.md has it too"),
}


def test_a_file_that_cannot_be_imported_is_named_with_its_line(on_site, docs):
    folder = docs({"index.md": "Home", "guide.md": "Guide", **{name: text for name, (text, _) in REJECTED.items()}})
    ran = on_site("import", folder, "--markdown", "--type", "refused")
    assert ran.code == 1
    for name, (_, message) in REJECTED.items():
        assert f"reed: {folder}/{message}" in ran.err, name
    rows = dict(line.split("\t") for line in ran.out.splitlines())
    assert rows["refused"] == str(len(REJECTED) - 1)
    assert sorted(pages_of(on_site, "refused")) == ["guide", "index", "octal"]


def test_what_the_core_refuses_is_reported_for_the_file(on_site, docs):
    on_site("registry", "define", "strict", '{"schema": {"required": ["title", "date"]}}')
    folder = docs({"index.md": "---\ndate: 2026\n---\nHome", "a/index.md": "A", "a/b.md": "---\ndate: x\n---\nB"})
    for options in (["--dry-run"], []):
        report = imported(on_site, folder, "strict", *options, code=1)
        (refused,) = report["refused"]
        assert refused["file"] == f"{folder}/a/index.md"
        assert "date" in refused["error"]
        assert report["snippets"] == 2
    (warning,) = report["warnings"]
    assert warning["file"] == f"{folder}/a/b.md"
    assert "not in the tree, because the page a could not be imported" in warning["error"]


def test_links_are_checked(on_site, docs, tmp_path):
    (tmp_path / "outside.md").write_text("secret")
    text = '# T\n\nA [good](guide/b.md#x) [one](https://example.org/c.md)\nand [out](../outside.md "t")\n\n'
    text += "`[code](gone.md)` ![image](gone.png) [%2e](%2e%2e/outside.md) [root](/x) [mail](mailto:a@b.c) [#](#t)\n"
    folder = docs({"index.md": text, "guide/b.md": "[home](../index.md) [folder](../guide/)"})
    (folder / "link.md").symlink_to("../outside.md")
    (folder / "inside.md").symlink_to("guide/b.md")
    (folder / "up").symlink_to("..")
    ran = on_site("import", folder, "--markdown", "--type", "linked")
    assert ran.code == 1
    assert f"{folder}/index.md:4: warning: the link ../outside.md leads out of the folder" in ran.err
    assert f"{folder}/index.md:6: warning: the link gone.png leads to no file" in ran.err
    assert f"{folder}/index.md:6: warning: the link %2e%2e/outside.md leads out of the folder" in ran.err
    assert f"{folder}/link.md: is a symbolic link out of the folder" in ran.err
    assert f"{folder}/up: is a symbolic link to a folder" in ran.err
    assert f"{folder}/inside.md:1: warning: the link ../index.md leads out of the folder" in ran.err
    assert ran.err.count("warning: the link") == 5
    assert "secret" not in json.dumps(pages_of(on_site, "linked"))


def test_a_path_that_is_no_name_identifies_the_page(on_site, docs):
    folder = docs({"index.md": "Home", "a long name with spaces, and ü.md": "Long"})
    ran = on_site("import", folder, "--markdown", "--type", "unnamed")
    assert "1 page without a name, first a long name with spaces, and ü" in ran.err
    docs({"a long name with spaces, and ü.md": "Longer"})
    assert counts(imported(on_site, folder, "unnamed")) == [0, 1, 1, 0]


def test_a_snippet_with_the_name_of_a_page_becomes_the_page(on_site, docs):
    on_site("registry", "define", "taken", "{}")
    on_site("snippet", "create", "taken", "--name", "taken/a", '{"title": "By hand", "extra": 1}')
    folder = docs({"index.md": "Home", "taken/a.md": "From a file"})
    imported(on_site, folder, "taken")
    page = pages_of(on_site, "taken")["taken/a"]
    assert page["version"] == 2
    assert page["content"]["body"] == "From a file"
    assert "extra" not in page["content"]
    assert counts(imported(on_site, folder, "taken")) == [0, 0, 3, 0]


def test_two_folders_with_two_types(on_site, docs, tmp_path):
    """Names are unique in a core, paths within a type."""
    imported(on_site, docs({"index.md": "Home", "news.md": "News"}), "first")
    (tmp_path / "blog").mkdir()
    (tmp_path / "blog" / "news.md").write_text("More news")
    for options in (["--dry-run"], []):
        report = imported(on_site, tmp_path / "blog", "second", *options)
        assert counts(report) == [2, 0, 0, 1]
        assert [each["error"] for each in report["warnings"]] == [
            "warning: no name, because a snippet of the type first has it: index",
            "warning: no name, because a snippet of the type first has it: news",
        ]
        assert report["warnings"][0]["file"] == str(tmp_path / "blog")
    pages = pages_of(on_site, "second")
    assert pages["index"]["content"] == {"path": "index", "file": "./", "title": "Blog", "body": ""}
    assert tree_of(on_site, pages["index"]["id"]) == ("index", [("news", [])])
    assert tree_of(on_site, "index") == ("index", [("news", [])])
    again = imported(on_site, tmp_path / "blog", "second")
    assert (counts(again), again["warnings"]) == ([0, 0, 2, 0], [])


def test_a_folder_without_markdown_changes_nothing(on_site, docs, tmp_path):
    folder = docs({"readme.txt": "Home"})
    ran = on_site("import", folder, "--markdown", "--prune")
    assert ran.code == 1
    assert "no file ends with .md or .markdown; nothing was imported" in ran.err
    assert "is not there" in on_site("import", tmp_path / "gone", "--markdown").err
    assert "is no folder" in on_site("import", folder / "readme.txt", "--markdown").err
    assert "--markdown" in on_site("import", folder, "--type", "page").err
    assert on_site("import", folder, "--markdown", "--key", "path").code == 2
    assert on_site("import", folder, "--prune").code == 2


def test_without_the_packages_the_command_names_what_to_install(on_site, docs, monkeypatch):
    real = builtins.__import__

    def missing(name: str, *rest: Any, **named: Any) -> Any:
        if name.partition(".")[0] == "markdown_it":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest, **named)

    monkeypatch.delitem(sys.modules, "reed.cli.importing.markdown", raising=False)
    monkeypatch.delitem(sys.modules, "reed.cli.importing.markdown_pages", raising=False)
    monkeypatch.setattr(builtins, "__import__", missing)
    ran = on_site("import", docs(DOCS), "--markdown")
    assert ran.code == 1
    assert ran.err == "reed: --markdown requires the package markdown-it; pip install 'reed-cms[markdown]'\n"


def test_real_pages(on_site, pages, tmp_path):
    """Nothing of a page is lost, and all are unchanged the second time."""
    folder = tmp_path / "real"
    written = {}
    for line in pages.read_text(encoding="utf-8").split("\n")[:-1:5]:  # parsing Markdown takes 3 ms a page
        page = json.loads(line)
        file = folder / f"{page['path']}.md"
        file.parent.mkdir(parents=True, exist_ok=True)
        front_matter = json.dumps({"title": page["title"], "keywords": page["keywords"]})  # JSON is YAML
        file.write_text(f"---\n{front_matter}\n---\n{page['body']}\n", encoding="utf-8")
        written[f"{page['path']}.md"] = page
    report = imported(on_site, folder, "hugo")
    assert report["refused"] == []
    assert report["snippets"] >= len(written)
    stored = {page["content"]["file"]: page["content"] for page in pages_of(on_site, "hugo").values()}
    for file, page in written.items():
        assert stored[file]["body"] == page["body"].strip("\n"), file
        assert stored[file].get("keywords") == page["keywords"]
    again = imported(on_site, folder, "hugo")
    assert counts(again) == [0, 0, report["snippets"], 0]
