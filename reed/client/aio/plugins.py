"""Derived from reed/client/plugins.py by tests/client/derive.py: change that, and run this with --write."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from reed.client.aio.calls import Calls
from reed.client.values import to_json
from reed.wire.codes import Command, Flag, Signal
from reed.wire.common import JsonResponse

if TYPE_CHECKING:
    from reed.wire.plugins import PluginAnswer

Json = Any


class PluginMethods(Calls):
    async def plugin_list(self) -> list[dict[str, Json]]:
        """[{"name","type","version","state","auto_start","permissions","actions","pid","reason", …}].

        >>> [(plugin["name"], plugin["state"]) for plugin in await core.plugin_list()]
        [('greeter', 'ready')]
        """
        return await self._json_list(Command.PLUGIN_LIST)

    async def plugin_health(self, name: str = "") -> list[dict[str, Json]]:
        """[{"name","state","pid","uptime_s","memory_bytes","calls","errors","latency_ms", …}] of one plugin or of all.

        Raises PluginNotFound.

        >>> (await core.plugin_health("greeter"))[0]["errors"]
        0
        """
        return await self._json_list(Command.PLUGIN_HEALTH, name)

    async def plugin_start(self, name: str) -> None:
        """Start a plugin; returns once it is ready. Raises PluginNotFound, PluginOffline if it cannot start.

        >>> await core.plugin_start("greeter")
        """
        await self._request(Command.PLUGIN_START, name)

    async def plugin_stop(self, name: str) -> None:
        """Stop a plugin; returns once its process has exited. Raises PluginNotFound.

        >>> await core.plugin_stop("greeter")
        >>> await core.plugin_start("greeter")
        """
        await self._request(Command.PLUGIN_STOP, name)

    async def plugin_send(self, name: str, action: str, data: Json = b"") -> PluginAnswer:
        """Call an action; for one that takes a snippet, `data` is the ref.

        The answer has `status`, `body` and `json()`. The plugin's own status may be an error. An exception means that
        it did not answer: PluginNotFound, ActionNotFound, PluginOffline, PluginBusy, PluginTimeout, PluginCrashed;
        CallError if the plugin failed.

        >>> answer = await core.plugin_send("greeter", "greet", {"name": "Ada"})
        >>> answer.status, answer.json()
        (200, {'greeting': 'Hello, Ada!'})
        """
        answer: PluginAnswer = await self._request(Command.PLUGIN_SEND, name, action, to_json(data))
        return answer._replace(body=bytes(answer.body))

    async def plugin_send_all(self, action: str, data: Json = b"") -> dict[str, Json]:
        """Call every running plugin with the action: {NAME: {"status","answer"} or {"status","error"}}.

        >>> await core.plugin_send_all("greet", {"name": "Ada"})
        {'greeter': {'status': 200, 'answer': {'greeting': 'Hello, Ada!'}}}
        """
        answer = await self._request(Command.PLUGIN_SEND, "", action, to_json(data), flags=Flag.BROADCAST)
        answers: dict[str, Json] = json.loads(bytes(answer.body))
        return answers

    async def plugin_run_schedule(self, name: str, schedule: str) -> PluginAnswer:
        """Run a schedule of a plugin now; its next due time stays. Conflict while it runs; else as `plugin_send`.

        >>> (await core.plugin_run_schedule("greeter", "hourly")).json()
        {'greeting': 'Hello, World!'}
        """
        answer: PluginAnswer = await self._request(Command.PLUGIN_RUN_SCHEDULE, name, schedule)
        return answer._replace(body=bytes(answer.body))

    async def plugin_signal(self, name: str, signal: Signal, data: bytes = b"", *, wait: bool = True) -> None:
        """Send a signal to a plugin, or to all (""). With `wait` the core acknowledges it. Raises PluginNotFound.

        >>> from reed.wire.codes import Signal
        >>> await core.plugin_signal("greeter", Signal.RELOAD_CONFIG)
        """
        from time import time_ns

        flags = (0 if name else Flag.BROADCAST) | (0 if wait else Flag.SIGNAL)
        await self._request(Command.PLUGIN_SIGNAL, signal, time_ns() // 1000, name, data, flags=flags)

    async def plugin_reload(self, name: str = "") -> None:
        """Apply changes of plugin-registry.csv and of plugins' folders. With a name, replace that plugin in any case.

        Returns once calls go to the new processes. Raises Invalid for an invalid row (nothing changes), or for a new
        version that does not start (the old one keeps running).

        >>> await core.plugin_reload("greeter")
        """
        await self._request(Command.PLUGIN_RELOAD, name)

    async def plugin_reload_report(self, name: str = "") -> list[dict[str, Json]]:
        """Like `plugin_reload`: [{"name","result","reason"}] of what changed.

        `result` is "added", "started", "renewed", "updated", "removed" or "failed". A failed plugin raises nothing.

        >>> await core.plugin_reload_report()
        []
        """
        from reed.wire.plugins import PluginReload

        answer = await self.call(Command.PLUGIN_RELOAD, PluginReload(name, report=True).pack())
        changes: list[dict[str, Json]] = json.loads(bytes(JsonResponse.unpack(answer).json))
        return changes

    async def stats(self) -> dict[str, Json]:
        """{"version","pid","uptime_s","memory_bytes","connections","store","plugins","loop","limits", …} of the core.

        >>> (await core.stats())["store"]["snippets"]
        2
        """
        return await self._json_object(Command.SYSTEM_STATS)

    async def assume(self, user: str, group: str) -> dict[str, Json]:
        """Give up permissions for good, also for later connections of this client: it becomes `user` of `group`.

        {"name","user","group","is_admin","permissions":[…]}. Once (else Conflict), and only for an admin (else
        PermissionDenied); the log and `reed monitor` name the Unix user and `user`. NotFound names the groups of
        reed.yaml. A client that is refused stays refused.

        >>> (await core.assume("anna", "editor"))["permissions"]
        ['snippet_read']
        """
        from reed.wire.requests import ConnectionAssume

        answer = await self._assume(ConnectionAssume(user, group).pack())
        found: dict[str, Json] = json.loads(bytes(JsonResponse.unpack(answer).json))
        return found
