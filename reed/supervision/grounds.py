"""Why a plugin may what it may: what row, manifest and reed.yaml say, each with its place (`reed plugin explain`).

row         permissions, and whom it lets send        plugin-registry.csv:3
manifest    what it asks for                          plugins/simple-seo/plugin.yaml
reed.yaml   what an admin allows, who is in a group   reed.yaml:7
"""

from __future__ import annotations

from typing import Any

from reed.config import Config
from reed.registry.manifest import FILE_NAME
from reed.registry.plugin import Plugin


def grounds(plugin: Plugin, config: Config) -> dict[str, Any]:
    """Facts alone, as JSON: the command line puts them into words."""
    row, spec, own = plugin.row, plugin.spec, config.plugin(plugin.name)
    return {
        "row": f"{config.registry}:{row.line}",
        "manifest": str(spec.folder / FILE_NAME) if spec else "",
        "folder": str(spec.folder) if spec else "",
        "data_dir": str(spec.data_dir) if spec and spec.data_dir else "",
        "paths": [str(path) for path in own.paths],
        "asks_network": plugin.manifest.network if plugin.manifest else "",
        "allowed_ports": list(own.network),
        "groups": {name: _members(config, name) for name in sorted(row.user_groups)},
    }


def _members(config: Config, name: str) -> list[str]:
    """Who reed.yaml puts into a group, each with its place."""
    group = config.groups.get(name)
    if group is None:
        return []
    named = [(str(word.value), word) for word in group.users]
    named += [(f"the Unix group {word.value}", word) for word in group.unix_groups]
    return [f"{who} ({word.path}:{word.line})" for who, word in named]
