"""Permissions (permissions.md), and the Unix users who have them. `wire.commands` has that of each command."""

from __future__ import annotations

import grp
import pwd
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from reed.config import Group
from reed.document import Node
from reed.errors import Malformed, NotFound, nearest
from reed.wire.codes import Command, Permission

ADMIN = "admin"
_MAX_CACHED = 4096


def permission(name: str) -> Permission:
    """Raises Malformed."""
    try:
        return Permission(name)
    except ValueError:
        hint = nearest(name, Permission) or f"there are: {', '.join(Permission)}"
        raise Malformed(f"unknown permission {name!r}", hint=hint) from None


def commands_for(permissions: Iterable[str], *, is_admin: bool = False) -> frozenset[Command]:
    if is_admin:
        return frozenset(Command)
    return _commands_for(frozenset(permissions))


@lru_cache(maxsize=256)
def _commands_for(held: frozenset[str]) -> frozenset[Command]:
    return frozenset(command for command in Command if command.permission in held)


class Person(NamedTuple):
    name: str  # or "uid 1234" for a user without a name
    uid: int
    groups: frozenset[str]
    permissions: frozenset[Permission]
    commands: frozenset[Command]  # that the permissions allow
    is_admin: bool


class _Rule(NamedTuple):
    group: str
    uid: int | None
    gid: int | None


class People:
    """Raises ConfigError for users, Unix groups and permissions that do not exist."""

    def __init__(self, groups: Mapping[str, Group], owner_uid: int) -> None:
        self._permissions = {
            name: frozenset(_permission(word) for word in group.permissions) for name, group in groups.items()
        }
        self._permissions[ADMIN] = frozenset(Permission)
        self._rules = [_Rule(ADMIN, owner_uid, None), _Rule(ADMIN, 0, None)]
        for name, group in groups.items():
            self._rules += [_Rule(name, _id(word, "user"), None) for word in group.users]
            self._rules += [_Rule(name, None, _id(word, "Unix group")) for word in group.unix_groups]
        self._cache: dict[tuple[int, frozenset[int]], Person] = {}

    def who(self, uid: int, gid: int, gids: Iterable[int]) -> Person:
        found = frozenset((gid, *gids))
        person = self._cache.get((uid, found))
        if person is None:
            if len(self._cache) >= _MAX_CACHED:
                self._cache.clear()
            person = self._cache[uid, found] = self._person(uid, found)
        return person

    def permissions_of(self, group: str) -> frozenset[str]:
        """Raises NotFound."""
        found = self._permissions.get(group)
        if found is None:
            raise NotFound(f"no group {group!r} in reed.yaml", hint=f"groups: {', '.join(sorted(self._permissions))}")
        return frozenset(str(each) for each in found)

    def _person(self, uid: int, gids: frozenset[int]) -> Person:
        groups = frozenset(
            rule.group for rule in self._rules if rule.uid == uid or (rule.gid is not None and rule.gid in gids)
        )
        permissions = frozenset[Permission]().union(*(self._permissions[group] for group in groups))
        is_admin = ADMIN in groups
        commands = commands_for(permissions, is_admin=is_admin)
        return Person(_user_name(uid), uid, groups, permissions, commands, is_admin)


def _permission(word: Node) -> Permission:
    try:
        return permission(str(word.value))
    except Malformed as error:
        raise word.wrong(error.message, error.hint) from None


def _id(word: Node, kind: str) -> int:
    name = str(word.value)
    try:
        if name.isdecimal():
            return int(name)
        return pwd.getpwnam(name).pw_uid if kind == "user" else grp.getgrnam(name).gr_gid
    except KeyError:
        noun = kind.removeprefix("Unix ")
        raise word.wrong(f"no {kind} {name!r} on this machine", f"expected a {noun}'s name or number") from None


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
