"""`reed plugin scaffold`, up to the new plugin's first response; existing files stay unchanged."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from reed import scaffold
from reed.plugin_types import LANGUAGES
from reed.supervision import manifest, registry_csv

SLOW = os.environ.get("REED_SLOW_TESTS")


def next_commands(output: str) -> list[str]:
    return re.findall(r"^  (reed .*)$", output.partition("Next:")[2], re.MULTILINE)


@pytest.mark.parametrize(
    ("name", "language"),
    [
        ("new-lua-plugin", "lua"),
        ("new-rust-plugin", "rust"),
        ("my-rust", "rust"),
        ("lua", "lua"),
        ("word-count", ""),
        ("rusty", ""),
        ("lua-or-rust", ""),
    ],
)
def test_the_language_is_taken_from_the_name(name: str, language: str) -> None:
    assert scaffold.language_of(name) == language


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_new_plugin_matches_its_row(tmp_path, language: str) -> None:
    folder, files = scaffold.write("demo", language, tmp_path / "plugins")
    assert sorted(files) == sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    assert {"plugin.yaml", "README.md"} < set(files)
    registry = ",".join(registry_csv.COLUMNS) + "\n" + scaffold.row("demo", language) + "\n"
    (row,) = registry_csv.parse(registry.encode(), "csv", Path("/tmp/reed-cms"))
    manifest.check_row(manifest.load(folder), folder, row, Path("csv"))
    assert row.plugin_type == LANGUAGES[language].name
    for path in files:
        assert not re.search(r"@[a-z]+@", (folder / path).read_text()), path


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_new_plugin_states_its_version_once(tmp_path, language: str) -> None:
    folder, files = scaffold.write("demo", language, tmp_path / "plugins")
    own = [path for path in files if not path.startswith("vendor/") and path not in {"Cargo.lock", "README.md"}]
    assert [path for path in own if scaffold.VERSION in (folder / path).read_text()] == ["plugin.yaml"]


def test_a_rust_plugin_names_no_path_outside_of_its_folder(tmp_path) -> None:
    folder, files = scaffold.write("demo", "rust", tmp_path / "plugins")
    paths = re.findall(r'path = "([^"]+)"', (folder / "Cargo.toml").read_text())
    assert paths == ["vendor/reed-plugin"]
    assert "vendor/reed-plugin/src/lib.rs" in files
    here = str(Path(scaffold.__file__).parents[1])
    assert not [path for path in files if here in (folder / path).read_text()]


def test_what_pip_compiles_in_the_templates_is_not_part_of_a_new_plugin(tmp_path, monkeypatch) -> None:
    templates = shutil.copytree(scaffold.TEMPLATES, tmp_path / "templates")
    (templates / "python/__pycache__").mkdir(exist_ok=True)
    (templates / "python/__pycache__/main.cpython-311.pyc").write_bytes(b"\xa7\r\r\n")
    monkeypatch.setattr(scaffold, "TEMPLATES", templates)
    _, files = scaffold.write("new", "python", tmp_path)
    assert "main.py" in files
    assert not [name for name in files if "pycache" in name]


def test_an_unknown_placeholder_is_an_error() -> None:
    assert scaffold.render("a @name@ b@example.org", {"name": "x"}) == "a x b@example.org"
    with pytest.raises(KeyError):
        scaffold.render("@nmae@", {"name": "x"})


def test_a_lua_plugin_from_scaffold_to_its_first_answer(site) -> None:
    """Runs the commands that `scaffold` prints."""
    site.start()
    done = site.reed("plugin", "scaffold", "new-lua-plugin", "--register")
    assert done.returncode == 0, done.stderr
    assert "plugins/new-lua-plugin/main.lua" in done.stdout.splitlines()
    tried, reloaded, sent = next_commands(done.stdout)
    assert tried == "reed plugin test new-lua-plugin"
    done = site.reed("plugin", "test", "new-lua-plugin")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok\ttests/test_greet.lua\t3 passed" in done.stdout.splitlines()
    assert reloaded == "reed plugin reload"
    assert site.reed("plugin", "reload").returncode == 0
    assert sent == """reed plugin send new-lua-plugin greet '{"name": "Ada"}'"""
    answer = site.reed("plugin", "send", "new-lua-plugin", "greet", '{"name": "Ada"}')
    assert json.loads(answer.stdout) == {"greeting": "Hello, Ada!"}
    site.no_tracebacks()


@pytest.mark.slow
@pytest.mark.skipif(not SLOW, reason="builds a Rust plugin: half a minute; REED_SLOW_TESTS=1 runs it")
@pytest.mark.skipif(not shutil.which("cargo"), reason="cargo is not here")
def test_a_rust_plugin_from_scaffold_to_its_first_answer(site) -> None:
    done = site.reed("plugin", "scaffold", "new-rust-plugin", "--register")
    assert done.returncode == 0, done.stderr
    done = site.reed("plugin", "test", "new-rust-plugin", "--json", timeout=600)
    report = json.loads(done.stdout)
    assert report["passed"], report
    results = {check["name"]: check["result"] for check in report["checks"]}
    assert results["build"] == results["messages"] == results["cargo test"] == "ok"
    site.start()
    answer = site.reed("plugin", "send", "new-rust-plugin", "greet", '{"name": "Ada"}')
    assert json.loads(answer.stdout) == {"greeting": "Hello, Ada!"}


def test_without_a_running_core_the_next_command_starts_one(site) -> None:
    done = site.reed("plugin", "scaffold", "new-lua-plugin", "--register")
    assert next_commands(done.stdout)[1] == "reed start"


def test_without_register_the_row_is_only_shown(site) -> None:
    before = site.registry.read_bytes()
    done = site.reed("plugin", "scaffold", "word-count", "--lang", "lua", "--json")
    about = json.loads(done.stdout)
    assert about["row"].startswith("word-count,lua,/tmp/reed-cms/plugins/word-count.sock,0.1.0,")
    assert about["registered"] is False
    assert len(about["next"]) == 3
    assert site.registry.read_bytes() == before
    assert (site.root / "plugins/word-count/main.lua").is_file()


def test_dir_chooses_another_folder(site) -> None:
    done = site.reed("plugin", "scaffold", "new-lua-plugin", "--dir", "elsewhere")
    assert (site.root / "elsewhere/new-lua-plugin/plugin.yaml").is_file()
    assert "elsewhere is not a plugin folder of this site" in done.stdout
    assert site.reed("plugin", "test", "new-lua-plugin", "--plugin-dir", "elsewhere").returncode == 0


def test_the_bundled_folder_is_not_written_to(site) -> None:
    (site.root / "reed.yaml").write_text("plugin_dirs: []\n")
    done = site.reed("plugin", "scaffold", "new-lua-plugin")
    assert (site.root / "plugins/new-lua-plugin/plugin.yaml").is_file(), done.stderr
    assert "plugins is not a plugin folder of this site" in done.stdout


def test_an_existing_folder_is_not_overwritten(site) -> None:
    mine = site.root / "plugins/new-lua-plugin/notes.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    done = site.reed("plugin", "scaffold", "new-lua-plugin")
    assert done.returncode == 1
    assert "already exists" in done.stderr
    assert [path.name for path in mine.parent.iterdir()] == ["notes.txt"]


def test_a_plugin_that_cannot_be_registered_is_not_written(site) -> None:
    site.set_rows('new-lua-plugin,native,{},1.0.0,"","admin",false,"another"')
    before = site.registry.read_bytes()
    done = site.reed("plugin", "scaffold", "new-lua-plugin", "--register")
    assert done.returncode == 1
    assert "already has a row" in done.stderr
    assert site.registry.read_bytes() == before
    assert not (site.root / "plugins/new-lua-plugin").exists()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("word-count",), " or ".join(f"--lang {each}" for each in LANGUAGES)),
        (("word-count", "--lang", "ruts"), "did you mean 'rust'?"),
        (("Word",), "--lang"),
        (("../lua-x", "--lang", "lua"), "is not a plugin name"),
    ],
)
def test_invalid_arguments_are_reported(site, arguments: tuple[str, ...], text: str) -> None:
    done = site.reed("plugin", "scaffold", *arguments)
    assert done.returncode in (1, 2)
    assert text in done.stderr
    assert not any((site.root / "plugins").iterdir())
