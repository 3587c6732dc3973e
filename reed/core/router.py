"""Which command goes to which handler, and who may (WIRE.md, Commands to the core, Permissions).

frame ── must_wait? ── dispatch ─┬─ unknown command     501
                                 ├─ not permitted       403, logged with who and what
                                 ├─ handler             replies now or later; a CallError is the call's answer
                                 └─ a bug in a handler  500 for the caller, its traceback in the log
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

from reed.core.calls import Call, Handle
from reed.errors import CallError, Internal, PermissionDenied, UnknownCommand
from reed.registry.permissions import PERMISSION_OF
from reed.wire.codes import Command


class Route(NamedTuple):
    handle: Handle
    reads_store: bool = False  # must not see writes that are not on the disk yet


class Router:
    """The dispatcher of every connection. `routes` comes from the modules in commands/."""

    def __init__(
        self,
        routes: dict[Command, Route],
        store_is_dirty: Callable[[], bool],
        on_bug: Callable[[BaseException], None],
        log: logging.Logger,
    ) -> None:
        self._handlers: dict[int, Handle] = {int(command): route.handle for command, route in routes.items()}
        self._reading = frozenset(int(command) for command, route in routes.items() if route.reads_store)
        self._store_is_dirty = store_is_dirty
        self._on_bug = on_bug
        self._log = log
        self.denied = 0

    def must_wait(self, command_id: int) -> bool:
        """A read waits for the next turn while writes of this one are not on the disk: it could see what then fails."""
        return command_id in self._reading and self._store_is_dirty()

    def dispatch(self, call: Call, payload: memoryview) -> None:
        try:
            self._handler(call)(call, payload)
        except CallError as error:
            call.fail(error)
        except Exception as error:  # noqa: BLE001
            self._on_bug(error)
            if call.answer is None:
                call.fail(Internal(f"a bug in the core: {type(error).__name__}", hint="its traceback is in the log"))

    def _handler(self, call: Call) -> Handle:
        command_id = call.command_id
        handler = self._handlers.get(command_id)
        if handler is None:
            raise UnknownCommand(f"no command 0x{command_id:02X}")
        caller = call.connection.caller
        if command_id not in caller.commands:
            self.denied += 1
            name = Command(command_id).name
            self._log.warning("denied: %s asked for %s", caller.name, name)
            raise PermissionDenied(f"{caller.name} may not {name}", hint=self._what_it_takes(call))
        return handler

    @staticmethod
    def _what_it_takes(call: Call) -> str:
        permission = PERMISSION_OF.get(Command(call.command_id))
        if permission is None:
            return "only the group admin may"
        if call.caller.plugin:
            return f"its row in the registry would need the permission {permission}"
        return f"a group with the permission {permission} in reed.yaml may"
