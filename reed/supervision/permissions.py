"""The permission that each command requires (permissions.md).

file_write belongs to no command: it gives a plugin its own data folder. Commands that are not in PERMISSION_OF (start,
stop, signal and reload plugins) are reserved for the group admin.
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
    Command.REGISTRY_CHECK: Permission.SNIPPET_READ,  # it reads contents
    Command.SEARCH_QUERY: Permission.SEARCH_READ,
    Command.SEARCH_INDEX: Permission.SEARCH_WRITE,
    Command.PLUGIN_HEALTH: Permission.SYSTEM_STATS,
    Command.PLUGIN_LIST: Permission.SYSTEM_STATS,
    Command.PLUGIN_SEND: Permission.PLUGIN_SEND,
    Command.SYSTEM_STATS: Permission.SYSTEM_STATS,
}


def permission(name: str) -> Permission:
    """Raises Malformed for an unknown name, with the nearest one as its hint."""
    try:
        return Permission(name)
    except ValueError:
        hint = nearest(name, Permission) or f"there are: {', '.join(Permission)}"
        raise Malformed(f"unknown permission {name!r}", hint=hint) from None


def commands_for(permissions: Iterable[str], *, is_admin: bool = False) -> frozenset[Command]:
    """The commands that these permissions allow."""
    if is_admin:
        return frozenset(Command)
    held = frozenset(permissions)
    return frozenset(command for command, needed in PERMISSION_OF.items() if needed in held)
