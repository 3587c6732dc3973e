"""plugin.yaml and a plugin's folder: what is read and found, and errors with line and column."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reed import document
from reed.config import Config, PluginConfig, PluginLimits
from reed.errors import ManifestError
from reed.plugin_types import TYPES
from reed.readers import record
from reed.supervision import discovery, manifest, registry_csv
from reed.supervision.launch_spec import specify
from reed.supervision.manifest import Action, Filter, Manifest, Manifests, Sleep

MB = 1024 * 1024
FULL = """
name: simple-seo
version: 1.2.0
description: SEO checks
lua: 5.4
actions:
  validate: {command_id: 1, input: snippet, timeout: 5s, description: Find issues, example: $intro, output: {score: 0}}
  key-words: {command_id: 0xEF}
events:
  snippet.created: validate
filters: {snippet.create: validate, snippet.update: {action: key-words, on_failure: pass, timeout: 2s}}
settings: {min: 50, words: [a, "1"], deep: {on: true}}
sleep: {after: 180s}
limits: {memory: 4MB, cpu: 2s, calls: 10}
"""


def load(folder: Path, text: str) -> Manifest:
    (folder / "plugin.yaml").write_text(text)
    return manifest.load(folder)


def test_a_full_manifest(tmp_path: Path) -> None:
    found = load(tmp_path, FULL)
    assert (found.name, found.version, found.lua, found.description) == ("simple-seo", "1.2.0", "5.4", "SEO checks")
    assert found.actions["validate"] == Action(
        name="validate",
        command_id=1,
        input="snippet",
        timeout=5,
        description="Find issues",
        example="$intro",
        output={"score": 0},
    )
    assert found.actions["key-words"] == Action(name="key-words", command_id=239)
    assert found.events == {"snippet.created": "validate"}
    assert found.filters == {
        "snippet.create": Filter("validate", "refuse", 5.0),
        "snippet.update": Filter("key-words", "pass", 2.0),
    }
    assert found.settings == {"min": 50, "words": ["a", "1"], "deep": {"on": True}}
    assert found.sleep == Sleep(after=180, mode="light")
    assert found.limits == PluginLimits(memory=4 * MB, cpu=2, calls=10)


def test_name_and_version_are_enough(tmp_path: Path) -> None:
    assert load(tmp_path, "name: a\nversion: 1.0.0\n") == Manifest(name="a", version="1.0.0")


LEAST = "name: a\nversion: 1.0.0\n"
ONE = LEAST + "actions:\n  run: {command_id: 1}\n"


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        (LEAST + "acions: {}\n", 3, 1),
        (LEAST + "actions:\n  run:\n    comand_id: 1\n", 5, 5),
        (LEAST + "actions:\n  run: {}\n", 4, 8),
        ("version: 1.0.0\n", 1, 1),
        ("", 0, 0),
        (LEAST + "actions:\n  run: {command_id: 240}\n", 4, 21),
        (LEAST + "actions:\n  run: {command_id: 0xF0}\n", 4, 21),
        (LEAST + "actions:\n  run: {command_id: 0x}\n", 4, 21),
        (ONE + "  walk: {command_id: 1}\n", 5, 22),
        (LEAST + "actions:\n  Run: {command_id: 1}\n", 4, 3),
        (LEAST + "actions:\n  run: {command_id: 1, input: sniped}\n", 4, 31),
        (ONE + "events:\n  snippet.create: run\n", 6, 3),
        (ONE + "filters:\n  snippet.create: rum\n", 6, 19),
        (ONE + "filters:\n  snippet.create: {action: rum, on_failure: pass}\n", 6, 28),
        (ONE + "filters:\n  snippet.create: {action: run, on_failure: ignore}\n", 6, 45),
        (ONE + "filters:\n  snippet.create: {timeout: 2s}\n", 6, 19),
        (LEAST + "lua: 5.1\n", 3, 6),
        (LEAST + "limits: {memory: 10}\n", 3, 18),
        ("name: a\nversion: one\n", 2, 10),
        (LEAST + "name: b\n", 3, 1),
    ],
)
def test_an_invalid_manifest_is_an_error_with_line_and_column(
    tmp_path: Path, text: str, line: int, column: int
) -> None:
    with pytest.raises(ManifestError) as caught:
        load(tmp_path, text)
    error = caught.value
    assert (error.path, error.line, error.column) == (f"{tmp_path}/plugin.yaml", line, column)


def test_a_manifest_is_read_again_when_its_file_changes(tmp_path: Path) -> None:
    manifests = Manifests()
    (tmp_path / "plugin.yaml").write_text("name: a\nversion: 1.0.0\n")
    first = manifests.load(tmp_path)
    assert manifests.load(tmp_path) is first
    (tmp_path / "plugin.yaml").write_text("name: a\nversion: 1.0.10\n")
    assert manifests.load(tmp_path).version == "1.0.10"
    (tmp_path / "plugin.yaml").unlink()
    for load_again in (manifests.load, manifest.load):
        with pytest.raises(ManifestError) as caught:
            load_again(tmp_path)
        assert caught.value.path == f"{tmp_path}/plugin.yaml"


def row(**fields: str) -> registry_csv.Row:
    values = {
        "plugin_name": "seo",
        "plugin_type": "lua",
        "socket_path": "/tmp/reed-cms/plugins/seo.sock",
        "version": "1.0.0",
        "required_permissions": "",
        "user_groups": "",
        "auto_start": "false",
        "description": "",
    } | fields
    text = ",".join(registry_csv.COLUMNS) + "\n" + ",".join(values.values())
    return registry_csv.parse(text.encode(), "r.csv", Path("/run/reed"))[0]


def config(root: Path, **more: object) -> Config:
    return Config(plugin_dirs=(root,), registry=root / "r.csv", data_dir=root / "data", **more)  # type: ignore[arg-type]


def folder_of(root: Path, name: str, *files: str, text: str = "") -> Path:
    folder = root / name
    folder.mkdir()
    (folder / "plugin.yaml").write_text(text or f"name: {name}\nversion: 1.0.0\n")
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text("#!/bin/sh\n")
        (folder / file).chmod(0o755)
    return folder


@pytest.mark.parametrize("text", ["name: seo\nversion: 1.0.1\n", "name: soe\nversion: 1.0.0\n"])
def test_manifest_and_row_must_have_the_same_name_and_version(tmp_path: Path, text: str) -> None:
    folder_of(tmp_path, "seo", "main.lua", text=text)
    with pytest.raises(ManifestError) as caught:
        specify(row(), config(tmp_path), Manifests())
    assert caught.value.path == f"{tmp_path}/seo/plugin.yaml"


def test_row_manifest_and_settings_make_the_spec(tmp_path: Path) -> None:
    text = "name: seo\nversion: 1.0.0\nsettings: {a: 1, b: 1}\nlimits: {cpu: 1}\nactions: {go: {command_id: 7}}\n"
    folder = folder_of(tmp_path, "seo", "main.lua", text=text)
    over = PluginConfig(settings={"b": 2}, limits=PluginLimits(calls=3))
    spec = specify(row(required_permissions="file_write"), config(tmp_path, plugins={"seo": over}), Manifests()).launch
    assert spec.settings == {"a": 1, "b": 2}
    assert spec.limits == PluginLimits(memory=8 * MB, cpu=1, calls=3)
    assert spec.data_dir == tmp_path / "data/plugins/seo"
    assert spec.entry == folder / "main.lua"
    assert spec.actions == {"go": 7}
    assert spec.lua == "5.5"
    assert specify(row(), config(tmp_path), Manifests()).launch.data_dir is None, "only with file_write"


def test_a_missing_folder_is_an_error_that_names_every_place(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as caught:
        discovery.find("seo", [tmp_path, tmp_path / "more"])
    assert caught.value.path == f"{tmp_path}/seo"
    assert f"{tmp_path}/more/seo" in caught.value.message


def test_the_first_folder_wins(tmp_path: Path) -> None:
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        folder_of(tmp_path / place, "seo")
    assert discovery.find("seo", [tmp_path / "none", tmp_path / "b", tmp_path / "a"]) == tmp_path / "b/seo"


@pytest.mark.parametrize(
    ("files", "kind", "entry", "expected"),
    [
        (["main.lua", "p.lua"], "lua", "", "main.lua"),
        (["p.lua"], "lua", "", "p.lua"),
        (["p.lua", "src/x.lua"], "lua", "src/x.lua", "src/x.lua"),
        (["p"], "native", "", "p"),
        (["target/release/p"], "native", "", "target/release/p"),
        (["bin/run"], "native", "bin/run", "bin/run"),
    ],
)
def test_the_code_is_found(tmp_path: Path, files: list[str], kind: str, entry: str, expected: str) -> None:
    folder = folder_of(tmp_path, "p", *files)
    assert discovery.entry_point(folder, "p", TYPES[kind], entry) == folder / expected


def test_code_that_cannot_be_run_is_an_error(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "p")
    (tmp_path / "outside.lua").write_text("")

    def path_in_error(kind: str, entry: str = "") -> str:
        with pytest.raises(ManifestError) as caught:
            discovery.entry_point(folder, "p", TYPES[kind], entry)
        return caught.value.path

    assert path_in_error("lua") == path_in_error("native") == str(folder)
    assert path_in_error("native", "/bin/sh") == "/bin/sh"
    assert path_in_error("lua", "../outside.lua") == f"{folder}/../outside.lua"
    (folder / "p").write_text("")
    assert path_in_error("native") == f"{folder}/p", "it is not executable"


KEYS = st.sampled_from([*(FULL.replace(":", ": ").split()), "\n", "  ", "{", "}", ": "])


@given(st.lists(KEYS, max_size=40).map(" ".join))
def test_any_text_is_a_manifest_or_an_error(text: str) -> None:
    try:
        found = record(Manifest)(document.parse(text, "plugin.yaml", ManifestError))
    except ManifestError as error:
        assert str(error).startswith("plugin.yaml")  # noqa: PT017
    else:
        assert found.name
