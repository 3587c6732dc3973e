"""A Lua plugin's process, from main.lua to its end (DESIGN.md, Lua; WIRE.md, From the core to a plugin).

    load main.lua ── connect ── register (F0) ── READY ── serve: calls, signals, health ── SHUTDOWN_GRACEFUL ── exit 0

What a handler does wrong is that call's answer, and the plugin lives. What ends the process: an error in main.lua, a
core that is gone, memory that a plugin does not give back, and a library call that burns more than its processor time
(SIGPROF: no hook reaches into C).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from typing import NoReturn

from reed.errors import CallError, ErrorCode
from reed.lua.files import DataFiles, Folder, read_source
from reed.lua.launch import LaunchSpec
from reed.lua.link import CoreGone, Link
from reed.lua.mailbox import Mailbox
from reed.lua.sandbox import Outcome, Sandbox, Service
from reed.lua.services import CoreServices
from reed.wire import frames, strict_json
from reed.wire.codes import Command, Flag, Signal
from reed.wire.common import ErrorResponse, JsonResponse, SignalMessage
from reed.wire.layouts import STATUS, Bytes
from reed.wire.plugins import PluginRegister

_MB = 1024 * 1024
_CPU_GRACE = 1.0  # seconds beyond the hook's limit, for what only ends from outside
_FULL = 0.9  # of the memory limit; what still holds so much after a collection will not recover
_MAX_LINE = 8192
_CODES = {
    400: ErrorCode.ERR_MALFORMED,
    403: ErrorCode.ERR_PERMISSION_DENIED,
    404: ErrorCode.ERR_NOT_FOUND,
    409: ErrorCode.ERR_CONFLICT,
    413: ErrorCode.ERR_TOO_LARGE,
    422: ErrorCode.ERR_INVALID,
    429: ErrorCode.ERR_PLUGIN_BUSY,
    504: ErrorCode.ERR_PLUGIN_TIMEOUT,
}
# Answered without asking the plugin more than its on_signal.
_ANSWERED_READY = frozenset({Signal.HEALTH_CHECK, Signal.RELOAD_CONFIG, Signal.WAKE_UP})


class Host:
    """One plugin, served until it ends. It is made in the nursery, and runs in a fork of it."""

    _spec: LaunchSpec
    _folder: Folder
    _manifest: bytes  # what main.lua has set handlers for

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._names: dict[int, str] = {}  # command_id -> action
        self._link: Link | None = None
        self._started = 0.0
        self._calls = 0
        self._errors = 0
        self._services: dict[bytes, Service] = {  # everything that Lua may ask for
            **CoreServices(self._request).table(),
            b"log": _log,
            b"signal": self._signal_of_lua,
            b"source": lambda path: read_source(self._folder, path.decode()),
        }

    def run(self, spec: LaunchSpec) -> NoReturn:
        """Loads, registers and serves; ends the process."""
        self.load(spec)
        try:
            link = Link.to(spec.socket_path)
            self.register(link)
            while True:
                self.serve(link, link.next_frame())
        except CoreGone:
            self._core_gone()
        except CallError as error:
            self._end(f"the connection to the core: {error}")
        except (FileNotFoundError, ConnectionRefusedError):
            self._end(f"no core listens on {spec.socket_path}")

    def close(self) -> None:
        """Gives back what `load` opened."""
        self._folder.close()

    # Starting ---------------------------------------------------------------------------------------------------------

    def load(self, spec: LaunchSpec) -> None:
        """Runs main.lua."""
        self._spec = spec
        self._started = time.monotonic()
        self._folder = Folder(spec.folder)
        mailbox = Mailbox(spec.name, spec.runtime_dir)
        self._services.update({b"message": mailbox.send, b"message.request": mailbox.request})
        if spec.data_dir is not None:
            self._services.update(_data_files(spec.data_dir))
        self._sandbox.start(self._services, memory=spec.memory, prepared=spec.prepared())
        try:
            source = read_source(self._folder, spec.entry)
        except CallError as error:
            self._end(str(error))
        self._arm()
        outcome = self._sandbox.load(spec.entry, source)
        if outcome.kind not in ("run", "done"):
            self._end(self._explain(outcome), outcome.text(1) if outcome.kind == "error" else "")
        self._manifest = self._sandbox.manifest()
        actions = json.loads(self._manifest)["actions"]
        self._names = {action["command_id"]: name for name, action in actions.items()}
        missing = sorted(spec.actions.keys() - actions.keys())
        if missing:
            self._end(f"{spec.entry} sets no handler for {', '.join(missing)}, which plugin.yaml names")

    def register(self, link: Link) -> None:
        """Tells the core what there is, takes the settings, and says READY."""
        spec = self._spec
        request = PluginRegister(spec.name, spec.version, os.getpid(), self._manifest)
        answer = JsonResponse.unpack(link.request(Command.PLUGIN_REGISTER, request.pack()))
        self._set_settings(strict_json.load_object(answer.json).get("settings"))
        self._link = link
        self._send_signal(Signal.PLUGIN_READY)

    def _set_settings(self, settings: object) -> None:
        if isinstance(settings, dict):
            self._sandbox.set_settings(strict_json.dumps(settings))

    # Serving ----------------------------------------------------------------------------------------------------------

    def serve(self, link: Link, frame: frames.Frame) -> None:
        """One frame of the core."""
        if frame.flags & Flag.SIGNAL:
            self._on_signal(SignalMessage.unpack(frame.payload))
        elif frames.is_response(frame.flags):
            _log(b"error", b"a response of the core to nothing that was asked")
        elif frame.command_id == Command.PLUGIN_HEALTH:
            figures = JsonResponse(200, strict_json.dumps(self._figures())).pack()
            link.send(frames.encode(frame.command_id, figures, Flag.RESPONSE))
        else:
            self._on_call(link, frame)

    def _on_call(self, link: Link, frame: frames.Frame) -> None:
        flags, body = self._answer(frame.command_id, bytes(frame.payload))
        if not frame.flags & Flag.ASYNC:
            link.send(frames.encode(frame.command_id, body, flags))
        if flags & Flag.ERROR:
            self._recover()

    def _answer(self, command_id: int, payload: bytes) -> tuple[int, bytes]:
        """Flags and payload of the response to a call."""
        self._calls += 1
        if len(payload) > self._spec.memory:
            text = f"{self._name(command_id)}: a payload of {len(payload)} bytes, over {self._memory_limit()}"
            return self._failed(ErrorResponse(413, ErrorCode.ERR_TOO_LARGE, text))
        self._arm()
        outcome = self._sandbox.call(command_id, payload)
        if outcome.kind == "done":
            status, body = outcome.results
            return Flag.RESPONSE, STATUS.pack(status) + body
        if outcome.kind == "fail":
            status = outcome.results[0]
            return self._failed(ErrorResponse(status, _CODES.get(status, ErrorCode.ERR_INTERNAL), outcome.text(1)))
        if outcome.kind == "none":
            text = f"{self._spec.name} has no handler for the command {command_id}"
            return self._failed(ErrorResponse(404, ErrorCode.ERR_ACTION_NOT_FOUND, text))
        text = f"{self._name(command_id)}: {self._explain(outcome)}"
        self._log_error(text, outcome.text(1) if outcome.kind == "error" else "")
        if outcome.kind == "time":
            return self._failed(ErrorResponse(504, ErrorCode.ERR_PLUGIN_TIMEOUT, text))
        return self._failed(ErrorResponse(500, ErrorCode.ERR_INTERNAL, text))

    def _failed(self, error: ErrorResponse) -> tuple[int, bytes]:
        self._errors += 1
        return Flag.RESPONSE | Flag.ERROR, error.pack()

    def _on_signal(self, message: SignalMessage) -> None:
        data = bytes(message.data)
        if message.signal_type == Signal.RELOAD_CONFIG and data:
            self._reload(data)
        self._arm()
        outcome = self._sandbox.signal(message.signal_type, data)
        if outcome.kind != "done":
            self._log_error(f"{self._spec.name}.on_signal: {self._explain(outcome)}", outcome.text(1))
        if message.signal_type in _ANSWERED_READY:
            self._send_signal(Signal.PLUGIN_READY)
        elif message.signal_type == Signal.SHUTDOWN_GRACEFUL:
            self._shut_down()

    def _reload(self, data: bytes) -> None:
        """New settings came with the signal; what is no JSON changes nothing."""
        try:
            self._set_settings(strict_json.loads(data))
        except CallError as error:
            _log(b"error", f"the new settings: {error}".encode())

    def _shut_down(self) -> NoReturn:
        """What came before the signal has been answered: frames are served in order."""
        self._arm()
        outcome = self._sandbox.finish()
        if outcome.kind not in ("done", "run"):
            self._log_error(f"{self._spec.name}: {self._explain(outcome)}", outcome.text(1))
        if self._link is not None:
            self._link.close()
        _leave(0)

    def _core_gone(self) -> NoReturn:
        """The core died or closed the connection. A plugin that outlives its core will reconnect here."""
        _log(b"warn", b"the core is gone")
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
        if not frame.flags & Flag.SIGNAL or frame.payload[0] != Signal.HEALTH_CHECK:
            return False
        self._send_signal(Signal.PLUGIN_READY)
        return True

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
        message = SignalMessage(signal_type, time.time_ns() // 1000, self._spec.name, data)
        self._link.send(frames.encode(Command.PLUGIN_SIGNAL, message.pack(), Flag.SIGNAL))

    # Guards and words -------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        """From here on this process may use so much processor time: counted only while it runs, not while it waits."""
        signal.setitimer(signal.ITIMER_PROF, self._spec.cpu + _CPU_GRACE)

    def _recover(self) -> None:
        """After a failed call: ends the process if what it holds leaves no room for another one."""
        if self._sandbox.memory_used() < _FULL * self._spec.memory:
            return
        self._sandbox.collect()
        if self._sandbox.memory_used() >= _FULL * self._spec.memory:
            self._end(f"keeps nearly all of {self._memory_limit()}: starts anew")

    def _explain(self, outcome: Outcome) -> str:
        """What a job ended of, with its place."""
        if outcome.kind == "fail":
            return f"{outcome.text(1)} ({outcome.results[0]})"
        if outcome.kind == "error":
            return outcome.text()
        place = f"{outcome.text()}: " if outcome.text() else ""
        if outcome.kind == "time":
            return f"{place}time limit of {self._spec.cpu:g} s reached"
        return f"{place}{self._memory_limit()} reached"

    def _memory_limit(self) -> str:
        return f"memory limit of {self._spec.memory / _MB:g} MB"

    def _name(self, command_id: int) -> str:
        return f"{self._spec.name}.{self._names.get(command_id, f'command-{command_id}')}"

    def _figures(self) -> dict[str, object]:
        return {
            "calls": self._calls,
            "errors": self._errors,
            "memory_bytes": self._sandbox.memory_used(),
            "uptime_s": round(time.monotonic() - self._started, 3),
            "lua": self._spec.lua,
        }

    def _log_error(self, text: str, stack: str) -> None:
        calls = [line for line in stack.splitlines()[1:] if "\treed/" not in line and "\t[C]" not in line]
        _log(b"error", "\n".join([text, *(calls if len(calls) > 1 else [])]).encode())

    def _end(self, text: str, stack: str = "") -> NoReturn:
        self._log_error(f"{self._spec.name}: {text}", stack)
        _leave(1)


def _data_files(path: str) -> dict[bytes, Service]:
    """What sdk/files.lua asks for."""
    os.makedirs(path, 0o700, exist_ok=True)
    data = DataFiles(Folder(path))
    names = ("open", "read", "write", "flush", "close", "list", "remove", "rename")
    return {f"file.{name}".encode(): getattr(data, name) for name in names}


def _log(level: bytes, text: bytes) -> None:
    """One entry of the plugin's log; its further lines are indented. The core reads stdout and stderr."""
    entry = b"%b: %b" % (level, text[:_MAX_LINE].replace(b"\n", b"\n  "))
    with contextlib.suppress(BrokenPipeError):  # the core that read it is gone
        os.write(1, entry + b"\n")


def _leave(code: int) -> NoReturn:
    """Ends this process: a fork of the nursery has nothing else to clean up."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
