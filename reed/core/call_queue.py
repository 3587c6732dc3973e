"""Calls that the core makes to a plugin: those it holds, and those that wait.

    ask ── waiting ── a free connection, and the plugin is ready ── held ─┬─ response          answered
              │                                                          ├─ its process ends  502, with its last lines
              │                                                          └─ timeout           504; its answer is dropped
              ├─ the queue is full      429
              ├─ the plugin is stopped  503
              └─ timeout                504

A connection holds one call at a time: a crash costs that call alone, and those that wait go to the next process. Where
two processes of the plugin run, those that wait go to the active one (`use`), and the other finishes what it holds.
Nearly every call ends long before its timeout: the queue has one timer for all of them, which looks at those that are
left when the first of them might be late.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Protocol

from reed.errors import BadAnswer, CallError, PluginBusy, PluginTimeout
from reed.loop.loop import Loop
from reed.loop.timers import Timer
from reed.wire.common import unpack_status
from reed.wire.structs import Bytes

Answered = Callable[[Bytes], None]  # the response's payload, status and body; it is lent
Failed = Callable[[CallError], None]

_LATENCIES_KEPT = 512
_FIRST_STATUS, LAST_STATUS = 100, 599  # of HTTP


class PluginCall:
    """One call of an action. It ends once: with `answered` or `failed`."""

    __slots__ = (
        "action",
        "answered",
        "asked_at",
        "command_id",
        "due",
        "ended",
        "failed",
        "origin",
        "payload",
        "timeout",
    )

    def __init__(
        self,
        action: str,
        command_id: int,
        payload: bytes,
        timeout: float,
        answered: Answered,
        failed: Failed,
        origin: str = "",
    ) -> None:
        """`origin`: the plugin that it comes from, if it comes from one."""
        self.action = action
        self.command_id = command_id
        self.payload = payload
        self.timeout = timeout
        self.answered = answered
        self.failed = failed
        self.origin = origin
        self.asked_at = 0.0
        self.due = 0.0  # by the loop's clock: when its time is over
        self.ended = False


def out_of_range(plugin: str, action: str, status: int) -> CallError:
    """The error that a caller gets in the place of an answer whose status is none."""
    return BadAnswer(
        f"plugin {plugin}, action {action}: answered with the status {status}, which is none",
        hint=f"a plugin answers with {_FIRST_STATUS} to {LAST_STATUS}, an error with 400 to {LAST_STATUS}",
    )


class Lane(Protocol):
    """A connection to the plugin that takes one call at a time."""

    held: PluginCall | None

    @property
    def process(self) -> object:
        """Whose connection it is: a call that it holds ends with that process at the latest."""

    def send_call(self, call: PluginCall) -> None: ...


class CallQueue:
    """The calls to one plugin, and their figures."""

    def __init__(self, name: str, loop: Loop, on_ended: Callable[[], None] = lambda: None) -> None:
        """`on_ended` is called when a call has ended."""
        self.calls = 0
        self.errors = 0
        self._name = name
        self._loop = loop
        self._open = False
        self._waiting: deque[PluginCall] = deque()
        self._on_ended = on_ended
        self._lanes: list[Lane] = []  # of the active process
        self._retired: list[Lane] = []  # of those before it: what they hold is finished
        self._orphans: list[tuple[object, PluginCall]] = []  # their connection closed; how they end, the exit will tell
        self._latencies: deque[float] = deque(maxlen=_LATENCIES_KEPT)
        self._look: Timer | None = None
        self._looks_at = math.inf  # no call is due before

    def ask(self, call: PluginCall, limit: int) -> None:
        """Let the call wait for its turn; PluginBusy when `limit` calls wait already."""
        if len(self._waiting) >= limit:
            self.errors += 1
            raise PluginBusy(f"{len(self._waiting)} calls wait for plugin {self._name}", hint="try again later")
        now = call.asked_at = self._loop.now()
        call.due = now + call.timeout
        if call.due < self._looks_at:
            self._arm_expiry(call.due, now)
        self.calls += 1
        self._waiting.append(call)
        self._hand_out()

    def set_accepting(self, is_open: bool) -> None:
        """Whether the plugin takes calls now: READY opens, BUSY and everything else closes."""
        self._open = is_open
        self._hand_out()

    def add_lane(self, lane: Lane) -> None:
        self._lanes.append(lane)
        self._hand_out()

    def use(self, lanes: list[Lane]) -> None:
        """Another process is active, and these are its lanes."""
        self._retired += self._lanes
        self._lanes = lanes
        self._hand_out()

    def remove_lane(self, lane: Lane) -> None:
        for lanes in (self._lanes, self._retired):
            if lane in lanes:
                lanes.remove(lane)
        if lane.held is not None and not lane.held.ended:
            self._orphans.append((lane.process, lane.held))
        lane.held = None

    def answer(self, lane: Lane, payload: Bytes) -> None:
        """The plugin answered the call that `lane` held with this response. Raises Malformed."""
        status = unpack_status(payload)
        call, lane.held = lane.held, None
        if call is not None and not _FIRST_STATUS <= status <= LAST_STATUS:
            error = out_of_range(self._name, call.action, status)
            self._fail([call], lambda _: error)
        elif call is not None and not call.ended:
            self._end(call)
            if status >= 500:
                self.errors += 1
            self._latencies.append(self._loop.now() - call.asked_at)
            call.answered(payload)
        self._hand_out()

    def refuse(self, lane: Lane, error: CallError) -> None:
        """The plugin answered the call that `lane` held with an ErrorResponse."""
        call, lane.held = lane.held, None
        if call is not None:
            self._fail([call], lambda _: error)
        self._hand_out()

    def fail_in_flight(self, process: object, error_for: Callable[[PluginCall], CallError]) -> None:
        """That process is gone: what it held cannot be answered any more."""
        held = [call for whose, call in self._orphans if whose is process]
        self._orphans = [orphan for orphan in self._orphans if orphan[0] is not process]
        for lane in self._lanes + self._retired:
            if lane.process is process and lane.held is not None:
                held.append(lane.held)
                lane.held = None
        self._fail(held, error_for)

    def remap(self, command_id_of: Callable[[PluginCall], int]) -> None:
        """The active process has actions of its own: what waits is asked by its ids. What it has not, fails."""
        for call in list(self._waiting):
            try:
                call.command_id = command_id_of(call)
            except CallError as error:
                self._waiting.remove(call)
                self._fail([call], lambda _, error=error: error)  # type: ignore[misc]

    def fail_waiting(self, error_for: Callable[[PluginCall], CallError]) -> None:
        """The plugin will not run: nobody waits for it any longer."""
        waiting, self._waiting = list(self._waiting), deque()
        self._fail(waiting, error_for)

    def is_working(self, process: object) -> bool:
        """Whether that process holds a call whose time is not over."""
        lanes = self._lanes + self._retired
        return any(lane.process is process and lane.held is not None and not lane.held.ended for lane in lanes)

    def origins(self) -> set[str]:
        """The plugins whose calls are held now."""
        held = [lane.held for lane in self._lanes + self._retired]
        return {call.origin for call in held if call is not None and call.origin and not call.ended}

    def figures(self) -> dict[str, object]:
        ordered = sorted(self._latencies)

        def at(part: float) -> float | None:
            return round(ordered[int(part * (len(ordered) - 1))] * 1000, 3) if ordered else None

        return {"calls": self.calls, "errors": self.errors, "latency_ms": {"p50": at(0.5), "p99": at(0.99)}}

    def _hand_out(self) -> None:
        while self._open and self._waiting:
            for lane in self._lanes:
                if lane.held is None:
                    break
            else:
                return
            call = lane.held = self._waiting.popleft()
            lane.send_call(call)  # which may find that the connection is dead: then the lane is no longer there

    def _arm_expiry(self, when: float, now: float) -> None:
        if self._look is not None:
            self._look.cancel()
        self._looks_at = when
        self._look = self._loop.call_later(when - now, self._expire_calls)

    def _expire_calls(self) -> None:
        """End the calls whose time is over, and look again when the next one's is."""
        self._look, self._looks_at = None, math.inf
        now = self._loop.now()
        held = [lane.held for lane in self._lanes + self._retired if lane.held is not None]
        for call in [*self._waiting, *held, *(call for _, call in self._orphans)]:
            if not call.ended and call.due <= now:
                self._time_out(call)
            elif not call.ended and call.due < self._looks_at:
                self._arm_expiry(call.due, now)

    def _time_out(self, call: PluginCall) -> None:
        if call in self._waiting:
            self._waiting.remove(call)
            doing = "waited for it"
        else:
            doing = "it did not answer"
        error = PluginTimeout(
            f"plugin {self._name}, action {call.action}: {doing} for {call.timeout:g} s",
            hint=f"see `reed plugin status {self._name}` and its timeout in plugin.yaml",
        )
        self._fail([call], lambda _: error)

    def _fail(self, calls: list[PluginCall], error_for: Callable[[PluginCall], CallError]) -> None:
        for call in calls:
            if not call.ended:
                self.errors += 1
                self._end(call)
                call.failed(error_for(call))

    def _end(self, call: PluginCall) -> None:
        call.ended = True
        self._on_ended()
