"""The plugin's handlers, called under their guards: what they answer, and what is counted.

    a call or a message ── arm ── Lua ── outcome ── its answer, or an error that names plugin, action and line
                                                    └── memory that is not given back: the process ends

What a handler does wrong is that call's answer, and the plugin lives.
"""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Callable, Iterator

from reed.errors import ErrorCode
from reed.lua import log
from reed.lua.launch_spec import LuaLaunchSpec
from reed.lua.messaging import Messaging
from reed.lua.sandbox import Sandbox
from reed.wire.codes import Flag, Signal
from reed.wire.common import ErrorResponse
from reed.wire.plugins import PluginMessage
from reed.wire.structs import STATUS

_RESPONSE = int(Flag.RESPONSE)
_REFUSED = int(Flag.RESPONSE | Flag.ERROR)
_CPU_GRACE = 1.0  # seconds beyond the hook's limit, for what only ends from outside
_ARMED = 0.1  # seconds that an armed timer is left as it is: so much less of the grace is left at the worst
_FULL = 0.9  # of the memory limit; what still holds so much after a collection will not recover
_MAX_ERROR = 1024  # bytes of a signal ERROR
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


class Dispatcher:
    """Those of one plugin. `spec` and `names` are set when the plugin is loaded."""

    spec: LuaLaunchSpec

    def __init__(
        self, sandbox: Sandbox, send_signal: Callable[[Signal, bytes], None], end: Callable[[str], None]
    ) -> None:
        self.names: dict[int, str] = {}  # command_id -> action
        self._sandbox = sandbox
        self._send_signal = send_signal
        self._end = end  # ends the process, for a reason
        self._armed_at = -math.inf
        self._calls = 0
        self._errors = 0
        self._messages = 0

    def answer(self, command_id: int, payload: bytes) -> tuple[int, bytes]:
        """Flags and payload of the response to a call."""
        self._calls += 1
        if len(payload) > self.spec.memory:
            text = f"{self._name(command_id)}: a payload of {len(payload)} bytes, over {log.memory_limit(self.spec)}"
            return self._failed(ErrorResponse(413, ErrorCode.ERR_TOO_LARGE, text))
        self.arm()
        outcome = self._sandbox.call(command_id, payload)
        if outcome.kind == "done":
            status, body = outcome.results
            return _RESPONSE, STATUS.pack(status) + body
        if outcome.kind == "fail":
            status = outcome.results[0]
            return self._failed(ErrorResponse(status, _CODES.get(status, ErrorCode.ERR_INTERNAL), outcome.text(1)))
        if outcome.kind == "none":
            text = f"{self.spec.name} has no handler for the command {command_id}"
            return self._failed(ErrorResponse(404, ErrorCode.ERR_ACTION_NOT_FOUND, text))
        text = f"{self._name(command_id)}: {log.explain(self.spec, outcome)}"
        log.log_error(text, outcome.text(1) if outcome.kind == "error" else "")
        if outcome.kind == "time":
            return self._failed(ErrorResponse(504, ErrorCode.ERR_PLUGIN_TIMEOUT, text))
        return self._failed(ErrorResponse(500, ErrorCode.ERR_INTERNAL, text))

    def _failed(self, error: ErrorResponse) -> tuple[int, bytes]:
        self._errors += 1
        return _REFUSED, error.pack()

    def take(self, message: PluginMessage, mailbox: Messaging) -> None:
        """A message of another plugin: its handler's answer, or what went wrong, goes back."""
        self._messages += 1
        payload, kind = bytes(message.payload), message.message_type
        if len(payload) > self.spec.memory:
            text = f"a message of {len(payload)} bytes, over {log.memory_limit(self.spec)}"
            self._message_failed(mailbox, message, 413, text)
            return
        self.arm()
        outcome = self._sandbox.message(message.source_plugin, kind, payload)
        if outcome.kind == "none":
            text = f"{self.spec.name} has no handler for messages of type 0x{kind:02X}"
            self._message_failed(mailbox, message, 404, text)
        elif outcome.kind == "done" and outcome.results and outcome.results[0] is not None:
            mailbox.answer_with(message, outcome.results[0])
        elif outcome.kind == "done":
            mailbox.acknowledge(message)
        else:
            status = outcome.results[0] if outcome.kind == "fail" else 504 if outcome.kind == "time" else 500
            stack = outcome.text(1) if outcome.kind == "error" else ""
            reason = outcome.text(1) if outcome.kind == "fail" else log.explain(self.spec, outcome)
            self._message_failed(mailbox, message, status, reason, stack)
            self.recover()

    def _message_failed(
        self, mailbox: Messaging, message: PluginMessage, status: int, reason: str, stack: str = ""
    ) -> None:
        """The sender is told; as it may not listen, so is the core."""
        self._errors += 1
        text = f"{self.spec.name}: message 0x{message.message_type:02X} of {message.source_plugin}: {reason}"
        log.log_error(text, stack)
        self._send_signal(Signal.PLUGIN_ERROR, text.encode()[:_MAX_ERROR].decode(errors="ignore").encode())
        mailbox.answer_error(message, status, reason)

    def arm(self) -> None:
        """From here on this process may use so much processor time: counted only while it runs, not while it waits."""
        now = time.monotonic()
        if now - self._armed_at > _ARMED:
            self._armed_at = now
            signal.setitimer(signal.ITIMER_PROF, self.spec.cpu + _CPU_GRACE)

    def disarm(self) -> None:
        """No job runs: what the host does now is charged to none."""
        if self._armed_at > -math.inf:
            self._armed_at = -math.inf
            signal.setitimer(signal.ITIMER_PROF, 0.0)

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Inside a job: what is done here for others is not charged to it."""
        left, _ = signal.setitimer(signal.ITIMER_PROF, 0.0)
        began = time.process_time()
        try:
            yield
        finally:
            self._sandbox.for_others += time.process_time() - began
            if left:
                signal.setitimer(signal.ITIMER_PROF, left)

    def recover(self) -> None:
        """After a failed call: ends the process if what it holds leaves no room for another one."""
        if self._sandbox.memory_used() < _FULL * self.spec.memory:
            return
        self._sandbox.collect()
        if self._sandbox.memory_used() >= _FULL * self.spec.memory:
            self._end(f"keeps nearly all of {log.memory_limit(self.spec)}: starts anew")

    def figures(self) -> dict[str, int]:
        return {"calls": self._calls, "errors": self._errors, "messages": self._messages}

    def _name(self, command_id: int) -> str:
        return f"{self.spec.name}.{self.names.get(command_id, f'command-{command_id}')}"
