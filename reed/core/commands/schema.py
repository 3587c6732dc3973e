"""SCHEMA_BOND, UNBOND, TREE (protocol.md#bonds)."""

from __future__ import annotations

from reed.core.calls import Call
from reed.core.router import Route
from reed.store.base import Store
from reed.wire.codes import Command
from reed.wire.common import Done, JsonResponse
from reed.wire.schema import SchemaBond, SchemaBonded, SchemaTree, SchemaUnbond


def routes(store: Store) -> dict[Command, Route]:
    def bond(call: Call, payload: memoryview) -> None:
        request = SchemaBond.unpack(payload)

        def done(bond_id: str) -> None:
            call.reply(SchemaBonded(201, bond_id).pack())

        store.bond(request.parent, request.child, request.weight, request.path, done, call.fail)

    def unbond(call: Call, payload: memoryview) -> None:
        request = SchemaUnbond.unpack(payload)

        def done(_: None) -> None:
            call.reply(Done(200).pack())

        store.unbond(request.parent, request.child, done, call.fail)

    def tree(call: Call, payload: memoryview) -> None:
        request = SchemaTree.unpack(payload)

        def done(json: bytes) -> None:
            call.reply(*JsonResponse(200, json).parts())

        store.tree(request.root, request.depth, done, call.fail)

    return {
        Command.SCHEMA_BOND: Route(bond),
        Command.SCHEMA_UNBOND: Route(unbond),
        Command.SCHEMA_TREE: Route(tree, reads_store=True),
    }
