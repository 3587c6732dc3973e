"""What a Lua plugin's process is told when it starts (plugin-lifecycle.md#start)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from reed.wire import strict_json

MEMORY = 8 * 1024 * 1024  # bytes that Lua may hold, unless the manifest or reed.yaml says otherwise
CPU = 2.0  # seconds of processor time for each call


class LuaLaunchSpec(NamedTuple):
    """One plugin as the core wants it to run."""

    name: str
    version: str
    folder: str
    entry: str  # a file of the folder
    socket_path: str
    runtime_dir: str
    data_dir: str | None  # only with file_write
    actions: dict[str, int]  # name -> command_id, from the manifest
    memory: int  # bytes
    cpu: float  # seconds
    lua: str
    prepared: bytes  # what Lua has to know of it, as JSON

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> LuaLaunchSpec:
        """Reads {"name", …, "settings", "limits": {"memory", "cpu"}}; a limit that is null or missing is the default.

        Raises Malformed: the settings cannot be JSON.
        """
        limits, actions = fields.get("limits", {}), fields.get("actions", {})
        cpu, data_dir = limits.get("cpu") or CPU, fields.get("data_dir")
        told = {
            "name": fields["name"],
            "version": fields["version"],
            "actions": actions,
            "settings": fields.get("settings", {}),
            "can_write": data_dir is not None,
            "cpu": cpu,
            "memory": limits.get("memory") or MEMORY,
            "seed": [int.from_bytes(os.urandom(7), "little") for _ in range(2)],
        }
        return cls(
            name=fields["name"],
            version=fields["version"],
            folder=fields["folder"],
            entry=os.path.relpath(fields["entry"], fields["folder"]),
            socket_path=fields["socket_path"],
            runtime_dir=fields["runtime_dir"],
            data_dir=data_dir,
            actions=actions,
            memory=limits.get("memory") or MEMORY,
            cpu=cpu,
            lua=fields.get("lua") or "5.5",
            prepared=strict_json.dumps(told),
        )
