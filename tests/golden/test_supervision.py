"""The wording of errors and reasons of supervision. Every other test compares classes, places and codes."""

from __future__ import annotations

from pathlib import Path

import pytest

from reed import config
from reed.errors import ConfigError, ManifestError, RegistryError
from reed.plugin_types import LUA, NATIVE, TYPES
from reed.supervision import discovery, manifest, registry_csv
from reed.supervision.permissions import People

HEADER = ",".join(registry_csv.COLUMNS)
LEAST = "name: a\nversion: 1.0.0\n"
ONE = LEAST + "actions:\n  run: {command_id: 1}\n"


def changed(**fields: str) -> str:
    """A row with these fields."""
    values = {
        "plugin_name": "seo",
        "plugin_type": "lua",
        "socket_path": "/tmp/reed-cms/plugins/seo.sock",
        "version": "1.2.0",
        "required_permissions": '"snippet_read,schema_read"',
        "user_groups": "editor",
        "auto_start": "true",
        "description": "",
    }
    return ",".join((values | fields).values())


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            changed(plugin_name="SEO"),
            "r.csv:2:1: 'SEO' is not a plugin name; expected a-z, then a-z 0-9 -, at most 31 characters",
        ),
        (changed(plugin_type="Lua"), f"r.csv:2:5: expected {' or '.join(TYPES)}, found 'Lua'; did you mean 'lua'?"),
        (
            changed(socket_path="/etc/seo.sock"),
            "r.csv:2:9: expected a socket_path such as /tmp/reed-cms/plugins/NAME.sock, found '/etc/seo.sock'",
        ),
        (
            changed(socket_path="/tmp/reed-cms/core.sock"),
            "r.csv:2:9: expected a socket_path such as /tmp/reed-cms/plugins/NAME.sock, "
            "found '/tmp/reed-cms/core.sock'",
        ),
        (
            changed(socket_path="/tmp/reed-cms/plugins/../x.sock"),
            "r.csv:2:9: expected a socket_path such as /tmp/reed-cms/plugins/NAME.sock, "
            "found '/tmp/reed-cms/plugins/../x.sock'",
        ),
        (
            changed(version="1.2"),
            "r.csv:2:40: expected a version such as 1.2.0, of at most 15 bytes, found '1.2'",
        ),
        (
            changed(version="1.2.3-much-too-long"),
            "r.csv:2:40: expected a version such as 1.2.0, of at most 15 bytes, found '1.2.3-much-too-long'",
        ),
        (
            changed(required_permissions='"snippet_read,snippet_wri"'),
            "r.csv:2:60: unknown permission 'snippet_wri'; did you mean 'snippet_write'?",
        ),
        (
            changed(user_groups='"editor,Chief Editors"'),
            "r.csv:2:81: expected the name of a group (a-z, then a-z 0-9 _ -), found 'Chief Editors'",
        ),
        (changed(auto_start="yes"), "r.csv:2:80: expected true or false, found 'yes'"),
        (
            "seo,lua",
            f"r.csv:2:5: 2 fields, expected 8: {HEADER}; a row cut off, or a comma outside quotes",
        ),
        (
            'seo,lua,"/tmp,1.0.0',
            'r.csv:2:9: a quote is opened here and not closed on this line; a quote within quotes is written ""',
        ),
        (
            'seo,lu"a,x',
            "r.csv:2:7: expected a comma, found '\"'; "
            'put the whole field into quotes, and write a quote within them as ""',
        ),
        (
            'seo,"lua" ,x',
            "r.csv:2:10: expected a comma, found ' '; "
            'put the whole field into quotes, and write a quote within them as ""',
        ),
        ("se\x07o,lua", "r.csv:2:3: a control character, '\\x07'"),
    ],
)
def test_errors_of_the_registry(lines: str, message: str) -> None:
    with pytest.raises(RegistryError) as caught:
        registry_csv.parse(f"{HEADER}\n{lines}".encode(), "r.csv", Path("/run/reed"))
    assert str(caught.value) == message


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
        (ONE + "  walk: {command_id: 1}\n", "plugin.yaml:5:22: actions.walk.command_id: 1 is already the action 'run'"),
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
            "plugin.yaml:6:3: events.snippet.create: unknown key; did you mean 'snippet.created'?",
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
def test_errors_of_manifests(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "plugin.yaml").write_text(text)
    with pytest.raises(ManifestError) as caught:
        manifest.load(tmp_path)
    assert str(caught.value) == f"{tmp_path}/{message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "groups: {editor: {permissions: [snippet_wri]}}",
            "reed.yaml:1:33: groups.editor.permissions[0]: unknown permission 'snippet_wri'; "
            "did you mean 'snippet_write'?",
        ),
        (
            "groups: {editor: {users: [no-such-user]}}",
            "reed.yaml:1:27: groups.editor.users[0]: no user 'no-such-user' on this machine; "
            "expected a user's name or number",
        ),
        (
            "groups: {editor: {unix_groups: [no-such-group]}}",
            "reed.yaml:1:33: groups.editor.unix_groups[0]: no Unix group 'no-such-group' on this machine; "
            "expected a group's name or number",
        ),
    ],
)
def test_errors_of_groups(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "reed.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        People(config.load(tmp_path / "reed.yaml", {}, {}).groups, 1000)
    assert str(caught.value) == f"{tmp_path}/{message}"


def test_errors_of_a_plugins_folder(tmp_path: Path) -> None:
    folder = tmp_path / "simple-seo"
    folder.mkdir()
    (folder / "p").write_text("")
    row = registry_csv.parse(f"{HEADER}\n{changed(plugin_name='simple-seo')}".encode(), "r.csv", Path("/run/reed"))[0]
    wrong_version = manifest.Manifest(name="simple-seo", version="1.0.0")
    wrong_name = manifest.Manifest(name="seo", version="1.2.0")
    errors = {
        lambda: discovery.find("simple-soe", [tmp_path, tmp_path / "more"]): (
            f"{tmp_path}/simple-soe: no folder of this plugin, nor is there {tmp_path}/more/simple-soe; "
            "did you mean 'simple-seo'?"
        ),
        lambda: manifest.load(folder): (
            f"{folder}/plugin.yaml: no such file; every plugin needs one, with at least name and version"
        ),
        lambda: manifest.check_row(wrong_version, folder, row, Path("r.csv")): (
            f"{folder}/plugin.yaml: the version is 1.0.0, but its row (r.csv:2) has 1.2.0; correct one of the two files"
        ),
        lambda: manifest.check_row(wrong_name, folder, row, Path("r.csv")): (
            f"{folder}/plugin.yaml: the name is 'seo', but its row (r.csv:2) has 'simple-seo'; "
            "folder, manifest and row must have the same name"
        ),
        lambda: discovery.entry_point(folder, "p", NATIVE, ""): f"{folder}/p: is not executable; chmod +x {folder}/p",
        lambda: discovery.entry_point(folder, "q", LUA, ""): (
            f"{folder}: no code there; looked for main.lua and q.lua; write it"
        ),
    }
    for call, message in errors.items():
        with pytest.raises(ManifestError) as caught:
            call()
        assert str(caught.value) == message
