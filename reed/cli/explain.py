"""`reed plugin explain NAME [COMMAND]`: what a plugin may do, why, and what to change where it may not.

facts of the core (registry.grounds, SYSTEM_STATS) ── one Answer for each thing there is to be allowed
                                                      ├── all of them: a table
                                                      └── the one that was asked about: yes 0, no 1
"""

from __future__ import annotations

from typing import Any

from reed.cli.options import connect
from reed.cli.output import Column, Output
from reed.cli.parse import Args, UsageError
from reed.cli.sandbox import in_words
from reed.errors import PluginNotFound, nearest
from reed.plugin_types import TYPES
from reed.text import safe_lines
from reed.wire.codes import Command

_COLUMNS = (
    Column("WHAT", "what", whole=True),
    Column("MAY", "may", whole=True, coloured=True),
    Column("WHY", "why"),
    Column("TO CHANGE IT", "change"),
)
_OWN = {
    Command.PLUGIN_REGISTER: "every plugin does, on its own socket",
    Command.PLUGIN_SIGNAL: "about itself, on its own socket; to others signals are sent by people in admin alone",
}


def explain(args: Args, output: Output) -> int:
    name, asked = args.word("NAME"), args.word("COMMAND")
    with connect(args) as core:
        plugins = {plugin["name"]: plugin for plugin in core.plugin_list()}
        sandbox = core.stats()["sandbox"]
    if name not in plugins:
        raise PluginNotFound(f"no plugin {name}", hint=nearest(name, plugins) or "`reed plugin list` shows them")
    answers = _answers(plugins[name], sandbox)
    if not asked:
        _show(plugins[name], answers, sandbox, output)
        return 0
    answer = _find(asked, answers)
    if output.as_json:
        output.json(answer)
    else:
        word = "may" if answer["may"] else "may not"
        change = f"\nto change it: {answer['change']}" if answer["change"] else ""
        text = f"{name} {word} {answer['what']}: {answer['why']}{change}\n"
        output.stream.write(safe_lines(text) if output.is_terminal else text)
    return 0 if answer["may"] else 1


def _show(plugin: dict[str, Any], answers: list[dict[str, Any]], sandbox: dict[str, Any], output: Output) -> None:
    if output.as_json:
        output.json({"name": plugin["name"], "answers": answers, "grounds": plugin["grounds"], "sandbox": sandbox})
        return
    output.say(f"{plugin['name']} ({plugin['type']} {plugin['version']}) is {plugin['state']}\n")
    output.table(_COLUMNS, answers)
    grounds = plugin["grounds"]
    output.say(f"\nits row       {grounds['row']}\nits manifest  {grounds['manifest'] or 'cannot be read'}")
    output.say("who may send  the group admin")
    for group, members in grounds["groups"].items():
        if group != "admin":
            output.say(f"              the group {group}: {', '.join(members) or 'nobody; reed.yaml names no members'}")
    output.say(f"its sandbox   {sandbox['mode']}: {in_words(sandbox)}")
    for missing in sandbox["missing"] if sandbox["mode"] != "off" else ():
        output.say(f"              missing: {missing}")


def _find(asked: str, answers: list[dict[str, Any]]) -> dict[str, Any]:
    """The answer about a command, a permission, or the network, however it is written."""
    word = asked.lower().translate({ord(sign): "_" for sign in " .-"})
    for answer in answers:
        if word in (answer["what"].lower(), answer["permission"]):
            return answer
    known = [answer["what"] for answer in answers] + [answer["permission"] for answer in answers]
    raise UsageError(
        f"no command or permission {asked!r}",
        hint=nearest(word, [each.lower() for each in known]) or "`reed plugin explain NAME` shows all",
    )


def _answers(plugin: dict[str, Any], sandbox: dict[str, Any]) -> list[dict[str, Any]]:
    """What it may first."""
    found = [_command(plugin, command) for command in Command]
    found += [_files(plugin), _network(plugin, sandbox)]
    return sorted(found, key=lambda answer: not answer["may"])


def _answer(what: str, may: bool, why: str, change: str = "", permission: str = "") -> dict[str, Any]:
    return {"what": what, "may": may, "why": why, "change": "" if may else change, "permission": permission}


def _command(plugin: dict[str, Any], command: Command) -> dict[str, Any]:
    if command in _OWN:
        return _answer(command.name, True, _OWN[command])
    if command.permission is None:
        return _answer(command.name, False, "people in the group admin alone may", "nothing does: no plugin gets it")
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
        answer["why"] += f": {plugin['grounds']['data_dir']}, and nothing else"
    return answer


def _network(plugin: dict[str, Any], sandbox: dict[str, Any]) -> dict[str, Any]:
    """TCP ports take three: a native plugin, a manifest that asks, and an admin who allows them."""
    grounds, what = plugin["grounds"], "NETWORK"
    ports = ", ".join(map(str, grounds["allowed_ports"]))
    setting = f"plugins.{plugin['name']}.network in reed.yaml"
    if not TYPES[plugin["type"]].profile.executes:
        text = f"a plugin of the type {plugin['type']} has none"
        return _answer(what, False, text, "nothing does: write it as a native plugin")
    if sandbox["mode"] == "off":
        return _answer(what, True, "sandbox: off in reed.yaml closes nothing")
    if not grounds["asks_network"]:
        said = f", though reed.yaml allows {ports}" if ports else ""
        change = f"network: WHAT FOR in {grounds['manifest']}, and ports in {setting}"
        return _answer(what, False, f"its manifest does not ask for it{said}", change)
    asks = f"its manifest asks for it ({grounds['asks_network']})"
    if not ports:
        return _answer(what, False, f"{asks}, and reed.yaml allows no port", f"list the ports in {setting}")
    if not sandbox["tcp"]:
        return _answer(what, True, f"{asks}, and reed.yaml allows {ports}; this kernel cannot keep it to these ports")
    return _answer(what, True, f"{asks}, and {setting} allows {ports}")
