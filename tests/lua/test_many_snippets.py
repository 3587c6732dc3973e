"""Lua plugins on a real core: on_start, decoded inputs, errors with a table, each, and batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

import reed.testing
from reed.client import Client
from reed.errors import CallError, ErrorCode

OPEN = 'local reed = require "reed"\nlocal plugin = reed.create_plugin { name = "many", version = "1.0.0" }\n'
PERMISSIONS = ["snippet_read", "snippet_write", "schema_read", "schema_write", "registry_read", "registry_write"]

Run = Callable[[str], AbstractContextManager[tuple[Client, Callable[..., Any]]]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a core with a plugin of this code, whose action is `try`; gives a client and the call of that action."""

    @contextmanager
    def running(code: str, manifest: str = "") -> Iterator[tuple[Client, Callable[..., Any]]]:
        folder = tmp_path / "many"
        folder.mkdir()
        (folder / "plugin.yaml").write_text(
            f"name: many\nversion: 1.0.0\nactions:\n  try: {{command_id: 1{manifest}}}\n"
        )
        (folder / "main.lua").write_text(f"{OPEN}{code}\nplugin.run()\n")
        with reed.testing.core(tmp_path / "site", plugins={folder: PERMISSIONS}) as core:
            client = core.client()
            client.registry_define("page", {"schema": {"properties": {"title": {"type": "string"}}}})
            yield client, lambda value=None: client.plugin_send("many", "try", value).json()

    return running


def handler(body: str, parameters: str = "payload, input") -> str:
    return f'plugin.action("try", function({parameters})\n{body}\nend)'
