"""What the host asks of a language.

host ── start, load, call, signal, message, sleep, finish ──> runtime ──> the plugin's handler
host <── services[operation](bytes, …) ────────────────────── runtime <── the SDK's functions
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from reed.errors import CallError, ReedError
from reed.wire import strict_json

Service = Callable[..., bytes | None]


class JobOutcome(NamedTuple):
    """How a job in the plugin's code ended: its kind, and the results of that kind.

    done    results         run     main.lua waits in run()     none    there is no handler
    error   text, stack     time    place                       memory  place
    fail    status, message, error code; 0 for a status or a code that follows from the other
    """

    kind: str
    results: tuple[Any, ...]

    def text(self, at: int = 0) -> str:
        value = self.results[at] if at < len(self.results) else b""
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


class Runtime(Protocol):
    """Each method that runs the plugin's code returns a JobOutcome, whatever that code does."""

    about: dict[str, str]  # for PLUGIN_HEALTH: the language, and its version
    uncharged: float  # processor time that the running job did not use itself, in seconds

    def start(self, services: Mapping[bytes, Service], *, memory: int, spec: bytes) -> None:
        """`memory` in bytes; `spec`: HostedSpec.for_sdk."""

    def load(self, name: str, source: bytes) -> JobOutcome:
        """Runs the entry point, whose path in the plugin's folder is `name`."""

    def call(self, command_id: int, payload: bytes) -> JobOutcome: ...

    def signal(self, signal_type: int, data: bytes) -> JobOutcome: ...

    def message(self, source: str, message_type: int, payload: bytes) -> JobOutcome: ...

    def start_up(self) -> JobOutcome:
        """Runs the handler of on_start."""

    def sleep(self) -> JobOutcome: ...

    def finish(self) -> JobOutcome:
        """Runs what the entry point has left to do after SHUTDOWN_GRACEFUL."""

    def manifest(self) -> bytes:
        """The handlers, as JSON (protocol.md#plugin-connections)."""

    def set_settings(self, text: bytes) -> None: ...

    def memory_used(self) -> int:
        """Bytes that count towards the limit."""

    def collect(self) -> None:
        """Frees what the plugin no longer uses."""


def failure(error: ReedError) -> bytes:
    """JSON {status, code, message}."""
    return strict_json.dumps(failure_fields(error))


def failure_fields(error: ReedError) -> dict[str, Any]:
    call = error if isinstance(error, CallError) else CallError(str(error))
    text = str(error).encode("utf-8", "replace").decode()
    return {"status": call.status, "code": int(call.error_code), "message": text}
