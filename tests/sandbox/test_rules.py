"""Rules derived from type, row, manifest and reed.yaml."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from reed.plugin_types import TYPES
from reed.sandbox.rules import Rules, rules_for

FOLDER, DATA, RUNTIME = "/srv/plugins/me", "/srv/data/me", "/run/reed"


def rules(plugin_type: str = "native", permissions: tuple[str, ...] = (), **more: object) -> Rules:
    return rules_for(TYPES[plugin_type].profile, FOLDER, DATA, RUNTIME, "me", permissions, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("plugin_type", ["lua", "native"])
def test_the_data_folder_requires_file_write(plugin_type: str) -> None:
    assert rules(plugin_type, ("file_write",)).data_paths == (DATA,)
    assert rules(plugin_type, ("snippet_write",)).data_paths == ()
    assert rules_for(TYPES[plugin_type].profile, FOLDER, None, RUNTIME, "me", {"file_write"}).data_paths == ()


def test_only_file_write_changes_the_rules() -> None:
    assert rules("native", ("snippet_read", "plugin_send", "system_stats")) == rules("native")


@pytest.mark.parametrize("plugin_type", ["lua", "native"])
def test_the_rules_grant_the_plugins_own_fifos(plugin_type: str) -> None:
    found = rules(plugin_type)
    assert [path for path in found.read_paths if path.startswith(RUNTIME)] == [f"{RUNTIME}/peers/me/from"]
    assert [path for path in found.write_paths if path.startswith(RUNTIME)] == [f"{RUNTIME}/peers/me/to"]


def test_only_a_native_plugin_executes_programs() -> None:
    assert FOLDER in rules("native").run_paths
    assert FOLDER in rules("lua").read_paths
    assert rules("lua").run_paths == ()


def test_the_network_is_closed_unless_ports_are_granted() -> None:
    closed, opened = rules("native"), rules("native", network=(443, 8080, 443))
    assert closed.connect_tcp == ()
    assert opened.connect_tcp == (53, 443, 8080)
    assert "/etc/resolv.conf" in opened.read_paths
    assert not any("resolv" in path or "certs" in path for path in closed.read_paths)
    assert rules("lua", network=(443,)).connect_tcp == ()


def test_a_lua_plugin_reads_the_python_library_but_not_sys_path(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend("/srv/site")  # may contain a site's content
    paths = rules("lua").read_paths
    assert "/srv/site" not in paths
    assert os.path.dirname(os.__file__) in paths
    project = Path(sys.modules["reed"].__file__ or "").parent
    assert str(project) in paths
    assert str(project.parent) not in paths


def test_no_rule_grants_a_home_or_all_of_etc() -> None:
    for found in (rules("lua"), rules("native", network=(443,))):
        for path in (*found.read_paths, *found.run_paths):
            assert path not in {"/", "/etc", "/etc/ssl", "/home", "/root", "/tmp", "/run", "/proc", "/var", RUNTIME}


def test_paths_of_reed_yaml_are_granted() -> None:
    assert "/opt/tools" in rules("native", paths=["/opt/tools"]).run_paths
    assert "/opt/tools" in rules("lua", paths=["/opt/tools"]).read_paths
