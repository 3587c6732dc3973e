"""A plugin's contact with the core: how it registers, what it says of itself, and how it finds the next core.

    meet ── registered, READY ── the core is gone ── seek, again after 5, 10, … 500 ms ─┬─ registered, READY
                                                                                       ├─ refused: CallError
                                                                                       └─ 10 s in vain: CoreGone

A core that died takes its calls with it. What the plugin has of its own stays: its handlers, its state, its messages.
While there is no core, a signal is dropped, and a command fails with a reason.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable

from reed.errors import CallError, Malformed, PluginOffline
from reed.lua.core_connection import CoreConnection, CoreGone
from reed.lua.launch_spec import LuaLaunchSpec
from reed.lua.messaging import Messaging
from reed.wire import frames, strict_json
from reed.wire.codes import Command, Flag, Signal
from reed.wire.common import JsonResponse, SignalMessage
from reed.wire.plugins import PluginRegister
from reed.wire.structs import Bytes

PATIENCE = 10.0  # seconds that a core is looked for (plugin-lifecycle.md#adoption)
_FIRST_PAUSE = 0.005  # seconds; each further one is twice as long
_LONGEST_PAUSE = 0.5
_MOODS = frozenset({Signal.PLUGIN_READY, Signal.PLUGIN_BUSY, Signal.PLUGIN_SLEEPING})


class CoreSession:
    """One plugin's; `connect` leads a Unix socket to the plugin's own, and is given when the plugin runs."""

    link: CoreConnection | None = None
    spec: LuaLaunchSpec
    manifest: bytes  # what main.lua has set handlers for
    mailbox: Messaging

    def __init__(self, set_settings: Callable[[bytes], None]) -> None:
        self._set_settings = set_settings
        self.status = Signal.PLUGIN_READY  # what it last said of itself
        self.sleep: tuple[float, bool] | None = None  # after so many seconds; deep
        self._lost_at: float | None = None
        self._pause = _FIRST_PAUSE
        self._next_try = 0.0

    # Registering ------------------------------------------------------------------------------------------------------

    def meet(self, link: CoreConnection) -> None:
        """Tells the core what there is, says READY, and opens the FIFOs to this plugin. Raises CallError, CoreGone."""
        status, self.link = self.status, link
        peers = self.introduce(link)
        self.send_signal(Signal.PLUGIN_READY)
        if status == Signal.PLUGIN_BUSY:
            self.send_signal(status)
        self.mailbox.look(peers)
        self._lost_at = None

    def introduce(self, link: CoreConnection) -> list[str]:
        """Registers, and takes what the core says: settings, when to sleep. Gives the other plugins."""
        spec = self.spec
        self.mailbox.begin_look()
        request = PluginRegister(spec.name, spec.version, os.getpid(), self.manifest)
        answer = JsonResponse.unpack(link.request(Command.PLUGIN_REGISTER, request.pack(), self.alive))
        said = strict_json.load_object(answer.json)
        self.take_settings(said.get("settings"))
        sleep = said.get("sleep")
        self.sleep = (float(sleep["after"]), sleep.get("mode") == "deep") if sleep else None
        return list(said.get("peers") or ())

    def take_settings(self, settings: object) -> None:
        """What is no object changes nothing."""
        if isinstance(settings, dict):
            self._set_settings(strict_json.dumps(settings))

    def look(self, link: CoreConnection) -> None:
        """Opens new FIFOs. Which plugins there are is known to the core alone."""
        if self.mailbox.has_changed():
            self.mailbox.look(self.introduce(link))

    # The next core ----------------------------------------------------------------------------------------------------

    def seek(self, connect: Callable[[int], None], now: float) -> float:
        """Tries once to meet a core, when it is time to; seconds until it is, and 0.0 when there is one again.

        Raises CallError: the core refused; CoreGone: it was looked for long enough.
        """
        if self._lost_at is None:
            self._lost_at, self._next_try, self._pause = now, now, _FIRST_PAUSE
        if now < self._next_try:
            return self._next_try - now
        with contextlib.suppress(OSError, CoreGone):
            self.meet(CoreConnection.by(connect))
            return 0.0
        if self.link is not None:
            self.link.close()
        if now - self._lost_at >= PATIENCE:
            raise CoreGone
        pause, self._pause = self._pause, min(self._pause * 2, _LONGEST_PAUSE)
        self._next_try = now + pause
        return pause

    # In a job ---------------------------------------------------------------------------------------------------------

    def request(self, command: int, payload: bytes) -> Bytes:
        """A command of the plugin to the core."""
        if self.link is None:
            raise CallError("the core is reached from handlers and after run(), not while main.lua loads", status=503)
        try:
            return self.link.request(command, payload, self.alive)
        except CoreGone:
            self.link.close()
            hint = "the plugin looks for the next core; ask again"
            raise PluginOffline("the core is gone", hint=hint) from None

    def alive(self, frame: frames.Frame) -> bool:
        """A health check is answered while Lua waits for the core: a long job is no hang."""
        if self.link is None or not frame.flags & Flag.SIGNAL or frame.payload[0] != Signal.HEALTH_CHECK:
            return False
        self.send_signal(self.status)
        return True

    def signal_of_lua(self, arguments: bytes) -> None:
        signal_type, data = strict_json.loads(arguments)
        try:
            known = Signal(signal_type)
        except ValueError:
            raise Malformed(f"no signal {signal_type!r}", hint="see reed.signals") from None
        if known >= Signal.SHUTDOWN_GRACEFUL:
            raise CallError(f"{known.name} is sent by the core alone", status=403)
        self.send_signal(known, str(data).encode())

    def send_signal(self, signal_type: Signal, data: bytes = b"") -> None:
        """A core that is gone is not told; the next turn finds that out by itself."""
        if self.link is None:
            raise CallError("no signal can be sent while main.lua loads", status=503)
        if signal_type in _MOODS:
            self.status = signal_type
        message = SignalMessage(signal_type, time.time_ns() // 1000, self.spec.name, data)
        with contextlib.suppress(CoreGone):
            self.link.send(frames.encode(Command.PLUGIN_SIGNAL, message.pack(), Flag.SIGNAL))
