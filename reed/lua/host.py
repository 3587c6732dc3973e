"""A Lua plugin's process, from main.lua to its end (protocol.md#plugin-connections).

    load main.lua ── connect ── register (F0) ── READY ── serve: calls, signals, messages ── SHUTDOWN_GRACEFUL ── exit 0
                                                   ^                    │ nothing to do for so long
                                                   └ a call, a message, └── on_sleep ── SLEEPING ── deep: exit 0
                                                     WAKE_UP

A core that dies is waited for (contact.py); messages of other plugins are served meanwhile. What a handler does wrong
is that call's answer, and the plugin lives. What ends the process: an error in main.lua, no new core, memory that a
plugin does not give back, and a library call that burns more than its processor time (SIGPROF: no hook reaches into C).
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from typing import NoReturn

from reed.errors import CallError
from reed.lua import log
from reed.lua.core_connection import CoreConnection, CoreGone
from reed.lua.core_session import PATIENCE, CoreSession
from reed.lua.dispatcher import Dispatcher
from reed.lua.fifo import FifoPaths
from reed.lua.files import Folder, data_files, read_source
from reed.lua.launch_spec import LuaLaunchSpec
from reed.lua.messaging import Messaging
from reed.lua.poller import Poller
from reed.lua.sandbox import Sandbox, Service
from reed.lua.services import CoreServices
from reed.wire import frames, strict_json
from reed.wire.codes import Command, Flag, Signal
from reed.wire.common import JsonResponse, SignalMessage

_LOOK_AGAIN = 0.1  # seconds, when it would sleep and a message is half read
_LAST_FLUSH = 1.0  # seconds that the end waits for full pipes
_ASYNC, _SIGNAL, _RESPONSE, _ERROR = int(Flag.ASYNC), int(Flag.SIGNAL), int(Flag.RESPONSE), int(Flag.ERROR)
_HEALTH = int(Command.PLUGIN_HEALTH)


class Host:
    """One plugin, served until it ends. It is made in the zygote, and runs in a fork of it."""

    _spec: LuaLaunchSpec
    _folder: Folder

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._contact = CoreSession(sandbox.set_settings)
        self._idle_since = 0.0
        self._started = 0.0
        self._handlers = Dispatcher(sandbox, self._contact.send_signal, self._end)
        self._services: dict[bytes, Service] = {  # everything that Lua may ask for
            **CoreServices(self._contact.request).table(),
            b"log": log.log,
            b"signal": self._contact.signal_of_lua,
            b"source": lambda path: read_source(self._folder, os.fsdecode(path)),
        }

    def run(self, spec: LuaLaunchSpec, connect: Callable[[int], None]) -> NoReturn:
        """Loads, registers and serves; ends the process. `connect` leads a Unix socket to the plugin's own."""
        self.load(spec)
        try:
            self.register(CoreConnection.by(connect))
            while True:
                self._serve_core()
                self._find_core(connect)
        except CoreGone:
            self._end("the core closed the connection, and answered no registration")
        except CallError as error:
            self._end(f"the connection to the core: {error}")
        except (FileNotFoundError, ConnectionRefusedError):
            self._end(f"no core listens on {spec.socket_path}")

    def close(self) -> None:
        """Gives back what `load` opened."""
        self._folder.close()
        self._mailbox.close()

    # Starting ---------------------------------------------------------------------------------------------------------

    def load(self, spec: LuaLaunchSpec, places: FifoPaths | None = None) -> None:
        """Runs main.lua; `places` are those of the spec, but in a warm-up."""
        self._spec = self._handlers.spec = self._contact.spec = spec
        self._started = time.monotonic()
        self._folder = Folder(spec.folder)
        self._mailbox = Messaging(places or FifoPaths(spec.runtime_dir, spec.name), self._meanwhile, log.log)
        self._contact.mailbox = self._mailbox
        self._services.update({b"message": self._mailbox.send, b"message.request": self._mailbox.request})
        if spec.data_dir is not None:
            self._services.update(data_files(spec.data_dir))
        self._sandbox.start(self._services, memory=spec.memory, prepared=spec.prepared)
        try:
            source = read_source(self._folder, spec.entry)
        except CallError as error:
            self._end(str(error))
        self._handlers.arm()
        outcome = self._sandbox.load(spec.entry, source)
        if outcome.kind not in ("run", "done"):
            self._end(log.explain(self._spec, outcome), outcome.text(1) if outcome.kind == "error" else "")
        self._contact.manifest = self._sandbox.manifest()
        actions = json.loads(self._contact.manifest)["actions"]
        self._handlers.names = {action["command_id"]: name for name, action in actions.items()}
        missing = sorted(spec.actions.keys() - actions.keys())
        if missing:
            self._end(f"{spec.entry} sets no handler for {', '.join(missing)}, which plugin.yaml names")

    def register(self, link: CoreConnection) -> None:
        """Makes the core know this plugin, which is served from now on."""
        self._contact.meet(link)
        self._turns = Poller(link, self._mailbox, self._contact.alive, self._handlers)
        self._idle_since = time.monotonic()

    def _serve_core(self) -> None:
        """Until it died or closed the connection."""
        with contextlib.suppress(CoreGone):
            while True:
                self.turn()

    def _find_core(self, connect: Callable[[int], None]) -> None:
        """Tries to meet a core, and serves messages in the pauses; ends the process when there is none for too long."""
        log.log(b"warn", f"the core is gone; looking for it for {PATIENCE:g} s".encode())
        self._link.close()
        try:
            while pause := self._contact.seek(connect, time.monotonic()):
                if not self._handle_message():
                    self._turns.wait(pause)
        except CoreGone:
            self._end(f"no core came back within {PATIENCE:g} s")
        self._turns = Poller(self._link, self._mailbox, self._contact.alive, self._handlers)
        self._idle_since = time.monotonic()

    @property
    def _link(self) -> CoreConnection:
        assert self._contact.link is not None
        return self._contact.link

    # Serving ----------------------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """One thing that is to be done, or waiting for one. Raises CoreGone."""
        link = self._link
        if (frame := link.ready_frame()) is not None:
            self.serve(link, frame)
        elif self._handle_message():
            pass
        elif (left := self._until_sleep()) is not None and left <= 0:
            self._fall_asleep(link)
        else:
            self._turns.wait(left)

    def _handle_message(self) -> bool:
        """Gives the plugin the next message of another one; False when there is none."""
        message = self._mailbox.next_message()
        if message is None:
            return False
        self._wake()
        self._handlers.take(message, self._mailbox)
        self._idle_since = time.monotonic()
        return True

    def serve(self, link: CoreConnection, frame: frames.Frame) -> None:
        """One frame of the core."""
        if frame.flags & _SIGNAL:
            self._on_signal(link, SignalMessage.unpack(frame.payload))
        elif frame.flags & _RESPONSE:
            log.log(b"error", b"a response of the core to nothing that was asked")
        elif frame.command_id == _HEALTH:
            figures = JsonResponse(200, strict_json.dumps(self._figures())).pack()
            link.send(frames.encode(frame.command_id, figures, Flag.RESPONSE))
        else:
            self._wake()
            self._on_call(link, frame)
            self._idle_since = time.monotonic()

    def _on_call(self, link: CoreConnection, frame: frames.Frame) -> None:
        flags, body = self._handlers.answer(frame.command_id, bytes(frame.payload))
        if not frame.flags & _ASYNC:
            link.send(frames.encode(frame.command_id, body, flags))
        if flags & _ERROR:
            self._handlers.recover()

    def _on_signal(self, link: CoreConnection, message: SignalMessage) -> None:
        data, kind = bytes(message.data), message.signal_type
        if kind == Signal.RELOAD_CONFIG and data:
            self._reload(data)
        if kind in (Signal.RELOAD_CONFIG, Signal.WAKE_UP) or (
            kind == Signal.HEALTH_CHECK and self._mailbox.has_changed()
        ):
            self._contact.look(link)
        self._handlers.arm()
        outcome = self._sandbox.signal(kind, data)
        if outcome.kind != "done":
            log.log_error(f"{self._spec.name}.on_signal: {log.explain(self._spec, outcome)}", outcome.text(1))
        if kind == Signal.SHUTDOWN_GRACEFUL:
            self._shut_down()
        if kind == Signal.HEALTH_CHECK:
            self._contact.send_signal(self._contact.status)
        elif kind in (Signal.RELOAD_CONFIG, Signal.WAKE_UP):
            is_busy = self._contact.status == Signal.PLUGIN_BUSY
            self._contact.send_signal(Signal.PLUGIN_BUSY if is_busy else Signal.PLUGIN_READY)
            self._idle_since = time.monotonic()

    def _reload(self, data: bytes) -> None:
        """New settings came with the signal; what is no JSON changes nothing."""
        try:
            self._contact.take_settings(strict_json.loads(data))
        except CallError as error:
            log.log(b"error", f"the new settings: {error}".encode())

    def _figures(self) -> dict[str, object]:
        return {
            **self._handlers.figures(),
            **self._mailbox.figures(),
            "memory_bytes": self._sandbox.memory_used(),
            "uptime_s": round(time.monotonic() - self._started, 3),
            "lua": self._spec.lua,
        }

    def _meanwhile(self, seconds: float) -> None:
        """Waits inside a job that waits for another plugin."""
        if self._contact.link is None:
            raise CallError("no answer can be waited for while main.lua loads", status=503)
        self._turns.meanwhile(seconds)

    # Sleep ------------------------------------------------------------------------------------------------------------

    def _until_sleep(self) -> float | None:
        """Seconds until it is time to sleep; None: it is not, or it sleeps already."""
        if self._contact.sleep is None or self._contact.status != Signal.PLUGIN_READY:
            return None
        left = self._idle_since + self._contact.sleep[0] - time.monotonic()
        if left <= 0 and not self._mailbox.is_quiet():
            return _LOOK_AGAIN
        return max(left, 0.0)

    def _fall_asleep(self, link: CoreConnection) -> None:
        """Says SLEEPING. In deep sleep the process ends, unless the core had sent something before it knew.

        The core answers in order: when it has answered the registration, all that it had sent before is here.
        """
        self._handlers.arm()
        outcome = self._sandbox.sleep()
        if outcome.kind != "done":
            log.log_error(f"{self._spec.name}.on_sleep: {log.explain(self._spec, outcome)}", outcome.text(1))
        self._contact.send_signal(Signal.PLUGIN_SLEEPING)
        self._sandbox.collect()
        if self._contact.sleep is None or not self._contact.sleep[1]:
            return
        self._contact.introduce(link)
        link.defer_frames(self._contact.alive)
        if not link.queue and self._mailbox.is_quiet():
            self._shut_down()

    def _wake(self) -> None:
        """Something came: no longer asleep."""
        if self._contact.status == Signal.PLUGIN_SLEEPING:
            self._contact.send_signal(Signal.PLUGIN_READY)

    # Ending -----------------------------------------------------------------------------------------------------------

    def _shut_down(self) -> NoReturn:
        """What came before the signal has been answered: frames are served in order. Messages that were read are
        handled: nobody else will."""
        self._mailbox.finish()
        while (message := self._mailbox.next_message()) is not None:
            self._handlers.take(message, self._mailbox)
        self._handlers.arm()
        outcome = self._sandbox.finish()
        if outcome.kind not in ("done", "run"):
            log.log_error(f"{self._spec.name}: {log.explain(self._spec, outcome)}", outcome.text(1))
        self._turns.flush_within(_LAST_FLUSH)
        self._link.close()
        os._exit(0)

    def _end(self, text: str, stack: str = "") -> NoReturn:
        """A fork of the zygote has nothing else to clean up."""
        log.log_error(f"{self._spec.name}: {text}", stack)
        os._exit(1)
