"""SqliteStore has no members beside the contract's.

`settle` is how the transaction tells the store's parts of its end.
"""

from __future__ import annotations

from reed.store.base import Store
from reed.store.sqlite.store import SqliteStore


def public(names):
    return {name for name in names if not name.startswith("_")}


def test_a_store_has_exactly_the_members_of_the_contract(driver):
    members = [name for each in SqliteStore.__mro__ for name in vars(each)]
    expected = public(vars(Store)) | public(Store.__annotations__)
    assert public([*members, *vars(driver.store)]) - {"settle"} == expected
