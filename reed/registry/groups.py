"""People: which groups and permissions a Unix user has (DESIGN.md, Security).

    SO_PEERCRED: uid, gids ── reed.yaml groups: users, unix_groups ── Person(groups, permissions)
    the user who runs the core, and root ── the group admin, which may do everything

A Person keeps the reason for each membership, so that a refusal can be explained. What the users database says is
remembered for as long as a People lives: the core makes a new one when it reads its settings again.
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reed.config import Group
from reed.document import Node
from reed.errors import Malformed
from reed.registry.permissions import permission
from reed.wire.codes import Permission

ADMIN = "admin"
_MOST_KNOWN = 4096


@dataclass(frozen=True, slots=True)
class Membership:
    group: str
    reason: str  # "the user anna is listed in /etc/reed.yaml:4:12"
    permissions: frozenset[Permission]


@dataclass(frozen=True, slots=True)
class Person:
    """Who is on the other side of core.sock."""

    name: str  # the Unix user's name; "uid 1234" where it has none
    uid: int
    memberships: tuple[Membership, ...]
    groups: frozenset[str]
    permissions: frozenset[Permission]
    is_admin: bool


@dataclass(frozen=True, slots=True)
class _Rule:
    """One line of reed.yaml: this uid, or who has this gid, is in the group."""

    group: str
    uid: int | None
    gid: int | None
    reason: str


class People:
    """Answers who a Unix user is. Raises ConfigError for users, Unix groups and permissions that do not exist."""

    def __init__(self, groups: Mapping[str, Group], owner_uid: int) -> None:
        self._permissions = {
            name: frozenset(_permission(word) for word in group.permissions) for name, group in groups.items()
        }
        self._permissions[ADMIN] = frozenset(Permission)
        self._rules = [_Rule(ADMIN, owner_uid, None, "the core runs as this user")]
        if owner_uid != 0:
            self._rules.append(_Rule(ADMIN, 0, None, "root is always an admin"))
        for name, group in groups.items():
            self._rules += [_user_rule(name, word) for word in group.users]
            self._rules += [_unix_group_rule(name, word) for word in group.unix_groups]
        self._known: dict[tuple[int, frozenset[int]], Person] = {}

    def who(self, uid: int, gid: int, gids: Iterable[int] | None = None) -> Person:
        """The person of a process: its uid, its gid and supplementary gids (None: those of the users database)."""
        found = frozenset((gid, *(_gids_of(uid, gid) if gids is None else gids)))
        person = self._known.get((uid, found))
        if person is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            person = self._known[uid, found] = self._person(uid, found)
        return person

    def _person(self, uid: int, gids: frozenset[int]) -> Person:
        reasons: dict[str, str] = {}
        for rule in self._rules:
            if rule.uid == uid or (rule.gid is not None and rule.gid in gids):
                reasons.setdefault(rule.group, rule.reason)
        memberships = tuple(Membership(group, why, self._permissions[group]) for group, why in reasons.items())
        permissions = frozenset[Permission]().union(*(each.permissions for each in memberships))
        return Person(_user_name(uid), uid, memberships, frozenset(reasons), permissions, ADMIN in reasons)


def _place(word: Node) -> str:
    return f"{word.path}:{word.line}:{word.column}"


def _permission(word: Node) -> Permission:
    try:
        return permission(str(word.value))
    except Malformed as error:
        raise word.wrong(error.message, error.hint) from None


def _user_rule(group: str, word: Node) -> _Rule:
    user = str(word.value)
    try:
        uid = int(user) if user.isdecimal() else pwd.getpwnam(user).pw_uid
    except KeyError:
        raise word.wrong(f"no user {user!r} on this machine", "expected a user's name or number") from None
    return _Rule(group, uid, None, f"the user {user} is listed in {_place(word)}")


def _unix_group_rule(group: str, word: Node) -> _Rule:
    name = str(word.value)
    try:
        gid = int(name) if name.isdecimal() else grp.getgrnam(name).gr_gid
    except KeyError:
        raise word.wrong(f"no Unix group {name!r} on this machine", "expected a group's name or number") from None
    return _Rule(group, None, gid, f"the Unix group {name} is listed in {_place(word)}")


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _gids_of(uid: int, gid: int) -> list[int]:
    try:
        return os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
    except KeyError:
        return []
