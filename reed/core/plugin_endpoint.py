"""Links: the core's side of each plugin, from its socket to its calls.

PluginEndpoint, one for each row                             PluginConnection, one for each connection of its processes
listener  <runtime folder>/plugins/NAME.sock       Connection    frames both ways
queue     calls held and waiting (plugin_calls)    held          the one call that it carries
actions   what the active process registered     registered    whether F0 came; before it, nothing else may
                                                   run           the process, by the pid that the kernel tells

state of the plugin (supervision.lifecycle)        its calls
starting, backoff, busy, sleeping               wait
ready                                           go out
stopping                                        what is held is finished, the rest waits for what follows
stopped, failed                                 fail: ERR_PLUGIN_CRASHED (held), ERR_PLUGIN_OFFLINE (waiting)

A replacement beside the active process (supervision.replacement) registers and says READY like any other; then
`use_process` gives it the calls that wait. The old one answers what it holds: no other process answers for it.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import NamedTuple

from reed.config import Config
from reed.core.call_queue import LAST_STATUS, Answered, CallQueue, PluginCall, out_of_range
from reed.core.calls import Call, Caller, Dispatcher, FrameTap
from reed.core.connection import Connection
from reed.core.listener import Listener, Peer, is_peer_alive, refuse
from reed.core.quotas import Quotas
from reed.core.registration import caller_for, registered_actions
from reed.errors import ActionNotFound, CallError, Conflict, Malformed, PermissionDenied, PluginCrashed, PluginOffline
from reed.loop.loop import Loop
from reed.peer_log import PeerLog
from reed.supervision.callbacks import Process
from reed.supervision.launch_spec import Specification
from reed.supervision.lifecycle import State
from reed.supervision.manifest import Action
from reed.supervision.supervisor import Plugin, Supervisor
from reed.wire import frames, strict_json
from reed.wire.codes import Command, Flag, Signal
from reed.wire.common import ErrorResponse, JsonResponse, SignalMessage
from reed.wire.frames import Frame
from reed.wire.plugins import PluginRegister

_TAKES_CALLS = frozenset({State.STARTING, State.READY, State.BUSY, State.SLEEPING, State.BACKOFF, State.STOPPING})
_READY = State.READY
_ERROR = int(Flag.ERROR)
_FIRST_ERROR = 400
_WORTH_NOT_COPYING = 16 * 1024  # bytes of a call: below it one write of a joined frame is cheaper than two parts


class EndpointTools(NamedTuple):
    """What every link works with."""

    loop: Loop
    config: Config
    supervisor: Supervisor
    dispatcher: Dispatcher
    scratch: memoryview
    monitor: FrameTap
    quotas: Quotas
    log: PeerLog


class PluginConnection:
    """One connection of a plugin's process: calls out, and the plugin's own requests and signals in."""

    def __init__(self, link: PluginEndpoint, run: Process, sock: socket.socket, tools: EndpointTools) -> None:
        self.held: PluginCall | None = None
        self.run = run
        self.registered = False
        self._link = link
        self._dispatcher = tools.dispatcher
        self.connection = Connection(
            tools.loop,
            sock,
            caller_for(run.spec.row),
            self,
            tools.config.limits,
            tools.scratch,
            tools.log,
            tools.monitor,
            tools.quotas,
            on_signal=lambda _, frame: link.take_signal(self, frame.payload),
            on_response=self._take_response,
            on_closed=lambda _, reason: link.connection_closed(self, reason),
        )

    # As the dispatcher of its connection: registering comes first.

    def must_defer(self, command_id: int) -> bool:
        return self._dispatcher.must_defer(command_id)

    def answers(self, caller: Caller, data: memoryview, room: int) -> tuple[list[bytes], int]:
        return self._dispatcher.answers(caller, data, room) if self.registered else ([], 0)

    def dispatch(self, call: Call, payload: memoryview) -> None:
        if call.command_id == Command.PLUGIN_REGISTER:
            try:
                self._link.register(self, call, payload)
            except CallError as error:
                call.fail(error)
        elif self.registered:
            self._dispatcher.dispatch(call, payload)
        else:
            call.fail(PermissionDenied("not registered", hint="send PLUGIN_REGISTER (0xF0) first"))

    # As a lane of the queue.

    @property
    def process(self) -> object:
        return self.run

    def send_call(self, call: PluginCall) -> None:
        if len(call.payload) < _WORTH_NOT_COPYING:
            self.connection.send_now(frames.encode(call.command_id, call.payload))
        else:
            self.connection.send(*frames.in_parts(call.command_id, call.payload))

    def _take_response(self, frame: Frame) -> None:
        held = self.held
        if held is None or held.command_id != frame.command_id:
            raise Malformed(f"a response to 0x{frame.command_id:02X}, which was not asked")
        if frame.flags & _ERROR:
            error = ErrorResponse.unpack(frame.payload)
            refusal = CallError(error.message, status=error.status, error_code=error.error_code)
            if not _FIRST_ERROR <= error.status <= LAST_STATUS:
                refusal = out_of_range(self._link.name, held.action, error.status)
            self._link.queue.refuse(self, refusal)
        else:
            self._link.queue.answer(self, frame.payload)


class PluginEndpoint:
    """The core's side of one plugin."""

    def __init__(self, plugin: Plugin, tools: EndpointTools) -> None:
        self.plugin = plugin
        self.name = plugin.row.plugin_name
        self.queue = CallQueue(self.name, tools.loop, self._dispatch_idle)
        self.caller = caller_for(plugin.row)
        self.connections: list[PluginConnection] = []
        self._actions: dict[Process, dict[str, Action]] = {}  # what each process registered
        self._until_idle: dict[Process, Callable[[], None]] = {}
        self._tools = tools
        self._listener: Listener | None = None

    # Its socket.

    def listen(self) -> None:
        if self._listener is None:
            path = self.plugin.row.socket_path
            self._listener = Listener(self._tools.loop, path, self._accept, self._tools.log, self._tools.quotas.rates)

    def close(self) -> None:
        for connection in list(self.connections):
            connection.connection.close("the core closes the plugin's socket")
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _accept(self, sock: socket.socket, peer: Peer) -> None:
        run = self._tools.supervisor.process_of(peer.pid)
        if run is None and self.plugin.is_launching:  # it may connect before its pid is known here
            self._tools.loop.call_soon(lambda: self._accept(sock, peer))
            return
        if refusal := self._tools.quotas.rates.connects(self.caller if run else None, peer.pid, peer.uid):
            refuse(sock, refusal)
        elif run is None or run.name != self.name or not is_peer_alive(sock, peer):
            self._tools.log.warning(
                "%s: refused a connection of pid %d (uid %d): not the plugin's process",
                self.name,
                peer.pid,
                peer.uid,
                peer=f"plugin {run.name}" if run else f"uid {peer.uid}",
            )
            sock.close()
        else:
            connection = PluginConnection(self, run, sock, self._tools)
            self.connections.append(connection)
            if error := connection.connection.share.too_many_connections():
                self._tools.log.warning("%s: refused a connection: %s", self.name, error, peer=self.caller.name)
                connection.connection.close_with(error)

    def connection_closed(self, connection: PluginConnection, reason: str) -> None:
        self.connections.remove(connection)
        self.queue.remove_lane(connection)
        run = connection.run
        if connection.registered and run is self.plugin.process and not self._registered(run):
            self._tools.log.info("%s: disconnected: %s", self.name, reason, peer=self.caller.name)
            self._tools.supervisor.on_disconnect(self.name)
        self._dispatch_idle()

    # Registering and signals.

    def register(self, connection: PluginConnection, call: Call, payload: memoryview) -> None:
        """PLUGIN_REGISTER: who it is, and the actions that it has."""
        request = PluginRegister.unpack(payload)
        run, spec = connection.run, connection.run.spec
        if request.name != self.name:
            raise Conflict(f"this is the socket of {self.name}, not of {request.name}")
        if request.version != spec.row.version:
            raise Conflict(f"{self.name} registered as version {request.version}, its row says {spec.row.version}")
        self._actions[run] = registered_actions(spec.manifest, strict_json.load_object(request.manifest))
        if not connection.registered:
            connection.registered = True
            if run is self.plugin.process:
                self.queue.remap(lambda call: self.action(call.action).command_id)
                self.queue.add_lane(connection)
        sleep = spec.manifest.sleep
        answer = {
            "settings": dict(spec.launch.settings),
            "permissions": sorted(spec.row.required_permissions),
            "limits": {"payload": self._tools.config.limits.payload},
            "peers": [name for name in self._tools.supervisor.plugins if name != self.name],
            "sleep": {"after": sleep.after, "mode": sleep.mode} if sleep else None,
        }
        call.reply(JsonResponse(200, strict_json.dumps(answer)).pack())

    def take_signal(self, connection: PluginConnection, payload: memoryview) -> None:
        message = SignalMessage.unpack(payload)
        if message.plugin_name != self.name:
            raise Malformed(f"a signal of {message.plugin_name!r} on the socket of {self.name}")
        if not connection.registered:
            raise Malformed("a signal before PLUGIN_REGISTER")
        if message.signal_type >= Signal.SHUTDOWN_GRACEFUL or message.signal_type not in set(Signal):
            raise Malformed(f"signal 0x{message.signal_type:02X} is none that a plugin sends")
        self._tools.supervisor.on_signal(connection.run, Signal(message.signal_type), bytes(message.data))

    def send_signal(self, signal: Signal, data: bytes = b"", run: Process | None = None) -> bool:
        """Send it to that process, or to the active one, on its first connection; False when there is none."""
        for connection in self._registered(run or self.plugin.process):
            message = SignalMessage(signal, time.time_ns() // 1000, self.name, data)
            connection.connection.send_now(frames.encode(Command.PLUGIN_SIGNAL, message.pack(), Flag.SIGNAL))
            return True
        return False

    def _registered(self, run: Process | None) -> list[PluginConnection]:
        return [connection for connection in self.connections if connection.registered and connection.run is run]

    # Its calls.

    def ask(
        self,
        action: Action,
        payload: bytes,
        answered: Answered,
        failed: Callable[[CallError], None],
        origin: str = "",
    ) -> None:
        """Call an action (for the plugin `origin`, if any); raises what is known at once (offline, queue full)."""
        if self.plugin.state not in _TAKES_CALLS:
            raise self.offline()
        config = self._tools.config
        timeout = action.timeout or config.timing.call_timeout
        call = PluginCall(action.name, action.command_id, payload, timeout, answered, failed, origin)
        self.queue.ask(call, _queue_limit(self.plugin.spec, config))
        if self.plugin.state is not _READY:
            self._tools.supervisor.wake(self.name)

    def action(self, name: str) -> Action:
        """The action of that name, from what the process registered or, before it did, from plugin.yaml."""
        known = self.actions or (self.plugin.manifest.actions if self.plugin.manifest else {})
        if name not in known:
            raise ActionNotFound(
                f"plugin {self.name} has no action {name}", hint=f"it has: {', '.join(sorted(known)) or 'none'}"
            )
        return known[name]

    @property
    def actions(self) -> dict[str, Action]:
        """What the active process has registered."""
        return self._actions.get(self.plugin.process, {}) if self.plugin.process else {}

    # Its processes.

    def state_changed(self, new: State) -> None:
        if new in {State.STOPPED, State.FAILED}:
            self.queue.set_accepting(False)
            self.queue.fail_waiting(lambda _: self.offline())
        else:
            self.queue.set_accepting(new == State.READY)
        if new is State.STARTING:
            self.caller = caller_for(self.plugin.row)

    def use_process(self) -> None:
        """Another process is active now."""
        self.caller = caller_for(self.plugin.row)
        self.queue.remap(lambda call: self.action(call.action).command_id)
        self.queue.use([*self._registered(self.plugin.process)])

    def when_idle(self, run: Process, done: Callable[[], None]) -> None:
        """Call back when that process holds no call any more."""
        self._until_idle[run] = done
        self._dispatch_idle()

    def gone(self, run: Process, why: str) -> None:
        """That process has ended, or is not heard any more."""
        self._until_idle.pop(run, None)
        for connection in [each for each in self.connections if each.run is run]:
            connection.connection.drain()  # an answer that it gave before it ended
            connection.connection.close("its process ended")
        self.queue.fail_in_flight(run, lambda call: self._crashed(call, why, run))
        self._actions.pop(run, None)

    def _dispatch_idle(self) -> None:
        if not self._until_idle:
            return
        for run in [run for run in self._until_idle if not self.queue.is_working(run)]:
            self._until_idle.pop(run)()

    def _crashed(self, call: PluginCall, why: str, run: Process) -> CallError:
        return PluginCrashed(
            f"plugin {self.name}, action {call.action}: {why or 'its process ended'}{run.stderr_tail()}",
            hint=f"see `reed plugin logs {self.name}`",
        )

    def offline(self) -> CallError:
        plugin = self.plugin
        why = f": {plugin.reason}" if plugin.reason else ""
        return PluginOffline(f"plugin {self.name} is {plugin.state}{why}", hint=f"reed plugin start {self.name}")


def _queue_limit(spec: Specification | None, config: Config) -> int:
    """How many calls may wait for it: its own limit, or the core's."""
    own = spec.launch.limits.calls if spec else None
    return config.limits.queued_calls if own is None else own
