"""What a connection has in flight: the calls that it has begun, and what each of them holds until it ends.

    begin ── count, if its kind has a quota ── … ── end: frees what it holds
      └──── calls: those that get a reply, in the order of the requests ──── the connection sends it

    a write              its payload; reads of this connection wait until no write is in flight
    a job                a worker, perhaps
    a call to a plugin   its input; it counts against the quota of bytes, and pauses nothing: answers come here too

While it `is_full` the connection begins no more calls.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from reed.config import Limits
from reed.errors import CallError
from reed.wire.commands import STORE_WRITES
from reed.wire.structs import Bytes

HIGH_WATER = 256 * 1024  # bytes; with more the quota of bytes is looked at
_MAX_JOBS = 64


class Usage(Protocol):
    """See core.quotas."""

    def begin_call(self) -> None: ...
    def end_call(self) -> None: ...
    def too_many_bytes(self) -> CallError | None: ...


class Held(Protocol):
    """A Call."""

    command_id: int
    size: int  # bytes of the payload
    began: float
    expects_reply: bool
    response: tuple[Bytes, ...]
    is_write: bool
    usage: Usage | None  # the quota that it counts against; with the next two
    is_job: bool
    input_size: int


class InFlight:
    __slots__ = ("_limits", "calls", "input_bytes", "jobs", "write_bytes", "writes")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.calls: deque[Held] = deque()
        self.writes = 0
        self.write_bytes = 0
        self.jobs = 0
        self.input_bytes = 0

    def begin(self, call: Held) -> None:
        if call.expects_reply:
            self.calls.append(call)
        if call.command_id in STORE_WRITES:
            call.is_write = True
            self.writes += 1
            self.write_bytes += call.size

    def count(self, call: Held, usage: Usage, *, is_job: bool, input_size: int) -> None:
        """Count `call` against the quota of its caller. Raises PluginBusy."""
        usage.begin_call()
        call.usage, call.is_job, call.input_size = usage, is_job, input_size
        self.jobs += is_job
        self.input_bytes += input_size
        if self.input_bytes > HIGH_WATER and (error := usage.too_many_bytes()):
            raise error

    def end(self, call: Held) -> None:
        if call.is_write:
            self.writes -= 1
            self.write_bytes -= call.size
        if call.usage is not None:
            call.usage.end_call()
            self.jobs -= call.is_job
            self.input_bytes -= call.input_size

    @property
    def is_full(self) -> bool:
        return (
            len(self.calls) >= self._limits.queued_calls
            or self.write_bytes > self._limits.payload
            or self.jobs >= _MAX_JOBS
        )

    @property
    def bytes(self) -> int:
        return self.write_bytes + self.input_bytes
