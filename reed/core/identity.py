"""Identifies the peer of a socket and its permissions (permissions.md#identity).

SO_PEERCRED ─┬─ a plugin's process                                permissions of the plugin's row
             ├─ marked, in the session of a running plugin        the same: a descendant
             ├─ marked, in another session                        none: an orphan
             └─ unmarked (reed.sandbox.mark): a person's program  those of the user's groups
CONNECTION_ASSUME ── an admin's program, as a user of a group     those of the group
"""

from __future__ import annotations

import os
from collections.abc import Callable

from reed.core.calls import Caller
from reed.core.listener import Peer
from reed.errors import Conflict
from reed.peer_log import ORPHANS, PeerLog
from reed.sandbox.mark import is_marked
from reed.supervision.permissions import ADMIN, People, commands_for

ORPHAN = ""  # in place of a plugin's name


class Identity:
    def __init__(
        self,
        people: People,
        plugin_of: Callable[[int], str | None],
        caller_of_plugin: Callable[[str], Caller],
        log: PeerLog,
    ) -> None:
        self._people = people
        self._plugin_of = plugin_of
        self._caller_of_plugin = caller_of_plugin
        self._log = log

    def caller_of(self, peer: Peer) -> Caller:
        """Raises OSError if the core lacks a descriptor or memory."""
        plugin = owning_plugin(peer, self._plugin_of)
        if plugin == ORPHAN:
            self._log.warning("pid %d is an orphan of a plugin that has ended: access denied", peer.pid, peer=ORPHANS)
            return Caller(f"pid {peer.pid}", "", frozenset(), frozenset(), frozenset(), is_admin=False)
        if plugin is not None:
            return self._caller_of_plugin(plugin)
        person = self._people.who(peer.uid, peer.gid, peer.groups)
        return Caller(person.name, "", person.groups, person.permissions, person.commands, person.is_admin)

    def assumed(self, caller: Caller, user: str, group: str) -> Caller:
        """`caller` as `user` of `group`: never more than it is. Raises NotFound and Conflict."""
        if caller.user not in ("", user):
            raise Conflict(f"this connection is that of {caller.user}", hint="open a connection for each user")
        permissions = self._people.permissions_of(group) & caller.permissions
        is_admin = caller.is_admin and group == ADMIN
        commands = commands_for(permissions, is_admin=is_admin) & caller.commands
        name = caller.name if caller.user else f"{caller.name} as {user}"
        return Caller(name, "", frozenset((group,)), permissions, commands, is_admin, user)


def owning_plugin(peer: Peer, plugin_of: Callable[[int], str | None]) -> str | None:
    """The name of the plugin that the peer belongs to, ORPHAN, or None for a person's program."""
    name = plugin_of(peer.pid)
    if name is not None or not peer.pid:  # pid 0: another pid namespace, which no plugin can enter
        return name
    marked = is_marked(peer.pid)
    if marked is None:  # ended or hidden; plugins of root may run as another user
        marked = os.geteuid() in {0, peer.uid}
    if not marked:
        return None
    try:
        return plugin_of(os.getsid(peer.pid)) or ORPHAN
    except ProcessLookupError:
        return ORPHAN
