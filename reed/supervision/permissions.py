"""Permissions by name, and the commands that they allow (permissions.md). `wire.commands` maps commands to them."""

from __future__ import annotations

from collections.abc import Iterable

from reed.errors import Malformed, nearest
from reed.wire.codes import Command, Permission


def permission(name: str) -> Permission:
    """Raises Malformed for an unknown name, with the nearest one as its hint."""
    try:
        return Permission(name)
    except ValueError:
        hint = nearest(name, Permission) or f"there are: {', '.join(Permission)}"
        raise Malformed(f"unknown permission {name!r}", hint=hint) from None


def commands_for(permissions: Iterable[str], *, is_admin: bool = False) -> frozenset[Command]:
    """The commands that these permissions allow; all of them for a member of the group admin."""
    if is_admin:
        return frozenset(Command)
    held = frozenset(permissions)
    return frozenset(command for command in Command if command.permission in held)
