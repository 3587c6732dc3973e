"""The plugins of the measured core. A kind names those that it needs; others have no row meanwhile.

hostile       hostile.py, a native plugin: floods, large answers          filter    the same, as a filter
sleeper       a Lua plugin that sleeps after a tenth of a second          broken    has a manifest of 250 KB
heard-N       Lua plugins, each subscribed to every event                 row-N     rows without a folder
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path

from bench.processes import HEADER
from reed.client import Client

SUBSCRIBERS = tuple(f"heard-{number}" for number in range(16))

_LUA = """
local plugin = require("reed").create_plugin {{ name = "{name}", version = "1.0.0" }}
plugin.action("heard", function() return {{}} end)
plugin.run()
"""
_HEARD = """\
actions:
  heard: {command_id: 1}
events: {snippet.created: heard, snippet.updated: heard, snippet.deleted: heard}
"""
_HOSTILE = """\
entry: hostile.py
limits: {calls: 1000}
actions:
  echo: {command_id: 1, input: bytes}
  echo_json: {command_id: 2, input: json}
  check: {command_id: 3}
  do: {command_id: 4, input: json}
"""
_FILTERS = "filters: {snippet.create: {action: check, timeout: 60s}}\n"
_MANIFESTS = {
    "hostile": _HOSTILE,
    "filter": _HOSTILE + _FILTERS,
    "sleeper": "actions:\n  heard: {command_id: 1}\nsleep: {after: 100ms, mode: light}\n",
    **dict.fromkeys(SUBSCRIBERS, _HEARD),
}


def install(site: Path, folder: Path) -> dict[str, str]:
    """Write the registry into `site`, where the core starts, and the plugins' folders into `folder`; returns
    variables for the core's environment."""
    set_rows(site, ())
    for name, manifest in _MANIFESTS.items():
        place = folder / name
        place.mkdir(parents=True)
        (place / "plugin.yaml").write_text(f"name: {name}\nversion: 1.0.0\n{manifest}")
        if _is_native(name):
            source = (Path(__file__).parent / "hostile.py").read_text()
            (place / "hostile.py").write_text(source.replace("/usr/bin/env python3", sys.executable, 1))
            (place / "hostile.py").chmod(0o755)
        else:
            (place / "main.lua").write_text(_LUA.format(name=name))
    return {"REED_PLUGIN_DIR": str(folder), "REED_SANDBOX": "off"}  # the interpreter may be anywhere


def set_rows(folder: Path, names: Collection[str]) -> bool:
    """Write the registry; whether it differs."""
    rows = [
        f"{name},{'native' if _is_native(name) else 'lua'},/tmp/reed-cms/plugins/{name}.sock,1.0.0,"
        f'"snippet_read,snippet_write,plugin_send",admin,{"true" if name in _MANIFESTS else "false"},stalls\n'
        for name in names
    ]
    registry, text = folder / "plugin-registry.csv", HEADER + "".join(rows)
    if registry.exists() and registry.read_text() == text:
        return False
    registry.write_text(text)
    return True


def use(client: Client, names: Collection[str]) -> None:
    """Give these plugins a row, and no others; returns when they run."""
    if set_rows(folder_of(client), names):
        client.plugin_reload_report()


def folder_of(client: Client) -> Path:
    """Where the core of this client was started."""
    return Path(client.path).parents[1]


def _is_native(name: str) -> bool:
    return name in {"hostile", "filter"}
