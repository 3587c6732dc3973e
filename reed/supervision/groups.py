"""People: which groups and permissions a Unix user has (DESIGN.md, Security).

    SO_PEERCRED: uid, gids ── reed.yaml groups: users, unix_groups ── Person(groups, permissions)
    the user who runs the core, and root ── the group admin, which may do everything

`status.permission_report` says why somebody is in a group. A People remembers the names of users.
"""

from __future__ import annotations

import grp
import pwd
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reed.config import Group
from reed.document import Node
from reed.errors import Malformed
from reed.supervision.permissions import permission
from reed.wire.codes import Permission

ADMIN = "admin"
_MOST_KNOWN = 4096


@dataclass(frozen=True, slots=True)
class Person:
    """Who is on the other side of core.sock."""

    name: str  # the Unix user's name; "uid 1234" where it has none
    uid: int
    groups: frozenset[str]
    permissions: frozenset[Permission]
    is_admin: bool


@dataclass(frozen=True, slots=True)
class _Rule:
    """One line of reed.yaml: this uid, or who has this gid, is in the group."""

    group: str
    uid: int | None
    gid: int | None


class People:
    """Answers who a Unix user is. Raises ConfigError for users, Unix groups and permissions that do not exist."""

    def __init__(self, groups: Mapping[str, Group], owner_uid: int) -> None:
        self._permissions = {
            name: frozenset(_permission(word) for word in group.permissions) for name, group in groups.items()
        }
        self._permissions[ADMIN] = frozenset(Permission)
        self._rules = [_Rule(ADMIN, owner_uid, None), _Rule(ADMIN, 0, None)]
        for name, group in groups.items():
            self._rules += [_user_rule(name, word) for word in group.users]
            self._rules += [_unix_group_rule(name, word) for word in group.unix_groups]
        self._known: dict[tuple[int, frozenset[int]], Person] = {}

    def who(self, uid: int, gid: int, gids: Iterable[int]) -> Person:
        """The person of a process: its uid, its gid and supplementary gids."""
        found = frozenset((gid, *gids))
        person = self._known.get((uid, found))
        if person is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            person = self._known[uid, found] = self._person(uid, found)
        return person

    def _person(self, uid: int, gids: frozenset[int]) -> Person:
        groups = frozenset(
            rule.group for rule in self._rules if rule.uid == uid or (rule.gid is not None and rule.gid in gids)
        )
        permissions = frozenset[Permission]().union(*(self._permissions[group] for group in groups))
        return Person(_user_name(uid), uid, groups, permissions, ADMIN in groups)


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
    return _Rule(group, uid, None)


def _unix_group_rule(group: str, word: Node) -> _Rule:
    name = str(word.value)
    try:
        gid = int(name) if name.isdecimal() else grp.getgrnam(name).gr_gid
    except KeyError:
        raise word.wrong(f"no Unix group {name!r} on this machine", "expected a group's name or number") from None
    return _Rule(group, None, gid)


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
