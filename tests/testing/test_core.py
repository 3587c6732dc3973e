"""`reed.testing.core`: a core that serves, fails to start, dies, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import reed.testing
from reed.client import Client
from reed.errors import CoreNotRunning, PluginOffline, ReedError
from reed.process_handle import ProcessHandle, start_time
from reed.testing import Core

PLUGIN = 'local reed = require "reed"\nlocal plugin = reed.create_plugin { name = "greeter", version = "1.0.0" }\n'
GREET = 'plugin.action("greet", function(name) return "Hello " .. name end)\nplugin.run()\n'
MANIFEST = "name: greeter\nversion: 1.0.0\nactions:\n  greet: {command_id: 1, input: bytes}\n"


def write_plugin(folder: Path, code: str = GREET) -> Path:
    folder.mkdir(parents=True)
    (folder / "main.lua").write_text(PLUGIN + code)
    (folder / "plugin.yaml").write_text(MANIFEST)
    return folder


def die(core: Core) -> Core:
    """As an out-of-memory killer would: the Core is not told."""
    os.kill(core.pid, signal.SIGKILL)
    core.process.wait()
    return core


def test_the_core_serves_within_the_block_and_has_exited_after_it(tmp_path: Path) -> None:
    with reed.testing.core(tmp_path / "site") as core:
        client = core.client()
        assert client.stats()["pid"] == core.pid
        assert client.stats()["data_dir"] == str(tmp_path / "site" / "data")
        pid = core.pid
    assert start_time(pid) is None
    with pytest.raises(CoreNotRunning):
        Client(tmp_path / "site" / "run" / "core.sock").stats()
    assert "stopped" in core.log.read_text()


def test_a_folder_of_its_own_is_removed() -> None:
    with reed.testing.core() as core:
        assert core.log.is_file()
    assert not core.folder.exists()


def test_content_and_settings_stay_in_the_folder(tmp_path: Path) -> None:
    with reed.testing.core(tmp_path, settings={"limits": {"payload": "2MB"}}) as core:
        core.client().registry_define("page", {})
        core.client().snippet_create("page", "kept", {"n": 1})
    with reed.testing.core(tmp_path) as core:
        assert core.client().snippet_get("kept").content == b'{"n":1}'
        with pytest.raises(ReedError, match="the limit is 2097152"):
            core.client().snippet_create("page", "", {"text": "x" * 3_000_000})


def test_plugins_are_ready_with_their_permissions(tmp_path: Path) -> None:
    folder = write_plugin(tmp_path / "elsewhere" / "greeter")
    with reed.testing.core(tmp_path / "site", plugins={folder: ["snippet_read", "file_write"]}) as core:
        (row,) = core.client().plugin_list()
        assert (row["state"], sorted(row["permissions"])) == ("ready", ["file_write", "snippet_read"])
        assert core.client().plugin_send("greeter", "greet", b"Ada").body == b"Hello Ada"
        pid = row["pid"]
    assert start_time(pid) is None


def test_a_plugin_that_does_not_start_is_an_error_and_the_core_exits(tmp_path: Path) -> None:
    folder = write_plugin(tmp_path / "greeter", 'error("no luck")\n')
    core = Core(tmp_path / "site", plugins={folder: []})
    with pytest.raises(PluginOffline, match="no luck"), core:
        raise AssertionError("the block ran")
    assert core.process is not None
    assert core.process.returncode == 0


def test_variables_of_the_caller_do_not_apply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REED_DATA_DIR", str(tmp_path / "other"))
    monkeypatch.setenv("REED_LIMITS_PAYLOAD", "nonsense")
    with reed.testing.core(tmp_path / "site") as core:
        assert core.client().stats()["data_dir"] == str(tmp_path / "site" / "data")


def test_a_core_that_cannot_start_is_an_error_with_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(ReedError) as failed, reed.testing.core(tmp_path, settings={"limits": {"payloud": "2MB"}}):
        raise AssertionError("the block ran")
    message = str(failed.value)
    assert message.startswith("the core exited with status 1 before it was ready")
    assert "did you mean 'payload'?" in message
    assert str(tmp_path / "core.log") in message


def test_the_error_shows_only_this_start(tmp_path: Path) -> None:
    core = Core(tmp_path)
    with core:
        pass
    core.registry.write_text("nonsense\n")
    with pytest.raises(ReedError, match=r"plugin-registry\.csv:1") as failed:
        core.start()
    assert "ready on" in core.log.read_text()
    assert "ready on" not in str(failed.value)


def test_a_core_killed_before_it_is_ready(tmp_path: Path) -> None:
    with pytest.raises(ReedError, match=r"the core was killed by SIGKILL before it was ready(?s:.*)logged nothing"):
        Core(tmp_path).start(wrapper=("sh", "-c", "kill -9 $$"))


def test_a_core_that_is_not_ready_in_time_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reed.core_process.START_TIMEOUT", 0.1)
    note = tmp_path / "pid"
    with pytest.raises(ReedError, match=r"the core was not ready within 0\.1 s"):
        Core(tmp_path).start(wrapper=("sh", "-c", f"echo $$ >{note}.new; mv {note}.new {note}; exec sleep 1000"))
    assert not note.exists() or start_time(int(note.read_text())) is None


def test_a_core_that_dies_within_the_block_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ReedError, match=r"was killed by SIGKILL(?s:.*)ready on"), reed.testing.core(tmp_path) as core:
        die(core)


def test_an_exception_of_the_block_gets_the_death_as_a_note(tmp_path: Path) -> None:
    with pytest.raises(CoreNotRunning) as failed, reed.testing.core(tmp_path) as core:
        die(core).client()
    (note,) = failed.value.__notes__
    assert "was killed by SIGKILL" in note
    assert "ready on" in note


def test_an_exception_of_the_block_passes_and_the_core_exits(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError) as failed, reed.testing.core(tmp_path) as core:
        raise ZeroDivisionError
    assert core.process.returncode == 0
    assert not hasattr(failed.value, "__notes__")


def test_a_crash_and_another_start_on_the_same_content(tmp_path: Path) -> None:
    with reed.testing.core(tmp_path) as core:
        client = core.client()
        client.registry_define("page", {})
        client.snippet_create("page", "kept", {"n": 1})
        assert core.kill() == -signal.SIGKILL
        core.start()
        assert core.client().snippet_get("kept").content == b'{"n":1}'


def test_a_suspended_core_is_stopped(tmp_path: Path) -> None:
    with reed.testing.core(tmp_path) as core:
        os.kill(core.pid, signal.SIGSTOP)
    assert core.process.returncode == 0


def test_the_core_imports_the_reed_of_its_caller(tmp_path: Path) -> None:
    """Even if only sys.path tells where it is."""
    root = str(Path(reed.__file__).parent.parent)
    code = f"import sys; sys.path.insert(0, {root!r}); import reed.testing\nwith reed.testing.core(sys.argv[1]): pass"
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "site")],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_waits_end_without_pidfds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_pid: int) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "pidfd_open", refused, raising=False)
    with reed.testing.core(tmp_path) as core:
        assert ProcessHandle(core.pid).fd == -1
        assert core.client().stats()["pid"] == core.pid
    with pytest.raises(ReedError, match="was killed by SIGKILL before"):
        core.start(wrapper=("sh", "-c", "kill -9 $$"))


PAGE = {"schema": {"type": "object", "required": ["title"]}, "searchable": {"title": 1}}


def test_types_and_content_in_a_line() -> None:
    content = [
        {"type": "page", "name": "blog", "content": {"title": "Blog"}},
        {"type": "page", "name": "blog/intro", "content": {"title": "Intro"}, "parent": "blog"},
        {"type": "page", "content": b'{"title":"Without a name"}'},
    ]
    with reed.testing.core(types={"page": PAGE}, content=content) as site:
        client = site.client()
        assert [record.semantic_name for record in client.snippets("page")] == ["blog", "blog/intro", ""]
        (child,) = client.schema_tree("blog")["children"]
        assert child["name"] == "blog/intro"
        assert client.search("intro").total == 1


def test_plugins_start_after_the_content_and_have_what_their_manifest_asks_for(tmp_path: Path) -> None:
    """A filter that refuses everything does not refuse what the test is given."""
    folder = write_plugin(
        tmp_path / "greeter", 'plugin.action("greet", function() reed.fail(422, "no") end)\nplugin.run()'
    )
    manifest = folder / "plugin.yaml"
    manifest.write_text(f"{MANIFEST}permissions: [snippet_read]\nfilters: {{snippet.create: greet}}\n")
    given = {"type": "page", "name": "given", "content": {}}
    with reed.testing.core(types={"page": {}}, content=[given], plugins=[folder]) as site:
        client = site.client()
        assert client.snippet_get("given").version == 1
        (row,) = client.plugin_list()
        assert (row["state"], row["permissions"]) == ("ready", ["snippet_read"])
        with pytest.raises(ReedError, match="greeter"):
            client.snippet_create("page", "later", {})


def test_a_bundled_plugin_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with reed.testing.core(plugins=["simple-seo"]) as site:
        assert site.client().plugin_list()[0]["state"] == "ready"
    with pytest.raises(ReedError, match=r"simple-sea/plugin\.yaml: no such file"):
        reed.testing.core(plugins=["simple-sea"]).__enter__()


@pytest.mark.parametrize(
    ("options", "place", "message"),
    [
        ({"types": {"page": {"schema": 1}}}, "types['page']", "schema"),
        ({"types": {"page": PAGE}, "content": [{"type": "page", "content": {}}]}, "content[0]", "title"),
        ({"content": [{"type": "page", "name": "x", "body": "x"}]}, "content[0]", "expected the keys type and content"),
        (
            {"types": {"page": {}}, "content": [{"type": "page", "content": {}, "parent": "nowhere"}]},
            "content[0]",
            "nowhere",
        ),
    ],
)
def test_an_error_of_what_is_given_names_its_place(options: dict, place: str, message: str) -> None:
    with pytest.raises(ReedError, match=message) as failed, reed.testing.core(**options):
        raise AssertionError("the block ran")
    assert failed.value.__notes__ == [f"reed.testing: {place}"]
