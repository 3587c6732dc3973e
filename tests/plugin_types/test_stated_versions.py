"""The version stands in plugin.yaml; other files that state it are compared with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from reed.errors import ManifestError
from reed.plugin_types import LUA, NATIVE
from reed.plugin_types.plugin_type import PluginType
from reed.supervision import manifest

CARGO = '[package]\nname = "demo"\nversion = "{}"\n\n[dependencies]\nother = {{ version = "9.9.9" }}\n'
LUA_MAIN = """--[[ version = "0.0.1" ]]
local plugin = require("reed").create_plugin {{
  name = "demo",
  version = "{}",
}}
"""
RUST_MAIN = '//! Plugin::builder("demo", "0.0.1")\nfn main() {{ Plugin::builder(\n    "demo",\n    "{}",\n) }}\n'
NONE = {
    "main.lua": '-- create_plugin { version = "0.1.0" }\nlocal plugin = reed.create_plugin { name = "demo" }\n',
    "Cargo.toml": '[package]\nname = "demo"\n[dependencies]\nother = "2"\n',
    "src/main.rs": 'fn main() { Plugin::builder("demo", reed_plugin::manifest_version!()) }\n',
}


@pytest.mark.parametrize(
    ("plugin_type", "path", "text", "line"),
    [
        (LUA, "main.lua", LUA_MAIN, 4),
        (NATIVE, "Cargo.toml", CARGO, 3),
        (NATIVE, "src/main.rs", RUST_MAIN, 4),
    ],
)
def test_another_version_is_an_error_with_its_place(
    tmp_path: Path, plugin_type: PluginType, path: str, text: str, line: int
) -> None:
    (tmp_path / "plugin.yaml").write_text("name: demo\nversion: 1.2.0\n")
    (tmp_path / path).parent.mkdir(exist_ok=True)
    found = manifest.load(tmp_path)
    (tmp_path / path).write_text(text.format("1.2.0"))
    assert manifest.check_stated_versions(found, tmp_path, plugin_type) == [Path(path).name]
    (tmp_path / path).write_text(text.format("1.3.0"))
    with pytest.raises(ManifestError) as raised:
        manifest.check_stated_versions(found, tmp_path, plugin_type)
    assert str(raised.value).startswith(f"{tmp_path / path}:{line}: the version is 1.3.0, but plugin.yaml has 1.2.0")


@pytest.mark.parametrize("plugin_type", [LUA, NATIVE], ids=["lua", "native"])
def test_files_that_state_none_are_fine(tmp_path: Path, plugin_type: PluginType) -> None:
    (tmp_path / "plugin.yaml").write_text("name: demo\nversion: 1.2.0\n")
    for path, text in NONE.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    assert manifest.check_stated_versions(manifest.load(tmp_path), tmp_path, plugin_type) == []


def test_serve_check_reports_it(site) -> None:
    site.set_rows('demo,lua,{},1.2.0,"","admin",false,""')
    site.add_lua_plugin("demo", LUA_MAIN.format("1.3.0"), version="1.2.0")
    done = site.reed("serve", "--check")
    assert done.returncode == 1
    assert "main.lua:4: the version is 1.3.0, but plugin.yaml has 1.2.0" in done.stderr
