"""SCHEMA_BOND, UNBOND, TREE (protocol.md#bonds)."""

from __future__ import annotations

from reed.core.calls import Call, Handle
from reed.store.base import Store
from reed.wire.codes import Command
from reed.wire.common import Done, JsonResponse
from reed.wire.schema import SchemaBond, SchemaBonded, SchemaTree, SchemaUnbond


def handlers(store: Store) -> dict[Command, Handle]:
    def bond(call: Call, payload: memoryview) -> None:
        request = SchemaBond.unpack(payload)
        store.bond(*request, lambda bond_id: call.reply(SchemaBonded(201, bond_id).pack()), call.fail)

    def unbond(call: Call, payload: memoryview) -> None:
        parent, child = SchemaUnbond.unpack(payload)
        store.unbond(parent, child, lambda _: call.reply(Done(200).pack()), call.fail)

    def tree(call: Call, payload: memoryview) -> None:
        root, depth = SchemaTree.unpack(payload)
        store.tree(root, depth, lambda json: call.reply(*JsonResponse(200, json).parts()), call.fail)

    return {Command.SCHEMA_BOND: bond, Command.SCHEMA_UNBOND: unbond, Command.SCHEMA_TREE: tree}
