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
MIN_STATUS, MAX_STATUS = 100, 599


class CallInFlight(Protocol):
    """Ends once, with `answered` or `failed`."""

    started_at: float  # by the loop's clock
    deadline: float  # by the loop's clock
    ended: bool

    @property
    def action(self) -> str: ...
    @property
    def action_id(self) -> int: ...
    @property
    def timeout(self) -> float:
        """In seconds."""

    @property
    def caller_plugin(self) -> str:
        """The calling plugin; "" for a person and for the core."""

    def answered(self, payload: Bytes, /) -> None: ...
    def failed(self, error: CallError, /) -> None: ...


@dataclass(slots=True, eq=False)
class PluginCall:
    """A CallInFlight that may wait."""

    action: str
    action_id: int
    payload: bytes
    timeout: float
    answered: Answered
    failed: Failed
    caller_plugin: str = ""
    started_at: float = 0.0
    deadline: float = 0.0
    ended: bool = False


def status_error(plugin: str, action: str, status: int) -> CallError:
    return BadAnswer(
        f"plugin {plugin}, action {action}: invalid status {status}",
        hint=f"a plugin answers with {MIN_STATUS} to {MAX_STATUS}, an error with 400 to {MAX_STATUS}",
    )


class Channel(Protocol):
    """A connection to the plugin that carries one call at a time."""

    in_flight: CallInFlight | None

    @property
    def process(self) -> object: ...

    @property
    def write(self) -> Callable[[Bytes], None]:
        """Sends a frame at once (Stream.send_now)."""

    def send_call(self, call: PluginCall) -> None: ...


class CallQueue:
    def __init__(self, name: str, loop: Loop) -> None:
        self.calls = 0
        self.errors = 0
        self._name = name
        self._loop = loop
        self._accepting = False
        self.waiting: deque[PluginCall] = deque()
        self.on_ended: Callable[[], None] | None = None
        self._channels: list[Channel] = []  # of the active process
        self._retired: list[Channel] = []  # of processes that finish their calls
        self._disconnected: list[tuple[object, CallInFlight]] = []  # process and call whose channel closed
        self._refused = 0
        self._times = Histogram()  # of ended calls, with their time in the queue
        self._latencies: deque[float] = deque(maxlen=_MAX_LATENCIES)
        self._expiry: Timer | None = None
        self._expires_at = math.inf  # one timer for all deadlines, since few calls reach theirs

    def submit(self, call: PluginCall, limit: int) -> None:
        """Raises PluginBusy if `limit` calls wait."""
        if len(self.waiting) >= limit:
            self.errors += 1
            self._refused += 1
            raise PluginBusy(f"{len(self.waiting)} calls wait for plugin {self._name}", hint="try again later")
        call.started_at = self._loop.now()
        self.begin(call)
        self.waiting.append(call)
        self.dispatch()

    def begin(self, call: CallInFlight) -> None:
        """Count a call, and watch over its deadline: `submit`, or who puts it on a free channel."""
        deadline = call.deadline = call.started_at + call.timeout
        if deadline < self._expires_at:
            self._arm_expiry(deadline, self._loop.now())
        self.calls += 1

    def free_channel(self) -> Channel | None:
        """One that can carry a call now; then none waits (`dispatch`)."""
        if self._accepting:
            for channel in self._channels:
                if channel.in_flight is None:
                    return channel
        return None

    def dispatch(self) -> None:
        """Send what waits, as far as channels are free."""
        while self.waiting and (channel := self.free_channel()) is not None:
            call = channel.in_flight = self.waiting.popleft()
            channel.send_call(call)  # may remove the channel

    def set_accepting(self, accepting: bool) -> None:
        """Whether the plugin is READY."""
        self._accepting = accepting
        self.dispatch()

    def add_channel(self, channel: Channel) -> None:
        self._channels.append(channel)
        self.dispatch()

    def set_channels(self, channels: Iterable[Channel]) -> None:
        """Send calls to another process from now on."""
        self._retired += self._channels
        self._channels = [*channels]
        self.dispatch()

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
        if call is not None and not MIN_STATUS <= status <= MAX_STATUS:
            error = status_error(self._name, call.action, status)
            self._fail([call], lambda _: error)
        elif call is not None and not call.ended:
            self.end(call, status)
            call.answered(payload)
        self.dispatch()

    def fail(self, channel: Channel, error: CallError) -> None:
        call, channel.in_flight = channel.in_flight, None
        if call is not None:
            self._fail([call], lambda _: error)
        self.dispatch()

    def fail_in_flight(self, process: object, error_for: Callable[[CallInFlight], CallError]) -> None:
        calls = [call for its_process, call in self._disconnected if its_process is process]
        self._disconnected = [each for each in self._disconnected if each[0] is not process]
        for channel in self._channels + self._retired:
            if channel.process is process and channel.in_flight is not None:
                calls.append(channel.in_flight)
                channel.in_flight = None
        self._fail(calls, error_for)

    def remap(self, action_id_of: Callable[[PluginCall], int]) -> None:
        """Waiting calls get the command ids of the active process; calls of actions that it lacks fail."""
        for call in list(self.waiting):
            try:
                call.action_id = action_id_of(call)
            except CallError as error:
                self.waiting.remove(call)
                self._fail([call], lambda _, error=error: error)  # type: ignore[misc]

    def fail_waiting(self, error_for: Callable[[CallInFlight], CallError]) -> None:
        waiting, self.waiting = list(self.waiting), deque()
        self._fail(waiting, error_for)

    def is_working(self, process: object) -> bool:
        return any(its_process is process and not call.ended for its_process, call in self._in_flight())

    def origins(self) -> set[str]:
        return {call.caller_plugin for _, call in self._in_flight() if call.caller_plugin and not call.ended}

    def stats(self) -> dict[str, object]:
        ordered = sorted(self._latencies)

        def quantile(part: float) -> float | None:
            return round(ordered[int(part * (len(ordered) - 1))] * 1000, 3) if ordered else None

        latency = {"p50": quantile(0.5), "p99": quantile(0.99)}
        return {
            "calls": self.calls,
            "errors": self.errors,
            "calls_waiting": len(self.waiting),
            "calls_in_flight": sum(not call.ended for _, call in self._in_flight()),
            "calls_refused": self._refused,
            "latency_ms": latency,
            "latency": self._times.as_json(),
        }

    def _in_flight(self) -> Iterator[tuple[object, CallInFlight]]:
        """Calls on connected channels, with their process."""
        for channel in self._channels + self._retired:
            if channel.in_flight is not None:
                yield channel.process, channel.in_flight

    def _arm_expiry(self, when: float, now: float) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        self._expires_at = when
        self._expiry = self._loop.call_later(when - now, self._expire_calls)

    def _expire_calls(self) -> None:
        self._expiry, self._expires_at = None, math.inf
        now = self._loop.now()
        in_flight = [call for _, call in (*self._in_flight(), *self._disconnected)]
        for call in [*self.waiting, *in_flight]:
            if not call.ended and call.deadline <= now:
                self._time_out(call)
            elif not call.ended and call.deadline < self._expires_at:
                self._arm_expiry(call.deadline, now)

    def _time_out(self, call: CallInFlight) -> None:
        if isinstance(call, PluginCall) and call in self.waiting:
            self.waiting.remove(call)
            what = f"not started within {call.timeout:g} s: the plugin was busy or not running"
        else:
            what = f"no response within {call.timeout:g} s"
        error = PluginTimeout(
            f"plugin {self._name}, action {call.action}: {what}",
            hint=f"see `reed plugin status {self._name}` and its timeout in plugin.yaml",
        )
        self._fail([call], lambda _: error)

    def _fail(self, calls: Iterable[CallInFlight], error_for: Callable[[CallInFlight], CallError]) -> None:
        for call in calls:
            if not call.ended:
                self.end(call)
                call.failed(error_for(call))

    def end(self, call: CallInFlight, status: int = 0) -> None:
        """Before the caller gets its answer; `status`: the plugin's, 0 if the call failed."""
        call.ended = True
        seconds = self._loop.now() - call.started_at
        self._times.add(seconds)
        if status:
            self._latencies.append(seconds)
        if not status or status >= 500:
            self.errors += 1
        if self.on_ended is not None:
            self.on_ended()
