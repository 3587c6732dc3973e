"""Sends each command to its handler, if the caller may use it (permissions.md).

dispatch ─┬─ unknown command     501
          ├─ not permitted       403, logged
          ├─ handler             replies now or later, or raises a CallError
          └─ other exception     500, traceback in the log
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from reed.core.calls import Call, FastPath, Handler
from reed.errors import CallError, Internal, PermissionDenied, UnknownCommand
from reed.peer_log import PeerLog
from reed.wire.codes import Command


class Router:
    def __init__(
        self,
        handlers: Mapping[Command, Handler],
        fast_paths: Mapping[Command, FastPath],
        on_exception: Callable[[BaseException], None],
        log: PeerLog,
    ) -> None:
        self._handlers: dict[int, Handler] = {int(command): handle for command, handle in handlers.items()}
        self.fast_paths: Mapping[int, FastPath] = {int(command): path for command, path in fast_paths.items()}
        self._on_exception = on_exception
        self._log = log
        self.denied = 0

    def dispatch(self, call: Call, payload: memoryview) -> None:
        command_id = call.command_id
        try:
            handle = self._handlers.get(command_id)
            if handle is None or command_id not in call.connection.caller.commands:
                raise self._refusal(call)
            handle(call, payload)
        except CallError as error:
            if isinstance(error, PermissionDenied):
                self._log_denial(call, error)
            call.fail(error)
        except Exception as error:  # noqa: BLE001
            self._on_exception(error)
            if not call.response:
                call.fail(Internal.of(error))

    def _refusal(self, call: Call) -> CallError:
        if call.command_id not in self._handlers:
            return UnknownCommand(f"no command 0x{call.command_id:02X}")
        command, caller = Command(call.command_id), call.caller
        if command.permission is None:
            hint = "only the group admin may"
        elif caller.plugin:
            hint = f"its row in the registry would need the permission {command.permission}"
        else:
            hint = f"a group with the permission {command.permission} in reed.yaml may"
        return PermissionDenied(f"{caller.name} may not {command.name}", hint=hint)

    def _log_denial(self, call: Call, error: PermissionDenied) -> None:
        self.denied += 1
        name = Command(call.command_id).name
        self._log.warning("denied: %s asked for %s: %s", call.caller.name, name, error.message, peer=call.caller.name)
