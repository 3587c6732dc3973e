"""CONNECTION_ASSUME: an admin's connection gives up permissions for good (protocol.md#users-of-a-connection)."""

from __future__ import annotations

from reed.core.calls import Call, Handler
from reed.core.identity import Identity
from reed.peer_log import PeerLog
from reed.wire import strict_json
from reed.wire.codes import Command
from reed.wire.common import JsonResponse
from reed.wire.requests import ConnectionAssume


def handlers(identity: Identity, log: PeerLog) -> dict[Command, Handler]:
    def assume(call: Call, payload: memoryview) -> None:
        user, group = ConnectionAssume.unpack(payload)
        before, caller = call.caller, identity.assumed(call.caller, user, group)
        call.connection.become(caller)
        log.info("%s is now %s of the group %s, on one connection", before.name, user, group, peer=caller.name)
        found = {
            "name": caller.name,
            "user": user,
            "group": group,
            "is_admin": caller.is_admin,
            "permissions": sorted(caller.permissions),
        }
        call.reply(JsonResponse(200, strict_json.dumps(found)).pack())

    return {Command.CONNECTION_ASSUME: assume}
