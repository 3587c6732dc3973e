"""A Lua plugin's process, from main.lua to its end (DESIGN.md, Lua; WIRE.md, From the core to a plugin).

    load main.lua ── connect ── register (F0) ── READY ── serve: calls, signals, messages ── SHUTDOWN_GRACEFUL ── exit 0
                                                   ^                    │ nothing to do for so long
                                                   └ a call, a message, └── on_sleep ── SLEEPING ── deep: exit 0
                                                     WAKE_UP

What a handler does wrong is that call's answer, and the plugin lives. What ends the process: an error in main.lua, a
core that is gone, memory that a plugin does not give back, and a library call that burns more than its processor time
(SIGPROF: no hook reaches into C).
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import NoReturn

from reed.errors import CallError
from reed.lua import words
from reed.lua.fifo import Places
from reed.lua.files import Folder, data_files, read_source
from reed.lua.handlers import Handlers
from reed.lua.launch import LaunchSpec
from reed.lua.link import CoreGone, Link
from reed.lua.mailbox import Mailbox
from reed.lua.sandbox import Sandbox, Service
from reed.lua.services import CoreServices
from reed.lua.turns import Turns
from reed.wire import frames, strict_json
from reed.wire.codes import Command, Flag, Signal
from reed.wire.common import JsonResponse, SignalMessage
from reed.wire.layouts import Bytes
from reed.wire.plugins import PluginRegister

_LOOK_AGAIN = 0.1  # seconds, when it would sleep and a message is half read
_LAST_FLUSH = 1.0  # seconds that the end waits for full pipes
_MOODS = frozenset({Signal.PLUGIN_READY, Signal.PLUGIN_BUSY, Signal.PLUGIN_SLEEPING})


class Host:
    """One plugin, served until it ends. It is made in the nursery, and runs in a fork of it."""

    _spec: LaunchSpec
    _folder: Folder
    _manifest: bytes  # what main.lua has set handlers for

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._link: Link | None = None
        self._mood = Signal.PLUGIN_READY  # what it last said of itself
        self._sleep: tuple[float, bool] | None = None  # after so many seconds; deep
        self._idle_since = 0.0
        self._started = 0.0
        self._handlers = Handlers(sandbox, self._send_signal, self._end)
        self._services: dict[bytes, Service] = {  # everything that Lua may ask for
            **CoreServices(self._request).table(),
            b"log": words.log,
            b"signal": self._signal_of_lua,
            b"source": lambda path: read_source(self._folder, path.decode()),
        }

    def run(self, spec: LaunchSpec, connect: Callable[[int], None]) -> NoReturn:
        """Loads, registers and serves; ends the process. `connect` leads a Unix socket to the plugin's own."""
        self.load(spec)
        try:
            link = Link.by(connect)
            self.register(link)
            while True:
                self.turn(link)
        except CoreGone:
            self._core_gone()
        except CallError as error:
            self._end(f"the connection to the core: {error}")
        except (FileNotFoundError, ConnectionRefusedError):
            self._end(f"no core listens on {spec.socket_path}")

    def close(self) -> None:
        """Gives back what `load` opened."""
        self._folder.close()
        self._mailbox.close()

    # Starting ---------------------------------------------------------------------------------------------------------

    def load(self, spec: LaunchSpec, places: Places | None = None) -> None:
        """Runs main.lua; `places` are those of the spec, but in a rehearsal."""
        self._spec = self._handlers.spec = spec
        self._started = time.monotonic()
        self._folder = Folder(spec.folder)
        self._mailbox = Mailbox(places or Places(spec.runtime_dir, spec.name), self._meanwhile, words.log)
        self._services.update({b"message": self._mailbox.send, b"message.request": self._mailbox.request})
        if spec.data_dir is not None:
            self._services.update(data_files(spec.data_dir))
        self._sandbox.start(self._services, memory=spec.memory, prepared=spec.prepared())
        try:
            source = read_source(self._folder, spec.entry)
        except CallError as error:
            self._end(str(error))
        self._handlers.arm()
        outcome = self._sandbox.load(spec.entry, source)
        if outcome.kind not in ("run", "done"):
            self._end(words.explain(self._spec, outcome), outcome.text(1) if outcome.kind == "error" else "")
        self._manifest = self._sandbox.manifest()
        actions = json.loads(self._manifest)["actions"]
        self._handlers.names = {action["command_id"]: name for name, action in actions.items()}
        missing = sorted(spec.actions.keys() - actions.keys())
        if missing:
            self._end(f"{spec.entry} sets no handler for {', '.join(missing)}, which plugin.yaml names")

    def register(self, link: Link) -> None:
        """Tells the core what there is, says READY, and opens the FIFOs to this plugin."""
        peers = self._introduce(link)
        self._link = link
        self._turns = Turns(link, self._mailbox, self._alive)
        self._send_signal(Signal.PLUGIN_READY)
        self._mailbox.look(peers)
        self._idle_since = time.monotonic()

    def _introduce(self, link: Link) -> list[str]:
        """Registers, and takes what the core says: settings, when to sleep. Gives the other plugins."""
        spec = self._spec
        self._mailbox.begin_look()
        request = PluginRegister(spec.name, spec.version, os.getpid(), self._manifest)
        answer = JsonResponse.unpack(link.request(Command.PLUGIN_REGISTER, request.pack(), self._alive))
        said = strict_json.load_object(answer.json)
        self._set_settings(said.get("settings"))
        sleep = said.get("sleep")
        self._sleep = (float(sleep["after"]), sleep.get("mode") == "deep") if sleep else None
        return list(said.get("peers") or ())

    def _set_settings(self, settings: object) -> None:
        if isinstance(settings, dict):
            self._sandbox.set_settings(strict_json.dumps(settings))

    # Serving ----------------------------------------------------------------------------------------------------------

    def turn(self, link: Link) -> None:
        """One thing that is to be done, or waiting for one. Raises CoreGone."""
        if (frame := link.ready_frame()) is not None:
            self.serve(link, frame)
        elif (message := self._mailbox.next_message()) is not None:
            self._wake()
            self._handlers.take(message, self._mailbox)
            self._idle_since = time.monotonic()
        elif (left := self._until_sleep()) is not None and left <= 0:
            self._fall_asleep(link)
        else:
            self._turns.wait(left)

    def serve(self, link: Link, frame: frames.Frame) -> None:
        """One frame of the core."""
        if frame.flags & Flag.SIGNAL:
            self._on_signal(link, SignalMessage.unpack(frame.payload))
        elif frames.is_response(frame.flags):
            words.log(b"error", b"a response of the core to nothing that was asked")
        elif frame.command_id == Command.PLUGIN_HEALTH:
            figures = JsonResponse(200, strict_json.dumps(self._figures())).pack()
            link.send(frames.encode(frame.command_id, figures, Flag.RESPONSE))
        else:
            self._wake()
            self._on_call(link, frame)
            self._idle_since = time.monotonic()

    def _on_call(self, link: Link, frame: frames.Frame) -> None:
        flags, body = self._handlers.answer(frame.command_id, bytes(frame.payload))
        if not frame.flags & Flag.ASYNC:
            link.send(frames.encode(frame.command_id, body, flags))
        if flags & Flag.ERROR:
            self._handlers.recover()

    def _on_signal(self, link: Link, message: SignalMessage) -> None:
        data, kind = bytes(message.data), message.signal_type
        if kind == Signal.RELOAD_CONFIG and data:
            self._reload(data)
        if kind in (Signal.RELOAD_CONFIG, Signal.WAKE_UP) or (
            kind == Signal.HEALTH_CHECK and self._mailbox.has_changed()
        ):
            self._look(link)
        self._handlers.arm()
        outcome = self._sandbox.signal(kind, data)
        if outcome.kind != "done":
            words.log_error(f"{self._spec.name}.on_signal: {words.explain(self._spec, outcome)}", outcome.text(1))
        if kind == Signal.SHUTDOWN_GRACEFUL:
            self._shut_down()
        if kind == Signal.HEALTH_CHECK:
            self._send_signal(self._mood)
        elif kind in (Signal.RELOAD_CONFIG, Signal.WAKE_UP):
            self._send_signal(Signal.PLUGIN_BUSY if self._mood == Signal.PLUGIN_BUSY else Signal.PLUGIN_READY)
            self._idle_since = time.monotonic()

    def _look(self, link: Link) -> None:
        """Opens new FIFOs. Which plugins there are is known to the core alone."""
        if self._mailbox.has_changed():
            self._mailbox.look(self._introduce(link))

    def _reload(self, data: bytes) -> None:
        """New settings came with the signal; what is no JSON changes nothing."""
        try:
            self._set_settings(strict_json.loads(data))
        except CallError as error:
            words.log(b"error", f"the new settings: {error}".encode())

    # Sleep ------------------------------------------------------------------------------------------------------------

    def _until_sleep(self) -> float | None:
        """Seconds until it is time to sleep; None: it is not, or it sleeps already."""
        if self._sleep is None or self._mood != Signal.PLUGIN_READY:
            return None
        left = self._idle_since + self._sleep[0] - time.monotonic()
        if left <= 0 and not self._mailbox.is_quiet():
            return _LOOK_AGAIN
        return max(left, 0.0)

    def _fall_asleep(self, link: Link) -> None:
        """Says SLEEPING. In deep sleep the process ends, unless the core had sent something before it knew.

        The core answers in order: when it has answered the registration, all that it had sent before is here.
        """
        self._handlers.arm()
        outcome = self._sandbox.sleep()
        if outcome.kind != "done":
            words.log_error(f"{self._spec.name}.on_sleep: {words.explain(self._spec, outcome)}", outcome.text(1))
        self._send_signal(Signal.PLUGIN_SLEEPING)
        self._sandbox.collect()
        if self._sleep is None or not self._sleep[1]:
            return
        self._introduce(link)
        link.set_aside(self._alive)
        if not link.queue and self._mailbox.is_quiet():
            self._shut_down()

    def _wake(self) -> None:
        """Something came: no longer asleep."""
        if self._mood == Signal.PLUGIN_SLEEPING:
            self._send_signal(Signal.PLUGIN_READY)

    # Ending -----------------------------------------------------------------------------------------------------------

    def _shut_down(self) -> NoReturn:
        """What came before the signal has been answered: frames are served in order."""
        self._handlers.arm()
        outcome = self._sandbox.finish()
        if outcome.kind not in ("done", "run"):
            words.log_error(f"{self._spec.name}: {words.explain(self._spec, outcome)}", outcome.text(1))
        self._turns.flush_within(_LAST_FLUSH)
        if self._link is not None:
            self._link.close()
        _leave(0)

    def _core_gone(self) -> NoReturn:
        """The core died or closed the connection. A plugin that outlives its core will reconnect here."""
        words.log(b"warn", b"the core is gone")
        _leave(0)

    # For Lua ----------------------------------------------------------------------------------------------------------

    def _request(self, command: int, payload: bytes) -> Bytes:
        """A command of the plugin to the core."""
        if self._link is None:
            raise CallError("the core is reached from handlers and after run(), not while main.lua loads", status=503)
        try:
            return self._link.request(command, payload, self._alive)
        except CoreGone:
            self._core_gone()

    def _alive(self, frame: frames.Frame) -> bool:
        """A health check is answered while Lua waits for the core: a long job is no hang."""
        if self._link is None or not frame.flags & Flag.SIGNAL or frame.payload[0] != Signal.HEALTH_CHECK:
            return False
        self._send_signal(self._mood)
        return True

    def _meanwhile(self, seconds: float) -> None:
        """Waits inside a job that waits for another plugin."""
        if self._link is None:
            raise CallError("no answer can be waited for while main.lua loads", status=503)
        try:
            self._turns.meanwhile(seconds)
        except CoreGone:
            self._core_gone()

    def _signal_of_lua(self, arguments: bytes) -> None:
        signal_type, data = strict_json.loads(arguments)
        try:
            known = Signal(signal_type)
        except ValueError:
            raise CallError(f"no signal {signal_type!r}", hint="see reed.signals", status=400) from None
        if known >= Signal.SHUTDOWN_GRACEFUL:
            raise CallError(f"{known.name} is sent by the core alone", status=403)
        self._send_signal(known, str(data).encode())

    def _send_signal(self, signal_type: Signal, data: bytes = b"") -> None:
        if self._link is None:
            raise CallError("no signal can be sent while main.lua loads", status=503)
        if signal_type in _MOODS:
            self._mood = signal_type
        message = SignalMessage(signal_type, time.time_ns() // 1000, self._spec.name, data)
        self._link.send(frames.encode(Command.PLUGIN_SIGNAL, message.pack(), Flag.SIGNAL))

    # The end ----------------------------------------------------------------------------------------------------------

    def _figures(self) -> dict[str, object]:
        return {
            **self._handlers.figures(),
            **self._mailbox.figures(),
            "memory_bytes": self._sandbox.memory_used(),
            "uptime_s": round(time.monotonic() - self._started, 3),
            "lua": self._spec.lua,
        }

    def _end(self, text: str, stack: str = "") -> NoReturn:
        words.log_error(f"{self._spec.name}: {text}", stack)
        _leave(1)


def _leave(code: int) -> NoReturn:
    """Ends this process: a fork of the nursery has nothing else to clean up."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
