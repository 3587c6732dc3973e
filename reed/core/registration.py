"""PLUGIN_REGISTER: which actions the process of a plugin has, and what the core tells it about itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from reed.errors import Conflict, Malformed, TooLarge
from reed.supervision.launch_spec import Specification
from reed.supervision.manifest import Action, Manifest
from reed.wire import strict_json
from reed.wire.codes import FIRST_ACTION_ID, LAST_ACTION_ID
from reed.wire.common import JsonResponse
from reed.wire.plugins import PluginRegister

_MAX_REGISTRATION = 64 * 1024  # bytes of JSON; some 2 ms


def actions_in(payload: memoryview, spec: Specification) -> dict[str, Action]:
    """The registered actions, with their settings in plugin.yaml. Raises Conflict, TooLarge and Malformed."""
    request, row = PluginRegister.unpack(payload), spec.row
    if request.name != row.plugin_name:
        raise Conflict(f"this is the socket of {row.plugin_name}, not of {request.name}")
    if request.version != row.version:
        raise Conflict(f"{row.plugin_name} registered as version {request.version}, its row says {row.version}")
    if len(request.manifest) > _MAX_REGISTRATION:
        raise TooLarge(f"a registration of {len(request.manifest)} bytes", hint=f"at most {_MAX_REGISTRATION}")
    return _actions(spec.manifest, strict_json.load_object(request.manifest))


def response(spec: Specification, max_payload: int, peers: Iterable[str]) -> bytes:
    sleep = spec.manifest.sleep
    about = {
        "settings": dict(spec.launch.settings),
        "permissions": sorted(spec.row.required_permissions),
        "limits": {"payload": max_payload},
        "peers": list(peers),
        "sleep": {"after": sleep.after, "mode": sleep.mode} if sleep else None,
    }
    return JsonResponse(200, strict_json.dumps(about)).pack()


def _actions(manifest: Manifest, registration: dict[str, Any]) -> dict[str, Action]:
    found: dict[str, Action] = {}
    ids: dict[int, str] = {}
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
        declared = manifest.actions.get(name)
        if declared is not None and declared.command_id != command_id:
            raise Malformed(
                f"action {name} registered with command_id {command_id}, plugin.yaml says {declared.command_id}"
            )
        found[name] = declared or Action(name=name, command_id=command_id)
    return found
