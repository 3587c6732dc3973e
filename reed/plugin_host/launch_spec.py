"""What the core tells the process of a plugin in Lua or Python when it starts (plugin-lifecycle.md#start)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from reed.wire import strict_json

MEMORY = 8 * 1024 * 1024  # of Lua's heap, by default
CPU = 2.0  # seconds for each call, by default


class HostedSpec(NamedTuple):
    name: str
    version: str
    folder: str
    entry: str  # relative to the folder
    socket_path: str
    runtime_dir: str
    data_dir: str | None  # only with file_write
    actions: dict[str, int]  # name -> command_id, from plugin.yaml
    memory: int
    cpu: float
    lua: str
    for_sdk: bytes  # the part that the SDK needs, as JSON
    language: str = "lua"  # or python

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> HostedSpec:
        """`fields`: name, version, …, settings, byte_actions [name], limits {memory, cpu}. Raises Malformed."""
        limits, actions = fields.get("limits", {}), fields.get("actions", {})
        memory, cpu, data_dir = limits.get("memory") or MEMORY, limits.get("cpu") or CPU, fields.get("data_dir")
        for_sdk = {
            "name": fields["name"],
            "version": fields["version"],
            "actions": actions,
            "byte_actions": fields.get("byte_actions", ()),
            "settings": fields.get("settings", {}),
            "can_write": data_dir is not None,
            "cpu": cpu,
            "memory": memory,
            "seed": [int.from_bytes(os.urandom(7), "little") for _ in range(2)],
        }
        language = fields.get("language", "lua")
        if language == "python":
            for_sdk |= {name: fields[name] for name in ("folder", "hooks", "network")}
            for_sdk["data_dir"] = data_dir
        return cls(
            name=fields["name"],
            version=fields["version"],
            folder=fields["folder"],
            entry=os.path.relpath(fields["entry"], fields["folder"]),
            socket_path=fields["socket_path"],
            runtime_dir=fields["runtime_dir"],
            data_dir=data_dir,
            actions=actions,
            memory=memory,
            cpu=cpu,
            lua=fields.get("lua") or "5.5",
            for_sdk=strict_json.dumps(for_sdk),
            language=language,
        )
