"""What permissions open (permissions.md). Which permission a command takes is in `reed.wire.commands`."""

from __future__ import annotations

from collections.abc import Iterable

from reed.errors import Malformed, nearest
from reed.wire.codes import Command, Permission


def permission(name: str) -> Permission:
    """The permission of that name; an unknown one is Malformed, with the nearest as its hint."""
    try:
        return Permission(name)
    except ValueError:
        hint = nearest(name, Permission) or f"there are: {', '.join(Permission)}"
        raise Malformed(f"unknown permission {name!r}", hint=hint) from None


def commands_for(permissions: Iterable[str], *, is_admin: bool = False) -> frozenset[Command]:
    """The commands that these permissions open; all of them for a member of the group admin."""
    if is_admin:
        return frozenset(Command)
    held = frozenset(permissions)
    return frozenset(command for command in Command if command.permission in held)
