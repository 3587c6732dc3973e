"""Which permission a command takes (permissions.md).

Permission ── PERMISSION_OF ── Command        file_write has no command: it opens the plugin's own data folder
the group admin ── everything; only it may start, stop, signal and reload plugins
"""

from __future__ import annotations

from collections.abc import Iterable

from reed.errors import Malformed, nearest
from reed.wire.codes import Command, Permission

PERMISSION_OF: dict[Command, Permission] = {
    Command.SNIPPET_CREATE: Permission.SNIPPET_WRITE,
    Command.SNIPPET_UPDATE: Permission.SNIPPET_WRITE,
    Command.SNIPPET_DELETE: Permission.SNIPPET_WRITE,
    Command.SNIPPET_RESTORE: Permission.SNIPPET_RESTORE,
    Command.SNIPPET_GET: Permission.SNIPPET_READ,
    Command.SNIPPET_LIST: Permission.SNIPPET_READ,
    Command.SNIPPET_FIND: Permission.SNIPPET_READ,
    Command.SNIPPET_RENAME: Permission.SNIPPET_WRITE,
    Command.SNIPPET_NAMES: Permission.SNIPPET_READ,
    Command.SCHEMA_BOND: Permission.SCHEMA_WRITE,
    Command.SCHEMA_UNBOND: Permission.SCHEMA_WRITE,
    Command.SCHEMA_TREE: Permission.SCHEMA_READ,
    Command.REGISTRY_DEFINE: Permission.REGISTRY_WRITE,
    Command.REGISTRY_GET: Permission.REGISTRY_READ,
    Command.REGISTRY_LIST: Permission.REGISTRY_READ,
    Command.REGISTRY_CHECK: Permission.SNIPPET_READ,  # it reads contents, and names snippets
    Command.SEARCH_QUERY: Permission.SEARCH_READ,
    Command.SEARCH_INDEX: Permission.SEARCH_WRITE,
    Command.PLUGIN_HEALTH: Permission.SYSTEM_STATS,
    Command.PLUGIN_LIST: Permission.SYSTEM_STATS,
    Command.PLUGIN_SEND: Permission.PLUGIN_SEND,
    Command.SYSTEM_STATS: Permission.SYSTEM_STATS,
}


def permission(name: str) -> Permission:
    """The permission of that name; an unknown one is Malformed, with the nearest as its hint."""
    try:
        return Permission(name)
    except ValueError:
        hint = nearest(name, Permission) or f"there are: {', '.join(Permission)}"
        raise Malformed(f"unknown permission {name!r}", hint=hint) from None


def commands_for(permissions: Iterable[str], *, is_admin: bool = False) -> frozenset[Command]:
    """The commands to the core that these permissions open."""
    if is_admin:
        return frozenset(Command)
    held = frozenset(permissions)
    return frozenset(command for command, needed in PERMISSION_OF.items() if needed in held)
