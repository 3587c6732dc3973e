"""REGISTRY_DEFINE, GET, LIST, CHECK: the types of snippets (protocol.md#types)."""

from __future__ import annotations

from reed.core.calls import Call
from reed.core.router import Route
from reed.store.base import Store
from reed.wire import common
from reed.wire.codes import Command
from reed.wire.common import Done, JsonResponse
from reed.wire.registry import Definition, RegistryCheck, RegistryDefine, RegistryGot, RegistryPage


def routes(store: Store) -> dict[Command, Route]:
    def define(call: Call, payload: memoryview) -> None:
        request = RegistryDefine.unpack(payload)

        def done(is_new: bool) -> None:
            call.reply(Done(201 if is_new else 200).pack())

        store.define(request.type_name, bytes(request.definition), done, call.fail)

    def get(call: Call, payload: memoryview) -> None:
        def done(definition: Definition) -> None:
            call.reply(RegistryGot(200, definition).pack())

        store.definition(common.unpack_name(payload), done, call.fail)

    def list_all(call: Call, payload: memoryview) -> None:
        common.unpack_nothing(payload, "REGISTRY_LIST")

        def done(definitions: list[Definition]) -> None:
            call.reply(RegistryPage(200, definitions).pack())

        store.definitions(done, call.fail)

    def check(call: Call, payload: memoryview) -> None:
        request = RegistryCheck.unpack(payload)

        def done(json: bytes) -> None:
            call.reply(*JsonResponse(200, json).parts())

        store.check(request.type_name, request.after, request.limit, done, call.fail)

    return {
        Command.REGISTRY_DEFINE: Route(define),
        Command.REGISTRY_GET: Route(get, reads_store=True),
        Command.REGISTRY_LIST: Route(list_all, reads_store=True),
        Command.REGISTRY_CHECK: Route(check, reads_store=True),
    }
