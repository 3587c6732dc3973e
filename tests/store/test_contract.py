"""The contract of a store (reed.store.base): all members are documented, and the store has no others.

`settle` is how the transaction tells the store's parts of its end.
"""

from __future__ import annotations

import inspect

from reed.store.base import Store
from reed.store.sqlite import SqliteStore


def public(names):
    return {name for name in names if not name.startswith("_")}


MEMBERS = public(vars(Store)) | public(Store.__annotations__)


def test_each_member_is_documented():
    undocumented = {name for name in public(vars(Store)) if not inspect.getdoc(getattr(Store, name))}
    assert undocumented == set()


def test_a_store_has_exactly_the_members_of_the_contract(driver):
    members = [name for each in SqliteStore.__mro__ for name in vars(each)]
    assert public([*members, *vars(driver.store)]) - {"settle"} == MEMBERS
