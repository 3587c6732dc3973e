"""Writes Python plugins, and starts a core with them."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

from reed.client import Client
from reed.testing.rows import registry_text, row_of
from reed.testing.site import Core

HEAD = "from reed.plugin import Answer, plugin, reed\n"


def write_plugin(folder: Path, code: str, manifest: str = "", **files: str) -> Path:
    """`files`: the text by path, with __ for / and _ before the suffix: lib__words_py."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "main.py").write_text(HEAD + dedent(code))
    (folder / "plugin.yaml").write_text(f"name: {folder.name}\nversion: 1.0.0\n{dedent(manifest)}")
    for name, text in files.items():
        path = folder / (name.replace("__", "/").removesuffix("_py") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
    return folder


def start(site: Core, **permissions: str) -> Client:
    """The core with all plugins of its folder, each with its permissions (by name, with _ for -)."""
    rows = [row_of(each, permissions.get(each.name.replace("-", "_"), "").split()) for each in site.plugins.iterdir()]
    site.registry.write_text(registry_text(rows))
    site.start()
    return site.client()


def log_of(client: Client, name: str) -> str:
    return Path(client.plugin_health(name)[0]["log"]).read_text()
