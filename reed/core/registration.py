"""What follows from a process's registration (PLUGIN_REGISTER) and its row: its actions, and what it may ask for."""

from __future__ import annotations

from typing import Any

from reed.core.calls import Caller
from reed.errors import Malformed
from reed.supervision.manifest import Action, Manifest
from reed.supervision.permissions import commands_for
from reed.supervision.registry_csv import Row
from reed.wire.codes import FIRST_ACTION_ID, LAST_ACTION_ID


def caller_for(row: Row) -> Caller:
    """A plugin's permissions come from its row alone (DESIGN.md, Security)."""
    permissions = frozenset(str(permission) for permission in row.required_permissions)
    name = row.plugin_name
    return Caller(f"plugin {name}", name, frozenset(), permissions, commands_for(permissions), is_admin=False)


def registered_actions(manifest: Manifest, registration: dict[str, Any]) -> dict[str, Action]:
    """The actions that a process registered, each with what plugin.yaml says of it."""
    found: dict[str, Action] = {}
    ids: dict[int, str] = {}
    declared = manifest.actions
    actions = registration.get("actions", {})
    if not isinstance(actions, dict):
        raise Malformed("PLUGIN_REGISTER: actions must be an object")
    for name, entry in actions.items():
        command_id = entry.get("command_id") if isinstance(entry, dict) else None
        if not isinstance(command_id, int) or not FIRST_ACTION_ID <= command_id <= LAST_ACTION_ID:
            raise Malformed(f"action {name}: command_id must be {FIRST_ACTION_ID} to {LAST_ACTION_ID}")
        if command_id in ids:
            raise Malformed(f"actions {ids[command_id]} and {name} have the same command_id {command_id}")
        ids[command_id] = name
        in_manifest = declared.get(name)
        if in_manifest is not None and in_manifest.command_id != command_id:
            raise Malformed(
                f"action {name} registered with command_id {command_id}, plugin.yaml says {in_manifest.command_id}"
            )
        found[name] = in_manifest or Action(name=name, command_id=command_id)
    return found
