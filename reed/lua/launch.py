"""What a Lua plugin's process is told when it starts (DESIGN.md, Lua)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

MEMORY = 8 * 1024 * 1024  # bytes that Lua may hold, unless the manifest or reed.yaml says otherwise
CPU = 2.0  # seconds of processor time for each call


class LaunchSpec(NamedTuple):
    """One plugin as the core wants it to run."""

    name: str
    version: str
    folder: str
    entry: str  # a file of the folder
    socket_path: str
    runtime_dir: str
    data_dir: str | None  # only with file_write
    settings: dict[str, Any]
    actions: dict[str, int]  # name -> command_id, from the manifest
    memory: int  # bytes
    cpu: float  # seconds
    lua: str

    def prepared(self) -> dict[str, object]:
        """What Lua has to know of it."""
        return {
            "name": self.name,
            "version": self.version,
            "actions": self.actions,
            "settings": self.settings,
            "can_write": self.data_dir is not None,
            "cpu": self.cpu,
            "seed": [int.from_bytes(os.urandom(7), "little") for _ in range(2)],
        }

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> LaunchSpec:
        """Reads {"name", …, "limits": {"memory", "cpu"}}; a limit that is null or missing is the default."""
        limits = fields.get("limits", {})
        return cls(
            name=fields["name"],
            version=fields["version"],
            folder=fields["folder"],
            entry=os.path.relpath(fields["entry"], fields["folder"]),
            socket_path=fields["socket_path"],
            runtime_dir=fields["runtime_dir"],
            data_dir=fields.get("data_dir"),
            settings=fields.get("settings", {}),
            actions=fields.get("actions", {}),
            memory=limits.get("memory") or MEMORY,
            cpu=limits.get("cpu") or CPU,
            lua=fields.get("lua") or "5.5",
        )
