"""plugin.yaml and a plugin's folder: what is found, and what a person reads when it is wrong."""

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


def complaint(folder: Path, text: str) -> str:
    with pytest.raises(ManifestError) as caught:
        load(folder, text)
    return str(caught.value).removeprefix(f"{folder}/")


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
    ("text", "message"),
    [
        (LEAST + "acions: {}\n", "plugin.yaml:3:1: acions: unknown key; did you mean 'actions'?"),
        (
            LEAST + "actions:\n  run:\n    comand_id: 1\n",
            "plugin.yaml:5:5: actions.run.comand_id: unknown key; did you mean 'command_id'?",
        ),
        (LEAST + "actions:\n  run: {}\n", "plugin.yaml:4:8: actions.run: the key 'command_id' is missing"),
        ("version: 1.0.0\n", "plugin.yaml:1:1: the key 'name' is missing"),
        ("", "plugin.yaml: the key 'name' is missing"),
        (
            LEAST + "actions:\n  run: {command_id: 240}\n",
            "plugin.yaml:4:21: actions.run.command_id: expected 1 to 239, found '240'",
        ),
        (
            LEAST + "actions:\n  run: {command_id: 0xF0}\n",
            "plugin.yaml:4:21: actions.run.command_id: expected 1 to 239, found '0xF0'",
        ),
        (
            LEAST + "actions:\n  run: {command_id: 0x}\n",
            "plugin.yaml:4:21: actions.run.command_id: expected a whole number from 1 to 239, found '0x'",
        ),
        (ONE + "  walk: {command_id: 1}\n", "plugin.yaml:5:22: actions.walk.command_id: 1 is the action 'run' already"),
        (
            LEAST + "actions:\n  Run: {command_id: 1}\n",
            "plugin.yaml:4:3: actions.Run: expected the name of an action: a-z, then a-z 0-9 _ -, found 'Run'",
        ),
        (
            LEAST + "actions:\n  run: {command_id: 1, input: sniped}\n",
            "plugin.yaml:4:31: actions.run.input: expected snippet or json or bytes, found 'sniped'; "
            "did you mean 'snippet'?",
        ),
        (
            ONE + "events:\n  snippet.create: run\n",
            "plugin.yaml:6:3: events.snippet.create: there is no such; did you mean 'snippet.created'?",
        ),
        (
            ONE + "filters:\n  snippet.create: rum\n",
            "plugin.yaml:6:19: filters.snippet.create: no action 'rum' here; did you mean 'run'?",
        ),
        (
            ONE + "filters:\n  snippet.create: {action: rum, on_failure: pass}\n",
            "plugin.yaml:6:28: filters.snippet.create.action: no action 'rum' here; did you mean 'run'?",
        ),
        (
            ONE + "filters:\n  snippet.create: {action: run, on_failure: ignore}\n",
            "plugin.yaml:6:45: filters.snippet.create.on_failure: expected refuse or pass, found 'ignore'",
        ),
        (
            ONE + "filters:\n  snippet.create: {timeout: 2s}\n",
            "plugin.yaml:6:19: filters.snippet.create: the key 'action' is missing",
        ),
        (LEAST + "lua: 5.1\n", "plugin.yaml:3:6: lua: expected 5.4 or 5.5, found '5.1'; did you mean '5.5'?"),
        (
            LEAST + "limits: {memory: 10}\n",
            "plugin.yaml:3:18: limits.memory: expected 262144 to 1099511627776, found '10'",
        ),
        (
            "name: a\nversion: one\n",
            "plugin.yaml:2:10: version: expected a version such as 1.2.0, of at most 15 bytes, found 'one'",
        ),
        (LEAST + "name: b\n", "plugin.yaml:3:1: duplicate key 'name'; first on line 1"),
    ],
)
def test_what_is_wrong_is_named_with_line_and_column(tmp_path: Path, text: str, message: str) -> None:
    assert complaint(tmp_path, text) == message


def test_a_manifest_is_read_again_when_its_file_changes(tmp_path: Path) -> None:
    manifests = Manifests()
    (tmp_path / "plugin.yaml").write_text("name: a\nversion: 1.0.0\n")
    first = manifests.load(tmp_path)
    assert manifests.load(tmp_path) is first
    (tmp_path / "plugin.yaml").write_text("name: a\nversion: 1.0.10\n")
    assert manifests.load(tmp_path).version == "1.0.10"
    (tmp_path / "plugin.yaml").unlink()
    with pytest.raises(ManifestError, match="no such file"):
        manifests.load(tmp_path)


def test_no_manifest_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"plugin\.yaml: no such file; every plugin has one"):
        manifest.load(tmp_path)


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


def test_manifest_and_row_must_tell_of_the_same_plugin(tmp_path: Path) -> None:
    folder_of(tmp_path, "seo", "main.lua", text="name: seo\nversion: 1.0.1\n")
    with pytest.raises(ManifestError) as caught:
        specify(row(), config(tmp_path), Manifests())
    assert str(caught.value) == (
        f"{tmp_path}/seo/plugin.yaml: its version is 1.0.1, its row's ({tmp_path}/r.csv:2) 1.0.0; "
        "make them the same in one of the two files"
    )
    (tmp_path / "seo/plugin.yaml").write_text("name: soe\nversion: 1.0.0\n")
    with pytest.raises(ManifestError, match=r"its name is 'soe', its row's \(.*r\.csv:2\) 'seo'"):
        specify(row(), config(tmp_path), Manifests())


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


def test_a_missing_folder_names_every_place_and_the_nearest(tmp_path: Path) -> None:
    folder_of(tmp_path, "simple-seo", "main.lua")
    with pytest.raises(ManifestError) as caught:
        discovery.find("simple-soe", [tmp_path, tmp_path / "more"])
    assert str(caught.value) == (
        f"{tmp_path}/simple-soe: no folder of this plugin, nor is there {tmp_path}/more/simple-soe; "
        "did you mean 'simple-seo'?"
    )


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


def test_code_that_cannot_be_run_is_named(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "p")
    with pytest.raises(ManifestError, match=r"p: no code there; looked for main\.lua and p\.lua; write it"):
        discovery.entry_point(folder, "p", TYPES["lua"], "")
    with pytest.raises(ManifestError, match="no code there; looked for p and target/release/p; build it"):
        discovery.entry_point(folder, "p", TYPES["native"], "")
    (folder / "p").write_text("")
    with pytest.raises(ManifestError, match=r"p/p: is not executable; chmod \+x"):
        discovery.entry_point(folder, "p", TYPES["native"], "")
    with pytest.raises(ManifestError, match="leads out of the plugin's folder"):
        discovery.entry_point(folder, "p", TYPES["native"], "/bin/sh")
    (tmp_path / "outside.lua").write_text("")
    with pytest.raises(ManifestError, match="leads out of the plugin's folder"):
        discovery.entry_point(folder, "p", TYPES["lua"], "../outside.lua")


KEYS = st.sampled_from([*(FULL.replace(":", ": ").split()), "\n", "  ", "{", "}", ": "])


@given(st.lists(KEYS, max_size=40).map(" ".join))
def test_any_text_is_a_manifest_or_an_error(text: str) -> None:
    try:
        found = record(Manifest)(document.parse(text, "plugin.yaml", ManifestError))
    except ManifestError as error:
        assert str(error).startswith("plugin.yaml")  # noqa: PT017
    else:
        assert found.name
