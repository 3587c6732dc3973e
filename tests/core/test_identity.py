"""Users that connections assume: never more than before, whatever the groups and their order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reed.config import Group
from reed.core.calls import Caller
from reed.core.identity import Identity
from reed.document import Node
from reed.errors import ConfigError, NotFound
from reed.supervision.permissions import People, commands_for
from reed.wire.codes import Permission

NAMES = ["editor", "seo", "guest"]
PERMISSIONS = st.frozensets(st.sampled_from(Permission))
GROUPS = st.dictionaries(st.sampled_from(NAMES), PERMISSIONS)


def identity(groups: dict[str, frozenset[Permission]]) -> Identity:
    configured = {
        name: Group(permissions=tuple(Node(str(each), "", "", ConfigError) for each in sorted(held)))
        for name, held in groups.items()
    }
    return Identity(People(configured, 1000), lambda _: None, lambda _: ADMIN, log=None)  # nothing is logged here


ADMIN = Caller("root", "", frozenset({"admin"}), frozenset(Permission), commands_for([], is_admin=True), is_admin=True)


@given(GROUPS, PERMISSIONS, st.booleans(), st.lists(st.sampled_from([*NAMES, "admin"]), max_size=4))
def test_a_caller_never_gets_more_than_it_had(groups, held, is_admin, chain) -> None:
    who = identity(groups)
    first = ADMIN if is_admin else Caller("anna", "", frozenset(), held, commands_for(held), is_admin=False)
    caller = first
    for group in chain:
        if group not in {*groups, "admin"}:
            with pytest.raises(NotFound) as caught:
                who.assumed(caller, "Anna", group)
            assert caught.value.hint == f"groups: {', '.join(sorted({*groups, 'admin'}))}"
            continue
        after = who.assumed(caller, "Anna", group)
        allowed = frozenset(Permission) if group == "admin" else groups[group]
        assert after.permissions == caller.permissions & allowed
        assert after.commands <= caller.commands
        assert after.commands == commands_for(after.permissions, is_admin=after.is_admin)
        assert after.is_admin <= caller.is_admin
        assert (after.name, after.user, after.plugin) == (f"{first.name} as Anna", "Anna", "")
        caller = after
