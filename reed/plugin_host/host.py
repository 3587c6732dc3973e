"""The process of a plugin in Lua or Python, from its entry point to its exit (protocol.md#plugin-connections).

    load main ── register ── READY ── on_start ── serve ── SHUTDOWN_GRACEFUL ── exit 0
                                               ^        │ idle for `sleep.after`
                                               └────────┴── on_sleep ── SLEEPING ── deep: exit 0

If the core dies, the plugin reconnects and serves messages meanwhile. The process exits on an error in main or
on_start, without a new core, if the plugin keeps its memory nearly full, and by SIGPROF.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable
from typing import NoReturn

from reed.errors import CallError
from reed.plugin_host.batch import Batch
from reed.plugin_host.core_connection import CoreConnection, CoreGone, connected_socket
from reed.plugin_host.core_session import RECONNECT_TIMEOUT, CoreSession
from reed.plugin_host.dispatcher import HandlerDispatcher, explain, log, log_error
from reed.plugin_host.fifo import CHUNK, FifoPaths
from reed.plugin_host.files import Folder, data_files, read_source
from reed.plugin_host.launch_spec import HostedSpec
from reed.plugin_host.messaging import Messaging
from reed.plugin_host.poller import Poller
from reed.plugin_host.runtime import Runtime, Service
from reed.plugin_host.services import CoreServices
from reed.wire import frames, strict_json
from reed.wire.codes import Command, Flag, Signal
from reed.wire.common import JsonResponse
from reed.wire.requests import SignalMessage
from reed.wire.structs import FLAGS_AT

_RECHECK_INTERVAL = 0.1  # when it is time to sleep and a message is partly read
_FLUSH_TIMEOUT = 1.0
_ASYNC, _SIGNAL, _RESPONSE, _ERROR = int(Flag.ASYNC), int(Flag.SIGNAL), int(Flag.RESPONSE), int(Flag.ERROR)
_HEALTH = int(Command.PLUGIN_HEALTH)
_READY = int(Signal.PLUGIN_READY)


class Host:
    """Made in the zygote, and run in a fork of it."""

    _spec: HostedSpec
    _folder: Folder

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._session = CoreSession(runtime.set_settings)
        self._chunk = memoryview(bytearray(CHUNK))
        self._idle_since = 0.0
        self._started = 0.0
        self._dispatcher = HandlerDispatcher(runtime, self._session.send_signal, self._exit_with)
        services = CoreServices(self._session.request)
        self._batch = Batch(services, self._session.request_all)
        self._services: dict[bytes, Service] = {  # everything that Lua can call
            **services.table(),
            **self._batch.table(),
            b"log": log,
            b"signal": self._session.signal_service,
            b"source": lambda path: read_source(self._folder, os.fsdecode(path)),
        }

    def run(self, spec: HostedSpec, connect: Callable[[int], None]) -> NoReturn:
        """`connect(fd)` connects a Unix socket to the plugin's own."""
        self.load(spec)
        try:
            self.register(connected_socket(connect))
            self._run_on_start()
            while True:
                with contextlib.suppress(CoreGone):
                    while True:
                        self.turn()
                self._reconnect(connect)
        except CoreGone:
            self._exit_with("the core closed the connection before the registration was answered")
        except CallError as error:
            self._exit_with(f"the core rejected the registration: {error}")
        except (FileNotFoundError, ConnectionRefusedError):
            self._exit_with(f"no core listens on {spec.socket_path}")

    def close(self) -> None:
        self._folder.close()
        self._messaging.close()

    # Starting

    def load(self, spec: HostedSpec, paths: FifoPaths | None = None) -> None:
        self._spec = self._dispatcher.spec = self._session.spec = spec
        self._started = time.monotonic()
        self._folder = Folder(spec.folder)
        paths = paths or FifoPaths(spec.runtime_dir, spec.name)
        self._messaging = Messaging(paths, self._wait_in_job, log, self._chunk)
        self._session.messaging = self._messaging
        self._batch.max_bytes = spec.memory
        self._services.update({b"message": self._messaging.send, b"message.request": self._messaging.request})
        if spec.data_dir is not None:
            self._services.update(data_files(spec.data_dir))
        self._runtime.start(self._services, memory=spec.memory, spec=spec.for_sdk)
        try:
            source = read_source(self._folder, spec.entry)
        except CallError as error:
            self._exit_with(str(error))
        self._dispatcher.arm_timer()
        outcome = self._runtime.load(spec.entry, source)
        if outcome.kind not in ("run", "done"):
            self._exit_with(explain(self._spec, outcome), outcome.text(1) if outcome.kind == "error" else "")
        self._session.manifest = self._runtime.manifest()
        actions = json.loads(self._session.manifest)["actions"]
        self._dispatcher.names = {action["command_id"]: name for name, action in actions.items()}
        missing = sorted(spec.actions.keys() - actions.keys())
        if missing:
            self._exit_with(f"{spec.entry} sets no handler for {', '.join(missing)}, declared in plugin.yaml")

    def register(self, connected: socket.socket) -> None:
        self._session.attach(connected)
        self._start_polling()

    def _run_on_start(self) -> None:
        """A plugin whose on_start fails ends: the core starts it again, later each time."""
        self._dispatcher.arm_timer()
        outcome = self._runtime.start_up()
        if outcome.kind != "done":
            self._exit_with(
                f"on_start: {explain(self._spec, outcome)}", outcome.text(1) if outcome.kind == "error" else ""
            )
        self._idle_since = time.monotonic()

    def _reconnect(self, connect: Callable[[int], None]) -> None:
        """Handles messages between the attempts."""
        log(b"warn", f"connection to the core lost; reconnecting for up to {RECONNECT_TIMEOUT:g} s".encode())
        self._connection.close()
        try:
            while pause := self._session.reconnect(connect, time.monotonic()):
                if not self._handle_message():
                    self._poller.wait(pause)
        except CoreGone:
            self._exit_with(f"no core within {RECONNECT_TIMEOUT:g} s")
        self._start_polling()

    def _start_polling(self) -> None:
        self._poller = Poller(self._connection, self._messaging, self._session.answer_health_check, self._dispatcher)
        self._idle_since = time.monotonic()

    @property
    def _connection(self) -> CoreConnection:
        assert self._session.connection is not None
        return self._session.connection

    # Serving

    def turn(self, *, once: bool = False) -> None:
        """One frame or one message, or lone calls as long as nothing else comes (`once`: one of them); else sleeps or
        waits. Raises CoreGone."""
        connection = self._connection
        if (frame := connection.ready_frame()) is not None:
            self._handle_frame(connection, frame)
        elif self._handle_message():
            pass
        elif (left := self._until_sleep()) is not None and left <= 0:
            self._go_to_sleep(connection)
        elif self._is_quiet(connection):
            self._serve_calls(connection, left, once=once)
        else:
            self._poller.wait(left)

    def _serve_calls(self, connection: CoreConnection, left: float | None, *, once: bool) -> None:
        """Serves calls that come one by one while nothing else happens: the same as turns, for less.

        `left`: seconds until the plugin sleeps. Whatever else comes is left to the next turn. Raises CoreGone.
        """
        while self._poller.is_core_alone(left) and (call := connection.receive_call()) is not None:
            command_id, payload = call
            response = self._dispatcher.handle_call(command_id, payload)
            connection.send(response)
            if response[FLAGS_AT] & _ERROR:
                self._dispatcher.check_memory()
            if (sleep := self._session.sleep) is not None:
                self._idle_since, left = time.monotonic(), sleep[0]
            if once or not self._is_quiet(connection):
                break

    def _is_quiet(self, connection: CoreConnection) -> bool:
        """Whether the plugin is ready, and nothing waits to be handled, written or polled again."""
        messaging, poller = self._messaging, self._poller
        if connection.unread or connection.deferred or poller.paused:
            return False
        if messaging.inbox or (messaging.outbounds and messaging.has_unsent()):
            return False
        return self._session.status == _READY and poller.generation == messaging.generation

    def _handle_message(self) -> bool:
        message = self._messaging.next_message()
        if message is None:
            return False
        self._wake()
        self._dispatcher.handle_message(message, self._messaging)
        self._idle_since = time.monotonic()
        return True

    def _handle_frame(self, connection: CoreConnection, frame: frames.Frame) -> None:
        if frame.flags & _SIGNAL:
            self._handle_signal(connection, SignalMessage.unpack(frame.payload))
        elif frame.flags & _RESPONSE:
            log(b"error", b"the core sent a response without a request")
        elif frame.command_id == _HEALTH:
            metrics = JsonResponse(200, strict_json.dumps(self._metrics())).pack()
            connection.send(frames.encode(frame.command_id, metrics, Flag.RESPONSE))
        else:
            self._wake()
            self._handle_call(connection, frame)
            self._idle_since = time.monotonic()

    def _handle_call(self, connection: CoreConnection, frame: frames.Frame) -> None:
        response = self._dispatcher.handle_call(frame.command_id, bytes(frame.payload))
        if not frame.flags & _ASYNC:
            connection.send(response)
        if response[FLAGS_AT] & _ERROR:
            self._dispatcher.check_memory()

    def _handle_signal(self, connection: CoreConnection, message: SignalMessage) -> None:
        data, kind = bytes(message.data), message.signal_type
        if kind == Signal.RELOAD_CONFIG and data:
            self._reload(data)
        if kind in (Signal.RELOAD_CONFIG, Signal.WAKE_UP) or (
            kind == Signal.HEALTH_CHECK and self._messaging.has_changed()
        ):
            self._session.refresh(connection)
        self._dispatcher.arm_timer()
        outcome = self._runtime.signal(kind, data)
        if outcome.kind != "done":
            log_error(f"{self._spec.name}.on_signal: {explain(self._spec, outcome)}", outcome.text(1))
        if kind == Signal.SHUTDOWN_GRACEFUL:
            self._shut_down()
        if kind == Signal.HEALTH_CHECK:
            self._session.send_signal(self._session.status)
        elif kind in (Signal.RELOAD_CONFIG, Signal.WAKE_UP):
            is_busy = self._session.status == Signal.PLUGIN_BUSY
            self._session.send_signal(Signal.PLUGIN_BUSY if is_busy else Signal.PLUGIN_READY)
            self._idle_since = time.monotonic()

    def _reload(self, data: bytes) -> None:
        try:
            self._session.apply_settings(strict_json.loads(data))
        except CallError as error:
            log(b"error", f"RELOAD_CONFIG with malformed settings: {error}".encode())

    def _metrics(self) -> dict[str, object]:
        return {
            **self._dispatcher.metrics(),
            **self._messaging.metrics(),
            "memory_bytes": self._runtime.memory_used(),
            "uptime_s": round(time.monotonic() - self._started, 3),
            **self._runtime.about,
        }

    def _wait_in_job(self, seconds: float) -> None:
        if self._session.connection is None:
            raise CallError(
                f"no connection to the core yet: requests cannot be made while {self._spec.entry} loads", status=503
            )
        self._poller.wait_in_job(seconds)

    # Sleep

    def _until_sleep(self) -> float | None:
        """None if the plugin does not sleep, is asleep or busy."""
        if self._session.sleep is None or self._session.status != Signal.PLUGIN_READY:
            return None
        left = self._idle_since + self._session.sleep[0] - time.monotonic()
        if left <= 0 and not self._messaging.is_idle():
            return _RECHECK_INTERVAL
        return max(left, 0.0)

    def _go_to_sleep(self, connection: CoreConnection) -> None:
        """In deep sleep the process exits, unless the core sent something before it received SLEEPING.

        The core answers in order: once it has answered this registration, everything that it sent before has arrived.
        """
        self._dispatcher.arm_timer()
        outcome = self._runtime.sleep()
        if outcome.kind != "done":
            log_error(f"{self._spec.name}.on_sleep: {explain(self._spec, outcome)}", outcome.text(1))
        self._session.send_signal(Signal.PLUGIN_SLEEPING)
        self._runtime.collect()
        if self._session.sleep is None or not self._session.sleep[1]:
            return
        self._session.register(connection)
        connection.defer_frames(self._session.answer_health_check)
        if not connection.deferred and self._messaging.is_idle():
            self._shut_down()

    def _wake(self) -> None:
        if self._session.status == Signal.PLUGIN_SLEEPING:
            self._session.send_signal(Signal.PLUGIN_READY)

    # Exiting

    def _shut_down(self) -> NoReturn:
        """Handles the messages that were read, as no other process can."""
        self._messaging.drain()
        while (message := self._messaging.next_message()) is not None:
            self._dispatcher.handle_message(message, self._messaging)
        self._dispatcher.arm_timer()
        outcome = self._runtime.finish()
        if outcome.kind not in ("done", "run"):
            log_error(f"{self._spec.name}: {explain(self._spec, outcome)}", outcome.text(1))
        self._poller.flush_within(_FLUSH_TIMEOUT)
        self._connection.close()
        os._exit(0)

    def _exit_with(self, reason: str, stack: str = "") -> NoReturn:
        log_error(f"{self._spec.name}: {reason}", stack)
        os._exit(1)
