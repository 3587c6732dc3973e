"""Runs the plugin's handlers within their limits."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import time
from collections.abc import Callable, Iterator

from reed.errors import CallError, ErrorCode
from reed.plugin_host.launch_spec import HostedSpec
from reed.plugin_host.messaging import Messaging
from reed.plugin_host.runtime import JobOutcome, Runtime
from reed.wire import frames
from reed.wire.codes import MAGIC, VERSION, Flag, Signal
from reed.wire.common import ErrorResponse
from reed.wire.plugins import PluginMessage
from reed.wire.structs import ANSWER, STATUS

_RESPONSE = int(Flag.RESPONSE)
_ERROR_RESPONSE = int(Flag.RESPONSE | Flag.ERROR)
_CPU_GRACE = 1.0  # seconds beyond the hook's limit, for a C function
_ARMED = 0.1  # seconds that an armed timer is not set again
_FULL = 0.9  # of the memory limit, after a collection
_MAX_ERROR = 1024
_MAX_LOG_ENTRY = 8192
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
_STATUSES = {each.error_code: each.status for each in CallError.__subclasses__() if each.error_code != 50000}


def log(level: bytes, text: bytes) -> None:
    """One entry on stdout; further lines are indented."""
    entry = b"%b: %b" % (level, text[:_MAX_LOG_ENTRY].replace(b"\n", b"\n  "))
    with contextlib.suppress(BrokenPipeError):  # the core that read it is gone
        os.write(1, entry + b"\n")


def log_error(text: str, stack: str = "") -> None:
    """Keeps the plugin's own lines of a stack."""
    calls = [line for line in stack.splitlines()[1:] if "\treed/" not in line and "\t[C]" not in line]
    log(b"error", "\n".join([text, *(calls if len(calls) > 1 else [])]).encode())


def explain(spec: HostedSpec, outcome: JobOutcome) -> str:
    if outcome.kind == "fail":
        return f"{outcome.text(1)} ({_status_and_code(outcome)[0]})"
    if outcome.kind == "error":
        return outcome.text()
    place = f"{outcome.text()}: " if outcome.text() else ""
    if outcome.kind == "time":
        return f"{place}time limit of {spec.cpu:g} s reached"
    return f"{place}{_memory_limit(spec)} reached"


def _status_and_code(outcome: JobOutcome) -> tuple[int, int]:
    """Of an outcome "fail"."""
    status, _, code = outcome.results
    return status or _STATUSES.get(code, 500), code or _CODES.get(status, ErrorCode.ERR_INTERNAL)


def _memory_limit(spec: HostedSpec) -> str:
    return f"memory limit of {spec.memory / 1024 / 1024:g} MB"


class HandlerDispatcher:
    spec: HostedSpec

    def __init__(
        self, runtime: Runtime, send_signal: Callable[[Signal, bytes], None], exit_with: Callable[[str], None]
    ) -> None:
        self.names: dict[int, str] = {}  # command_id -> action
        self._runtime = runtime
        self._send_signal = send_signal
        self._exit_with = exit_with
        self._armed_at = -math.inf
        self._calls = 0
        self._errors = 0
        self._messages = 0

    def handle_call(self, command_id: int, payload: bytes) -> bytes:
        """Returns the frame of the response."""
        self._calls += 1
        if len(payload) > self.spec.memory:
            text = f"{self._name(command_id)}: payload of {len(payload)} bytes exceeds the {_memory_limit(self.spec)}"
            return self._failed(command_id, ErrorResponse(413, ErrorCode.ERR_TOO_LARGE, text))
        self.arm_timer()
        outcome = self._runtime.call(command_id, payload)
        kind, results = outcome
        if kind == "done":
            status, body = results
            header = ANSWER.pack(MAGIC, VERSION, command_id, _RESPONSE, 0, STATUS.size + len(body), status)
            return header + bytes(body)
        if kind == "fail":
            return self._failed(command_id, ErrorResponse(*_status_and_code(outcome), outcome.text(1)))
        if kind == "none":
            text = f"{self.spec.name} has no handler for command {command_id}"
            return self._failed(command_id, ErrorResponse(404, ErrorCode.ERR_ACTION_NOT_FOUND, text))
        text = f"{self._name(command_id)}: {explain(self.spec, outcome)}"
        log_error(text, outcome.text(1) if kind == "error" else "")
        if kind == "time":
            return self._failed(command_id, ErrorResponse(504, ErrorCode.ERR_PLUGIN_TIMEOUT, text))
        return self._failed(command_id, ErrorResponse(500, ErrorCode.ERR_INTERNAL, text))

    def _failed(self, command_id: int, error: ErrorResponse) -> bytes:
        self._errors += 1
        return frames.encode(command_id, error.pack(), _ERROR_RESPONSE)

    def handle_message(self, message: PluginMessage, messaging: Messaging) -> None:
        self._messages += 1
        payload, kind = bytes(message.payload), message.message_type
        if len(payload) > self.spec.memory:
            text = f"payload of {len(payload)} bytes exceeds the {_memory_limit(self.spec)}"
            self._message_failed(messaging, message, 413, text)
            return
        self.arm_timer()
        outcome = self._runtime.message(message.source_plugin, kind, payload)
        if outcome.kind == "none":
            text = f"{self.spec.name} has no handler for messages of type 0x{kind:02X}"
            self._message_failed(messaging, message, 404, text)
        elif outcome.kind == "done" and outcome.results and outcome.results[0] is not None:
            messaging.reply_data(message, outcome.results[0])
        elif outcome.kind == "done":
            messaging.reply_ack(message)
        else:
            status = _status_and_code(outcome)[0] if outcome.kind == "fail" else 504 if outcome.kind == "time" else 500
            stack = outcome.text(1) if outcome.kind == "error" else ""
            reason = outcome.text(1) if outcome.kind == "fail" else explain(self.spec, outcome)
            self._message_failed(messaging, message, status, reason, stack)
            self.check_memory()

    def _message_failed(
        self, messaging: Messaging, message: PluginMessage, status: int, reason: str, stack: str = ""
    ) -> None:
        """Reports the error to the core too, as the sender may not wait for a reply."""
        self._errors += 1
        text = f"{self.spec.name}: message 0x{message.message_type:02X} from {message.source_plugin}: {reason}"
        log_error(text, stack)
        self._send_signal(Signal.PLUGIN_ERROR, text.encode()[:_MAX_ERROR].decode(errors="ignore").encode())
        messaging.reply_error(message, status, reason)

    # Limits

    def arm_timer(self) -> None:
        """SIGPROF ends the process once the job's processor time and the grace are used up."""
        now = time.monotonic()
        if now - self._armed_at > _ARMED:
            self._armed_at = now
            signal.setitimer(signal.ITIMER_PROF, self.spec.cpu + _CPU_GRACE)

    def disarm_timer(self) -> None:
        if self._armed_at > -math.inf:
            self._armed_at = -math.inf
            signal.setitimer(signal.ITIMER_PROF, 0.0)

    @contextlib.contextmanager
    def uncharged(self) -> Iterator[None]:
        """The host works for others meanwhile."""
        left, _ = signal.setitimer(signal.ITIMER_PROF, 0.0)
        began = time.process_time()
        try:
            yield
        finally:
            self._runtime.uncharged += time.process_time() - began
            if left:
                signal.setitimer(signal.ITIMER_PROF, left)

    def check_memory(self) -> None:
        """Exits if no further call would fit."""
        if self._runtime.memory_used() < _FULL * self.spec.memory:
            return
        self._runtime.collect()
        if self._runtime.memory_used() >= _FULL * self.spec.memory:
            self._exit_with(
                f"after a collection, over {_FULL:.0%} of the {_memory_limit(self.spec)} is in use: exiting"
            )

    def metrics(self) -> dict[str, int]:
        return {"calls": self._calls, "errors": self._errors, "messages": self._messages}

    def _name(self, command_id: int) -> str:
        return f"{self.spec.name}.{self.names.get(command_id, f'command-{command_id}')}"
