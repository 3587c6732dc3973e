"""The core's side of each plugin: its socket, connections, actions and calls.

state of the plugin (supervision.lifecycle)        calls
starting, backoff, busy, sleeping                  wait
ready                                              are sent
stopping                                           those in flight finish; the others wait for the next process
stopped, failed                                    fail: ERR_PLUGIN_CRASHED (in flight), ERR_PLUGIN_OFFLINE (waiting)
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from reed.config import Config
from reed.core import registration
from reed.core.call_queue import MAX_STATUS, Answered, CallInFlight, CallQueue, Channel, PluginCall, status_error
from reed.core.calls import Call, Caller, Dispatcher, FastOrigin, FastPath, FrameTap
from reed.core.connection import Connection
from reed.core.listener import Listener, Peer, is_peer_alive, refuse
from reed.core.quotas import Quotas
from reed.counters import CommandCounters
from reed.errors import (
    ActionNotFound,
    CallError,
    Malformed,
    PermissionDenied,
    PluginCrashed,
    PluginOffline,
)
from reed.loop.loop import Loop
from reed.peer_log import PeerLog
from reed.supervision.callbacks import Process
from reed.supervision.lifecycle import AT_REST, State
from reed.supervision.manifest import Action
from reed.supervision.permissions import commands_for
from reed.supervision.registry_csv import Row
from reed.supervision.supervisor import Plugin, Supervisor
from reed.wire import frames
from reed.wire.codes import SIGNALS, Command, Flag, Signal
from reed.wire.common import ErrorResponse
from reed.wire.frames import Frame
from reed.wire.requests import SignalMessage
from reed.wire.structs import COMMAND_AT

_READY = State.READY
_ERROR = int(Flag.ERROR)
_MIN_ERROR_STATUS = 400
_MAX_JOINED = 16 * 1024  # bytes of payload; below it copying costs less than two parts


class AnswerPath(Protocol):
    """See core.forward."""

    def take_answer(self, channel: Channel, data: memoryview) -> int: ...


@dataclass(slots=True)
class CoreContext:
    """What the parts of a core share. The last four are set later, so parts read them when used."""

    loop: Loop
    config: Config
    log: PeerLog
    quotas: Quotas
    scratch: memoryview  # the receive buffer of all connections
    counters: CommandCounters
    endpoints: dict[str, PluginEndpoint] = field(default_factory=dict)
    supervisor: Supervisor = field(init=False)
    dispatcher: Dispatcher = field(init=False)
    forwarder: AnswerPath = field(init=False)
    monitor: FrameTap = field(init=False)


class PluginConnection:
    """A Channel of the queue, and the Dispatcher of the process's own requests; PLUGIN_REGISTER must come first."""

    def __init__(self, endpoint: PluginEndpoint, process: Process, sock: socket.socket, context: CoreContext) -> None:
        self.in_flight: CallInFlight | None = None
        self.process = process
        self.registered = False
        self.fast_paths: Mapping[int, FastPath] = {}
        self._endpoint = endpoint
        self._dispatcher = context.dispatcher
        self._forwarder = context.forwarder
        self.connection = Connection(
            context,
            sock,
            caller_for(process.spec.row),
            self,
            on_signal=lambda _, frame: endpoint.on_signal(self, frame.payload),
            on_response=self._on_response,
            on_closed=lambda _, reason: endpoint.connection_closed(self, reason),
        )
        self.write = self.connection.stream.send_now

    def accept(self, action_ids: Iterable[int]) -> None:
        """Its process has registered these actions. The first frame that it sends may be a request or an answer."""
        answers = dict.fromkeys(action_ids, self._take_answer)
        self.registered, self.fast_paths = True, {**self._dispatcher.fast_paths, **answers}

    def _take_answer(self, origin: FastOrigin, data: memoryview) -> int:
        taken = self._forwarder.take_answer(self, data)
        if not taken and (path := self._dispatcher.fast_paths.get(data[COMMAND_AT])) is not None:
            taken = path(origin, data)  # the id of an action may be that of a command
        return taken

    def dispatch(self, call: Call, payload: memoryview) -> None:
        if call.command_id == Command.PLUGIN_REGISTER:
            try:
                self._endpoint.register(self, call, payload)
            except CallError as error:
                call.fail(error)
        elif self.registered:
            self._dispatcher.dispatch(call, payload)
        else:
            call.fail(PermissionDenied("not registered", hint="send PLUGIN_REGISTER (0xF0) first"))

    def send_call(self, call: PluginCall) -> None:
        if len(call.payload) < _MAX_JOINED:
            self.connection.send_now(frames.encode(call.action_id, call.payload))
        else:
            self.connection.send(*frames.in_parts(call.action_id, call.payload))

    def _on_response(self, frame: Frame) -> None:
        call = self.in_flight
        if call is None or call.action_id != frame.command_id:
            raise Malformed(f"a response to 0x{frame.command_id:02X}, but no such call is in flight")
        if frame.flags & _ERROR:
            response = ErrorResponse.unpack(frame.payload)
            error = CallError(response.message, status=response.status, error_code=response.error_code)
            if not _MIN_ERROR_STATUS <= response.status <= MAX_STATUS:
                error = status_error(self._endpoint.name, call.action, response.status)
            self._endpoint.queue.fail(self, error)
        else:
            self._endpoint.queue.answer(self, frame.payload)


class PluginEndpoint:
    def __init__(self, plugin: Plugin, context: CoreContext) -> None:
        self.plugin = plugin
        self.name = plugin.row.plugin_name
        self.queue = CallQueue(self.name, context.loop)
        self.caller = caller_for(plugin.row)
        self.connections: list[PluginConnection] = []
        self.changes = 0  # of what a name of an action means, and of the endpoint's end
        self._actions: dict[Process, dict[str, Action]] = {}
        self._on_idle: dict[Process, Callable[[], None]] = {}
        self._context = context
        self._listener: Listener | None = None

    # Its socket.

    def listen(self) -> None:
        if self._listener is None:
            context, path = self._context, self.plugin.row.socket_path
            self._listener = Listener(context.loop, path, self._accept, context.log, context.quotas.rates)

    def close(self) -> None:
        self.changes += 1
        for connection in list(self.connections):
            connection.connection.close("the core closes the plugin's socket")
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _accept(self, sock: socket.socket, peer: Peer) -> None:
        process = self._context.supervisor.process_of(peer.pid)
        if process is None and self.plugin.is_launching:  # it may connect before the core knows its pid
            self._context.loop.call_soon(lambda: self._accept(sock, peer))
            return
        if refusal := self._context.quotas.rates.connects(self.caller if process else None, peer.pid, peer.uid):
            refuse(sock, refusal)
        elif process is None or process.name != self.name or not is_peer_alive(sock, peer):
            self._context.log.warning(
                "%s: refused a connection of pid %d (uid %d): not a process of this plugin",
                self.name,
                peer.pid,
                peer.uid,
                peer=f"plugin {process.name}" if process else f"uid {peer.uid}",
            )
            sock.close()
        else:
            connection = PluginConnection(self, process, sock, self._context)
            self.connections.append(connection)
            if error := connection.connection.usage.too_many_connections():
                self._context.log.warning("%s: refused a connection: %s", self.name, error, peer=self.caller.name)
                connection.connection.reject(error)

    def connection_closed(self, connection: PluginConnection, reason: str) -> None:
        self.connections.remove(connection)
        self.queue.remove_channel(connection)
        process = connection.process
        if connection.registered and process is self.plugin.process and not self._registered(process):
            self._context.log.info("%s: disconnected: %s", self.name, reason, peer=self.caller.name)
            self._context.supervisor.on_disconnect(self.name)
        self._notify_idle()

    # Registration and signals.

    def register(self, connection: PluginConnection, call: Call, payload: memoryview) -> None:
        """Handle PLUGIN_REGISTER."""
        process, spec = connection.process, connection.process.spec
        actions = self._actions[process] = registration.actions_in(payload, spec)
        self.changes += 1
        is_new = not connection.registered
        connection.accept(each.command_id for each in actions.values())
        if is_new and process is self.plugin.process:
            self.queue.remap(lambda call: self.action(call.action).command_id)
            self.queue.add_channel(connection)
        peers = (name for name in self._context.supervisor.plugins if name != self.name)
        call.reply(registration.response(spec, self._context.config.limits.payload, peers))

    def on_signal(self, connection: PluginConnection, payload: memoryview) -> None:
        message = SignalMessage.unpack(payload)
        if message.plugin_name != self.name:
            raise Malformed(f"a signal of {message.plugin_name!r} on the socket of {self.name}")
        if not connection.registered:
            raise Malformed("a signal before PLUGIN_REGISTER")
        if message.signal_type >= Signal.SHUTDOWN_GRACEFUL or message.signal_type not in SIGNALS:
            raise Malformed(f"plugins cannot send signal 0x{message.signal_type:02X}")
        self._context.supervisor.on_signal(connection.process, Signal(message.signal_type), bytes(message.data))

    def send_signal(self, signal: Signal, data: bytes = b"", process: Process | None = None) -> bool:
        """Send to `process`, or to the active process; False if it has no connection."""
        for connection in self._registered(process or self.plugin.process):
            message = SignalMessage(signal, time.time_ns() // 1000, self.name, data)
            connection.connection.send_now(frames.encode(Command.PLUGIN_SIGNAL, message.pack(), Flag.SIGNAL))
            return True
        return False

    def _registered(self, process: Process | None) -> list[PluginConnection]:
        return [each for each in self.connections if each.registered and each.process is process]

    # Its calls.

    def call(
        self, action: Action, payload: bytes, answered: Answered, failed: Callable[[CallError], None], by: str = ""
    ) -> None:
        """`by`: the calling plugin. Raises PluginOffline and PluginBusy."""
        state = self.plugin.state
        if state is not _READY and state in AT_REST:
            raise self.offline_error()
        config = self._context.config
        timeout = action.timeout or config.timing.call_timeout
        call = PluginCall(action.name, action.command_id, payload, timeout, answered, failed, by)
        spec = self.plugin.spec
        limit = spec.launch.limits.calls if spec else None
        self.queue.submit(call, config.limits.queued_calls if limit is None else limit)
        if self.plugin.state is not _READY:
            self._context.supervisor.wake(self.name)

    def action(self, name: str) -> Action:
        """As the active process registered it or, before that, as plugin.yaml declares it."""
        known = self.actions or (self.plugin.manifest.actions if self.plugin.manifest else {})
        if name not in known:
            raise ActionNotFound(
                f"plugin {self.name} has no action {name}", hint=f"it has: {', '.join(sorted(known)) or 'none'}"
            )
        return known[name]

    def lets_in(self, caller: Caller) -> bool:
        """`user_groups` restricts people, not plugins."""
        return bool(caller.is_admin or caller.plugin or caller.groups & self.plugin.row.user_groups)

    @property
    def actions(self) -> dict[str, Action]:
        return self._actions.get(self.plugin.process, {}) if self.plugin.process else {}

    # Its processes.

    def state_changed(self, new: State) -> None:
        if new in AT_REST:
            self.queue.set_accepting(False)
            self.queue.fail_waiting(lambda _: self.offline_error())
        else:
            self.queue.set_accepting(new == State.READY)
        if new is State.STARTING:
            self.caller = caller_for(self.plugin.row)

    def activate_process(self) -> None:
        self.changes += 1
        self.caller = caller_for(self.plugin.row)
        self.queue.remap(lambda call: self.action(call.action).command_id)
        self.queue.set_channels(self._registered(self.plugin.process))

    def when_idle(self, process: Process, done: Callable[[], None]) -> None:
        self._on_idle[process] = done
        self.queue.on_ended = self._notify_idle
        self._notify_idle()

    def process_ended(self, process: Process, why: str) -> None:
        self._on_idle.pop(process, None)
        for connection in [each for each in self.connections if each.process is process]:
            connection.connection.drain()  # it may have answered
            connection.connection.close("its process ended")
        self.queue.fail_in_flight(process, lambda call: self._crash_error(call, why, process))
        self._actions.pop(process, None)
        self.changes += 1

    def _notify_idle(self) -> None:
        if not self._on_idle:
            return
        for process in [each for each in self._on_idle if not self.queue.is_working(each)]:
            self._on_idle.pop(process)()
        if not self._on_idle:
            self.queue.on_ended = None

    def _crash_error(self, call: CallInFlight, why: str, process: Process) -> CallError:
        return PluginCrashed(
            f"plugin {self.name}, action {call.action}: {why or 'its process ended'}{process.stderr_tail()}",
            hint=f"see `reed plugin logs {self.name}`",
        )

    def offline_error(self) -> CallError:
        plugin = self.plugin
        why = f": {plugin.reason}" if plugin.reason else ""
        return PluginOffline(f"plugin {self.name} is {plugin.state}{why}", hint=f"reed plugin start {self.name}")


def caller_for(row: Row) -> Caller:
    """A plugin's permissions come only from its row."""
    permissions = frozenset(str(permission) for permission in row.required_permissions)
    name = row.plugin_name
    return Caller(f"plugin {name}", name, frozenset(), permissions, commands_for(permissions), is_admin=False)
