"""The queue of calls to one plugin.

    submit ── waiting ── a channel is free and the plugin is ready ── in flight ─┬─ response            answered
                 │                                                               ├─ the process ends    502
                 │                                                               └─ deadline            504
                 ├─ the queue is full      429
                 ├─ the plugin is stopped  503
                 └─ deadline               504

A channel has one call in flight at a time, so a crash costs only that call. While two processes of a plugin run, the
active one gets the waiting calls and the other one finishes its own.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from reed.counters import Histogram
from reed.errors import BadAnswer, CallError, PluginBusy, PluginTimeout
from reed.loop.loop import Loop
from reed.loop.timers import Timer
from reed.wire.common import unpack_status
from reed.wire.structs import Bytes

Answered = Callable[[Bytes], None]  # gets the response payload, valid during the call only
Failed = Callable[[CallError], None]

_MAX_LATENCIES = 512
_MIN_STATUS, MAX_STATUS = 100, 599


@dataclass(slots=True, eq=False)
class PluginCall:
    """Ends once, with `answered` or `failed`."""

    action: str
    command_id: int
    payload: bytes
    timeout: float  # seconds
    answered: Answered
    failed: Failed
    origin: str = ""  # the calling plugin
    started_at: float = 0.0
    deadline: float = 0.0  # by the loop's clock
    ended: bool = False


def status_error(plugin: str, action: str, status: int) -> CallError:
    return BadAnswer(
        f"plugin {plugin}, action {action}: invalid status {status}",
        hint=f"a plugin answers with {_MIN_STATUS} to {MAX_STATUS}, an error with 400 to {MAX_STATUS}",
    )


class Channel(Protocol):
    """A connection to the plugin that carries one call at a time."""

    in_flight: PluginCall | None

    @property
    def process(self) -> object: ...

    def send_call(self, call: PluginCall) -> None: ...


class CallQueue:
    def __init__(self, name: str, loop: Loop, on_ended: Callable[[], None] = lambda: None) -> None:
        self.calls = 0
        self.errors = 0
        self._name = name
        self._loop = loop
        self._accepting = False
        self._waiting: deque[PluginCall] = deque()
        self._on_ended = on_ended
        self._channels: list[Channel] = []  # of the active process
        self._retired: list[Channel] = []  # of processes that finish their calls
        self._disconnected: list[tuple[object, PluginCall]] = []  # process and call whose channel closed
        self._refused = 0
        self._times = Histogram()  # of ended calls, with their time in the queue
        self._latencies: deque[float] = deque(maxlen=_MAX_LATENCIES)
        self._expiry: Timer | None = None
        self._expires_at = math.inf  # one timer for all deadlines, since few calls reach theirs

    def submit(self, call: PluginCall, limit: int) -> None:
        """Raises PluginBusy if `limit` calls wait."""
        if len(self._waiting) >= limit:
            self.errors += 1
            self._refused += 1
            raise PluginBusy(f"{len(self._waiting)} calls wait for plugin {self._name}", hint="try again later")
        now = call.started_at = self._loop.now()
        call.deadline = now + call.timeout
        if call.deadline < self._expires_at:
            self._arm_expiry(call.deadline, now)
        self.calls += 1
        self._waiting.append(call)
        self._dispatch()

    def set_accepting(self, accepting: bool) -> None:
        """Whether the plugin is READY."""
        self._accepting = accepting
        self._dispatch()

    def add_channel(self, channel: Channel) -> None:
        self._channels.append(channel)
        self._dispatch()

    def set_channels(self, channels: Iterable[Channel]) -> None:
        """Send calls to another process from now on."""
        self._retired += self._channels
        self._channels = [*channels]
        self._dispatch()

    def remove_channel(self, channel: Channel) -> None:
        """A closed channel's call ends with its process or at its deadline."""
        for channels in (self._channels, self._retired):
            if channel in channels:
                channels.remove(channel)
        if channel.in_flight is not None and not channel.in_flight.ended:
            self._disconnected.append((channel.process, channel.in_flight))
        channel.in_flight = None

    def answer(self, channel: Channel, payload: Bytes) -> None:
        """Raises Malformed."""
        status = unpack_status(payload)
        call, channel.in_flight = channel.in_flight, None
        if call is not None and not _MIN_STATUS <= status <= MAX_STATUS:
            error = status_error(self._name, call.action, status)
            self._fail([call], lambda _: error)
        elif call is not None and not call.ended:
            self._latencies.append(self._end(call))
            if status >= 500:
                self.errors += 1
            call.answered(payload)
        self._dispatch()

    def fail(self, channel: Channel, error: CallError) -> None:
        call, channel.in_flight = channel.in_flight, None
        if call is not None:
            self._fail([call], lambda _: error)
        self._dispatch()

    def fail_in_flight(self, process: object, error_for: Callable[[PluginCall], CallError]) -> None:
        calls = [call for its_process, call in self._disconnected if its_process is process]
        self._disconnected = [each for each in self._disconnected if each[0] is not process]
        for channel in self._channels + self._retired:
            if channel.process is process and channel.in_flight is not None:
                calls.append(channel.in_flight)
                channel.in_flight = None
        self._fail(calls, error_for)

    def remap(self, command_id_of: Callable[[PluginCall], int]) -> None:
        """Waiting calls get the command ids of the active process; calls of actions that it lacks fail."""
        for call in list(self._waiting):
            try:
                call.command_id = command_id_of(call)
            except CallError as error:
                self._waiting.remove(call)
                self._fail([call], lambda _, error=error: error)  # type: ignore[misc]

    def fail_waiting(self, error_for: Callable[[PluginCall], CallError]) -> None:
        waiting, self._waiting = list(self._waiting), deque()
        self._fail(waiting, error_for)

    def is_working(self, process: object) -> bool:
        return any(its_process is process and not call.ended for its_process, call in self._in_flight())

    def origins(self) -> set[str]:
        return {call.origin for _, call in self._in_flight() if call.origin and not call.ended}

    def stats(self) -> dict[str, object]:
        ordered = sorted(self._latencies)

        def quantile(part: float) -> float | None:
            return round(ordered[int(part * (len(ordered) - 1))] * 1000, 3) if ordered else None

        latency = {"p50": quantile(0.5), "p99": quantile(0.99)}
        return {
            "calls": self.calls,
            "errors": self.errors,
            "calls_waiting": len(self._waiting),
            "calls_in_flight": sum(not call.ended for _, call in self._in_flight()),
            "calls_refused": self._refused,
            "latency_ms": latency,
            "latency": self._times.as_json(),
        }

    def _in_flight(self) -> Iterator[tuple[object, PluginCall]]:
        """Calls on connected channels, with their process."""
        for channel in self._channels + self._retired:
            if channel.in_flight is not None:
                yield channel.process, channel.in_flight

    def _dispatch(self) -> None:
        while self._accepting and self._waiting:
            for channel in self._channels:
                if channel.in_flight is None:
                    break
            else:
                return
            call = channel.in_flight = self._waiting.popleft()
            channel.send_call(call)  # may remove the channel

    def _arm_expiry(self, when: float, now: float) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        self._expires_at = when
        self._expiry = self._loop.call_later(when - now, self._expire_calls)

    def _expire_calls(self) -> None:
        self._expiry, self._expires_at = None, math.inf
        now = self._loop.now()
        in_flight = [call for _, call in (*self._in_flight(), *self._disconnected)]
        for call in [*self._waiting, *in_flight]:
            if not call.ended and call.deadline <= now:
                self._time_out(call)
            elif not call.ended and call.deadline < self._expires_at:
                self._arm_expiry(call.deadline, now)

    def _time_out(self, call: PluginCall) -> None:
        if call in self._waiting:
            self._waiting.remove(call)
            what = f"not started within {call.timeout:g} s: the plugin was busy or not running"
        else:
            what = f"no response within {call.timeout:g} s"
        error = PluginTimeout(
            f"plugin {self._name}, action {call.action}: {what}",
            hint=f"see `reed plugin status {self._name}` and its timeout in plugin.yaml",
        )
        self._fail([call], lambda _: error)

    def _fail(self, calls: list[PluginCall], error_for: Callable[[PluginCall], CallError]) -> None:
        for call in calls:
            if not call.ended:
                self.errors += 1
                self._end(call)
                call.failed(error_for(call))

    def _end(self, call: PluginCall) -> float:
        """Returns how long it took."""
        call.ended = True
        seconds = self._loop.now() - call.started_at
        self._times.add(seconds)
        self._on_ended()
        return seconds
