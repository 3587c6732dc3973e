"""For each command, file_write and network whether a plugin may use it, and why, from what the core reports."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from reed.errors import PluginNotFound
from reed.wire.codes import Command

_ALWAYS_ALLOWED = {
    Command.PLUGIN_REGISTER: "every plugin may, on its own socket",
    Command.PLUGIN_SIGNAL: "only about itself, on its own socket; signals to others require the group admin",
}


def plugin_named(name: str, plugins: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The entry of PLUGIN_LIST. Raises PluginNotFound."""
    found = {plugin["name"]: plugin for plugin in plugins}
    if name not in found:
        raise PluginNotFound.named(name, found)
    return found[name]


def answers(plugin: dict[str, Any], sandbox: dict[str, Any]) -> list[dict[str, Any]]:
    """{"what","may","why","change","permission"} of each, permitted ones first.

    `plugin` is an entry of PLUGIN_LIST, `sandbox` that of SYSTEM_STATS.
    """
    found = [_command(plugin, command) for command in Command]
    found += [_files(plugin), _network(plugin, sandbox)]
    return sorted(found, key=lambda answer: not answer["may"])


def _answer(what: str, may: bool, why: str, change: str = "", permission: str = "") -> dict[str, Any]:
    return {"what": what, "may": may, "why": why, "change": "" if may else change, "permission": permission}


def _command(plugin: dict[str, Any], command: Command) -> dict[str, Any]:
    if command in _ALWAYS_ALLOWED:
        return _answer(command.name, True, _ALWAYS_ALLOWED[command])
    if command.permission is None:
        return _answer(command.name, False, "only users in the group admin may", "not possible for a plugin")
    return _by_permission(plugin, command.name, command.permission)


def _by_permission(plugin: dict[str, Any], what: str, permission: str) -> dict[str, Any]:
    row = plugin["grounds"]["row"]
    if permission in plugin["permissions"]:
        return _answer(what, True, f"{permission} is in its row, {row}", permission=permission)
    change = f"add {permission} to required_permissions in {row}, then `reed plugin reload`"
    return _answer(what, False, f"{permission} is not in its row, {row}", change, permission)


def _files(plugin: dict[str, Any]) -> dict[str, Any]:
    answer = _by_permission(plugin, "FILE_WRITE", "file_write")
    if answer["may"]:
        answer["why"] += f": only {plugin['grounds']['data_dir']}"
    return answer


def _network(plugin: dict[str, Any], sandbox: dict[str, Any]) -> dict[str, Any]:
    """Requires a type that may have the network, `network` in its manifest, and the ports in reed.yaml."""
    from reed.plugin_types import TYPES  # slow to import

    grounds, what = plugin["grounds"], "NETWORK"
    ports = ", ".join(map(str, grounds["allowed_ports"]))
    setting = f"plugins.{plugin['name']}.network in reed.yaml"
    if not TYPES[plugin["type"]].profile.network:
        why = f"plugins of type {plugin['type']} have no network"
        return _answer(what, False, why, "not possible; write it in Python, or as a native plugin")
    if sandbox["mode"] == "off":
        return _answer(what, True, "sandbox: off in reed.yaml restricts nothing")
    if not grounds["asks_network"]:
        ignored = f", so the ports {ports} in reed.yaml have no effect" if ports else ""
        change = f"add network: REASON to {grounds['manifest']}, and ports to {setting}"
        return _answer(what, False, f"its manifest does not request it{ignored}", change)
    request = f"its manifest requests it ({grounds['asks_network']})"
    if not ports:
        return _answer(what, False, f"{request}, but reed.yaml allows no port", f"list the ports in {setting}")
    if not sandbox["tcp"]:
        return _answer(what, True, f"{request}, reed.yaml allows {ports}; this kernel cannot restrict ports")
    return _answer(what, True, f"{request}, and {setting} allows {ports}")


def describe_sandbox(sandbox: dict[str, Any]) -> list[str]:
    """A line with the active layers, and one for each missing layer."""
    if sandbox["mode"] == "off":
        return ["off: only rlimits and no_new_privs"]
    layers = ["rlimits"]
    if sandbox["no_new_privs"]:
        layers.append("no_new_privs")
    if sandbox["landlock"]:
        layers.append(f"Landlock (ABI {sandbox['landlock']})")
    if sandbox["seccomp"]:
        layers.append("seccomp")
    text = f"{sandbox['mode']}: {', '.join(layers)}{'' if sandbox['missing'] else ': all layers active'}"
    return [text, *(f"missing: {layer}" for layer in sandbox["missing"])]
