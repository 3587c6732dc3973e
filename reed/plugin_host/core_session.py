"""The plugin's session with the core: registration, status, requests, and reconnecting when the core dies.

Calls in flight die with the core. Without a core, signals are dropped and commands fail.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Sequence

from reed.errors import CallError, Malformed, PluginOffline
from reed.plugin_host.core_connection import CoreConnection, CoreGone, connected_socket
from reed.plugin_host.launch_spec import HostedSpec
from reed.plugin_host.messaging import Messaging
from reed.wire import frames, strict_json
from reed.wire.codes import Command, Flag, Signal
from reed.wire.common import JsonResponse
from reed.wire.plugins import PluginRegister
from reed.wire.requests import SignalMessage
from reed.wire.structs import Bytes

RECONNECT_TIMEOUT = 10.0  # seconds (plugin-lifecycle.md#adoption)
_MIN_PAUSE = 0.005  # between two attempts; it doubles up to
_MAX_PAUSE = 0.5
_CHUNK = 32768
_STATUSES = frozenset({Signal.PLUGIN_READY, Signal.PLUGIN_BUSY, Signal.PLUGIN_SLEEPING})


class CoreSession:
    connection: CoreConnection | None = None
    spec: HostedSpec
    manifest: bytes
    messaging: Messaging

    def __init__(self, set_settings: Callable[[bytes], None]) -> None:
        self._set_settings = set_settings
        self._chunk = memoryview(bytearray(_CHUNK))  # a plugin pays only for the pages that it fills
        self.status = Signal.PLUGIN_READY  # the one sent last
        self.sleep: tuple[float, bool] | None = None  # after idle seconds; whether deeply
        self._lost_at: float | None = None
        self._pause = _MIN_PAUSE
        self._next_try = 0.0

    # Registration

    def attach(self, connected: socket.socket) -> None:
        """Registers, sends READY and opens the FIFOs. Raises CallError, CoreGone.

        READY is sent with the registration. The core's response comes before any call, so the plugin has its settings
        by then.
        """
        status, self.connection = self.status, CoreConnection(connected, self._chunk)
        self.status = Signal.PLUGIN_READY
        peers = self.register(self.connection, then=self._signal(Signal.PLUGIN_READY))
        if status == Signal.PLUGIN_BUSY:
            self.send_signal(status)
        self.messaging.refresh(peers)
        self._lost_at = None

    def register(self, connection: CoreConnection, then: bytes = b"") -> list[str]:
        """`then`: a signal's frame, sent with it. Returns the names of the other plugins."""
        spec = self.spec
        self.messaging.mark_checked()
        request = PluginRegister(spec.name, spec.version, os.getpid(), self.manifest)
        response = connection.request(Command.PLUGIN_REGISTER, request.pack(), self.answer_health_check, then=then)
        answer = strict_json.load_object(JsonResponse.unpack(response).json)
        self.apply_settings(answer.get("settings"))
        sleep = answer.get("sleep")
        self.sleep = (float(sleep["after"]), sleep.get("mode") == "deep") if sleep else None
        return list(answer.get("peers") or ())

    def apply_settings(self, settings: object) -> None:
        if isinstance(settings, dict):
            self._set_settings(strict_json.dumps(settings))

    def refresh(self, connection: CoreConnection) -> None:
        """Opens new FIFOs. Only the core knows the plugins, so this registers again."""
        if self.messaging.has_changed():
            self.messaging.refresh(self.register(connection))

    # Reconnecting

    def reconnect(self, connect: Callable[[int], None], now: float) -> float:
        """Tries once, if it is time to. Returns the seconds until the next attempt, or 0.0 when attached again.

        Raises CallError if the core rejected the registration, CoreGone after RECONNECT_TIMEOUT.
        """
        if self._lost_at is None:
            self._lost_at, self._next_try, self._pause = now, now, _MIN_PAUSE
        if now < self._next_try:
            return self._next_try - now
        with contextlib.suppress(OSError, CoreGone):
            self.attach(connected_socket(connect))
            return 0.0
        if self.connection is not None:
            self.connection.close()
        if now - self._lost_at >= RECONNECT_TIMEOUT:
            raise CoreGone
        pause, self._pause = self._pause, min(self._pause * 2, _MAX_PAUSE)
        self._next_try = now + pause
        return pause

    # For the plugin

    def _require_connection(self) -> CoreConnection:
        if self.connection is None:
            raise CallError(
                "no connection to the core yet: call it from plugin.on_start(fn) or from a handler, not while"
                f" {self.spec.entry} loads",
                status=503,
            )
        return self.connection

    def request(self, command: int, payload: bytes) -> Bytes:
        connection = self._require_connection()
        try:
            return connection.request(command, payload, self.answer_health_check)
        except CoreGone:
            connection.close()
            raise PluginOffline("connection to the core lost", hint="the plugin is reconnecting; retry") from None

    def request_all(self, requests: Sequence[tuple[int, bytes]]) -> list[bytes | CallError]:
        """Sends them in one go; the response or the error of each. Raises CallError: there is no core."""
        connection = self._require_connection()
        answers: list[bytes | CallError] = []
        try:
            for answer in connection.request_all(requests, self.answer_health_check):
                answers.append(answer)
        except CoreGone:
            connection.close()
            raise PluginOffline(
                f"connection to the core lost after {len(answers)} of {len(requests)} answers",
                hint="the other writes may have been carried out; the plugin is reconnecting",
            ) from None
        return answers

    def answer_health_check(self, frame: frames.Frame) -> bool:
        """Also during a job, so that waiting is not taken for a hang."""
        if self.connection is None or not frame.flags & Flag.SIGNAL or frame.payload[0] != Signal.HEALTH_CHECK:
            return False
        self.send_signal(self.status)
        return True

    def signal_service(self, arguments: bytes) -> None:
        """`arguments` is the JSON [type, data]."""
        signal_type, data = strict_json.loads(arguments)
        try:
            known = Signal(signal_type)
        except ValueError:
            raise Malformed(f"unknown signal {signal_type!r}", hint="see reed.signals") from None
        if known >= Signal.SHUTDOWN_GRACEFUL:
            raise CallError(f"{known.name} can only be sent by the core", status=403)
        self.send_signal(known, str(data).encode())

    def send_signal(self, signal_type: Signal, data: bytes = b"") -> None:
        if self.connection is None:
            raise CallError(
                f"no connection to the core yet: signals cannot be sent while {self.spec.entry} loads", status=503
            )
        if signal_type in _STATUSES:
            self.status = signal_type
        with contextlib.suppress(CoreGone):
            self.connection.send(self._signal(signal_type, data))

    def _signal(self, signal_type: Signal, data: bytes = b"") -> bytes:
        message = SignalMessage(signal_type, time.time_ns() // 1000, self.spec.name, data)
        return frames.encode(Command.PLUGIN_SIGNAL, message.pack(), Flag.SIGNAL)
