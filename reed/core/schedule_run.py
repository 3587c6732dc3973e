"""One schedule of a plugin as this core knows it: its rule, its row in the store, and what it waits for.

Schedule (plugin.yaml, reed.yaml) ── Task ── ScheduleState (the store)

state      meaning
waiting    for `due`
running    this core calls the action
paused     the plugin is not running; if it was due meanwhile, it runs once as soon as the plugin is ready
off        switched off in plugin.yaml or reed.yaml
error      it has no due time: `problem` says why
"""

from __future__ import annotations

from datetime import tzinfo
from typing import Any

from reed.errors import ReedError
from reed.store.schedules import ScheduleState
from reed.supervision.lifecycle import PRESENT, State
from reed.supervision.schedule import Schedule, iso
from reed.wire import strict_json
from reed.wire.common import unpack_status
from reed.wire.structs import STATUS, Bytes

OFF = "off"  # the rule of a schedule without due times
MICROSECONDS = 1_000_000
_MAX_ERROR = 500  # characters
_FIRST_ERROR = 400


class Task:
    def __init__(self, plugin: str, name: str, schedule: Schedule, zone: tzinfo) -> None:
        self.plugin = plugin
        self.name = name
        self.schedule = schedule
        self.problem = ""
        self.state: ScheduleState | None = None  # None: not yet read
        self.is_running = False
        self.is_planning = False
        self.retry_at = 0.0  # by the loop's clock: the store failed, or another core runs it
        self._zone = zone

    @property
    def due(self) -> float:
        """Seconds since 1970; 0: never."""
        return self.state.due / MICROSECONDS if self.state is not None else 0.0

    @property
    def rule(self) -> str:
        """As the store keeps it."""
        return str(self.schedule.rule) if self.schedule.enabled and not self.problem else OFF

    def first_due(self, now: float) -> int:
        """Microseconds; 0, and `problem`, if it has none."""
        self.problem = ""
        if not self.schedule.enabled:
            return 0
        try:
            return int(self.schedule.rule.first_due(now, self._zone) * MICROSECONDS)
        except ReedError as error:
            self.problem = str(error)
            return 0

    def after_run(self, began: float, now: float, due: float, error: str, *, by_hand: bool) -> ScheduleState:
        """The row after a run that was due at `due`."""
        assert self.state is not None
        following, skipped = self.due, False
        if self.rule == OFF:
            following = 0.0
        elif not by_hand or following <= now:
            rule = self.schedule.rule
            following = rule.next_due(self.due, began, now, self._zone)
            skipped = rule.next_due(self.due, began, began, self._zone) <= now
        return self.state._replace(
            due=int(following * MICROSECONDS),
            last_due=int(due * MICROSECONDS),
            began=int(began * MICROSECONDS),
            ended=int(now * MICROSECONDS),
            error=error[:_MAX_ERROR],
            runs=self.state.runs + 1,
            failures=self.state.failures + bool(error),
            skipped=self.state.skipped + skipped,
        )

    def corrected(self, now: float) -> int:
        """The due time, in microseconds, after a jump of the clock."""
        assert self.state is not None
        due = self.schedule.rule.corrected(self.due, now, self.state.last_due / MICROSECONDS, self._zone)
        return int(due * MICROSECONDS)

    def payload(self, due: float) -> bytes:
        """What the action gets."""
        return strict_json.dumps({"schedule": self.name, "due": iso(due, self._zone)})

    def describe(self, plugin_state: State) -> dict[str, Any]:
        """For PLUGIN_HEALTH and PLUGIN_LIST."""
        state, schedule = self.state, self.schedule
        if self.is_running or (state is not None and state.is_running):
            status = "running"
        elif self.problem:
            status = "error"
        elif not schedule.enabled:
            status = "off"
        else:
            status = "waiting" if plugin_state in PRESENT else "paused"
        return {
            "name": self.name,
            "action": schedule.action,
            "rule": str(schedule.rule),
            "changed_by": schedule.changed_by,
            "state": status,
            "problem": self.problem,
            "due": self._iso(state.due if state else 0),
            "last_due": self._iso(state.last_due if state else 0),
            "last_run": self._iso(state.began if state else 0),
            "last_seconds": round((state.ended - state.began) / MICROSECONDS, 3) if state else 0,
            "last_error": state.error if state else "",
            "runs": state.runs if state else 0,
            "failures": state.failures if state else 0,
            "skipped": state.skipped if state else 0,
        }

    def _iso(self, microseconds: int) -> str | None:
        return iso(microseconds / MICROSECONDS, self._zone) if microseconds else None


def error_in(answer: Bytes) -> str:
    """Empty if the plugin's answer is no error."""
    status = unpack_status(answer)
    if status < _FIRST_ERROR:
        return ""
    body = bytes(memoryview(answer)[STATUS.size :][:_MAX_ERROR]).decode("utf-8", "replace")
    return f"status {status}{': ' if body else ''}{body}"
