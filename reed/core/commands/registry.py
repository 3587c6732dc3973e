"""REGISTRY_DEFINE, GET, LIST, CHECK: the types of snippets (protocol.md#types)."""

from __future__ import annotations

from reed.core.calls import Call, Handle
from reed.store.base import Store
from reed.wire.codes import Command
from reed.wire.common import Done, JsonResponse, Name
from reed.wire.registry import RegistryCheck, RegistryDefine, RegistryGot, RegistryPage
from reed.wire.structs import nothing_left


def handlers(store: Store) -> dict[Command, Handle]:
    def define(call: Call, payload: memoryview) -> None:
        name, definition = RegistryDefine.unpack(payload)
        store.define(name, bytes(definition), lambda is_new: call.reply(Done(201 if is_new else 200).pack()), call.fail)

    def get(call: Call, payload: memoryview) -> None:
        name = Name.unpack(payload).name
        store.definition(name, lambda found: call.reply(RegistryGot(200, found).pack()), call.fail)

    def list_all(call: Call, payload: memoryview) -> None:
        nothing_left(payload, "REGISTRY_LIST")
        store.definitions(lambda found: call.reply(RegistryPage(200, found).pack()), call.fail)

    def check(call: Call, payload: memoryview) -> None:
        name, after, limit = RegistryCheck.unpack(payload)
        store.check(name, after, limit, lambda json: call.reply(*JsonResponse(200, json).parts()), call.fail)

    return {
        Command.REGISTRY_DEFINE: define,
        Command.REGISTRY_GET: get,
        Command.REGISTRY_LIST: list_all,
        Command.REGISTRY_CHECK: check,
    }
