"""The bonds of an import: those that are here already stay, the others are made, so that a second run changes nothing.

TREE of each parent, one level ── the same weight and path: nothing to do
                               ── others: refused; with --update it is made anew
                               ── no such bond: BOND
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from reed.client import Client, Request
from reed.errors import CallError, Conflict, NotFound
from reed.wire.codes import Command
from reed.wire.common import JsonResponse
from reed.wire.schema import SchemaBond, SchemaTree, SchemaUnbond


class Wanted(NamedTuple):
    """A bond of the file, its ends as they are called here."""

    line: int
    bond: SchemaBond


class Here(NamedTuple):
    """A bond that is here."""

    weight: int
    path: str


Bonds = Mapping[tuple[str, str], Here]  # by parent as it is wanted, and child's id or name


def read(core: Client, wanted: Sequence[Wanted]) -> Bonds:
    """The bonds below the parents that are wanted."""
    found: dict[tuple[str, str], Here] = {}
    parents = dict.fromkeys(each.bond.parent for each in wanted)
    questions = (Request(Command.SCHEMA_TREE, SchemaTree(parent, 1).pack(), parent) for parent in parents)
    with Client(core.path, core.timeout) as reader:
        for request, answer in reader.pipelined(questions):
            if isinstance(answer, NotFound):  # the bond itself will tell
                continue
            if isinstance(answer, CallError):
                raise answer
            for child in json.loads(bytes(JsonResponse.unpack(answer).json))["children"]:
                here = Here(child["weight"], child["path"])
                found[request.tag, child["id"]] = here
                if child["name"]:
                    found[request.tag, child["name"]] = here
    return found


def requests(wanted: Wanted, bonds: Bonds, *, update: bool) -> Iterator[tuple[Command, bytes]]:
    """What makes it as it is wanted; Conflict when it is here otherwise and `update` is not asked for."""
    bond = wanted.bond
    here = bonds.get((bond.parent, bond.child))
    if here == (bond.weight, bond.path):
        return
    if here is not None:
        if not update:
            raise Conflict(
                f"{bond.parent} and {bond.child} are bonded with weight {here.weight} and path {here.path!r}",
                hint="--update makes the bond anew",
            )
        yield Command.SCHEMA_UNBOND, SchemaUnbond(bond.parent, bond.child).pack()
    yield Command.SCHEMA_BOND, bond.pack()
