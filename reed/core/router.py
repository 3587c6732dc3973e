"""Which command goes to which handler, and who may (protocol.md#commands, permissions.md).

answers? ── must_defer? ── dispatch ─┬─ unknown command     501
                                    ├─ not permitted       403, logged with who and what
                                    ├─ handler             replies now or later; a CallError is its answer
                                    └─ a bug in a handler  500 for the caller, its traceback in the log
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from reed.core.calls import Call, Caller, Handle
from reed.core.response_cache import ResponseCache
from reed.errors import CallError, Internal, PermissionDenied, UnknownCommand
from reed.peer_log import PeerLog
from reed.supervision.permissions import PERMISSION_OF
from reed.wire.codes import Command


class Route(NamedTuple):
    handle: Handle
    reads_store: bool = False  # must not see writes that are not on the disk yet


class Router:
    """The dispatcher of every connection. `routes` comes from the modules in commands/."""

    def __init__(
        self,
        routes: dict[Command, Route],
        prepared: ResponseCache,
        store_is_dirty: Callable[[], bool],
        on_exception: Callable[[BaseException], None],
        log: PeerLog,
    ) -> None:
        self._handlers: dict[int, Handle] = {int(command): route.handle for command, route in routes.items()}
        self._reading = frozenset(int(command) for command, route in routes.items() if route.reads_store)
        self._prepared = prepared
        self._store_is_dirty = store_is_dirty
        self._on_exception = on_exception
        self._log = log
        self.denied = 0

    def must_defer(self, command_id: int) -> bool:
        """A read waits for the next turn while writes of this one are not on the disk: it could see what then fails."""
        return command_id in self._reading and self._store_is_dirty()

    def cached_responses(self, caller: Caller, data: memoryview, room: int) -> tuple[list[bytes], int]:
        """What was answered before: see ResponseCache."""
        return self._prepared.lookup(caller.commands, data, room)

    def dispatch(self, call: Call, payload: memoryview) -> None:
        command_id = call.command_id
        try:
            if command_id not in call.connection.caller.commands or command_id not in self._handlers:
                raise self._refusal(call)
            self._handlers[command_id](call, payload)
        except CallError as error:
            if isinstance(error, PermissionDenied):
                self._note_denial(call, error)
            call.fail(error)
        except Exception as error:  # noqa: BLE001
            self._on_exception(error)
            if call.response is None:
                call.fail(Internal(f"a bug in the core: {type(error).__name__}", hint="its traceback is in the log"))

    def _refusal(self, call: Call) -> CallError:
        if call.command_id not in self._handlers:
            return UnknownCommand(f"no command 0x{call.command_id:02X}")
        name = Command(call.command_id).name
        return PermissionDenied(f"{call.caller.name} may not {name}", hint=self._what_it_takes(call))

    def _note_denial(self, call: Call, error: PermissionDenied) -> None:
        """Who asked for what: also where a handler knows more than the command, such as whom a plugin lets send."""
        self.denied += 1
        name = Command(call.command_id).name
        self._log.warning("denied: %s asked for %s: %s", call.caller.name, name, error.message, peer=call.caller.name)

    @staticmethod
    def _what_it_takes(call: Call) -> str:
        permission = PERMISSION_OF.get(Command(call.command_id))
        if permission is None:
            return "only the group admin may"
        if call.caller.plugin:
            return f"its row in the registry would need the permission {permission}"
        return f"a group with the permission {permission} in reed.yaml may"
