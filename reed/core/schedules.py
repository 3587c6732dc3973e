"""Schedules: calls actions of plugins at the times that plugin.yaml and reed.yaml say (guide/schedules.md).

    refresh ── plan: a row in the store ──▶ waiting ── due, the plugin is present ── begin ──▶ call ── end ──▶ waiting
                                               ▲                                       └─ another core runs it ─┐
                                               └─────────────── look again after RETRY_SECONDS ─────────────────┘

One timer serves all schedules. It ends at the next due time, but after LOOK_SECONDS at the latest: the wall clock may
have been set meanwhile, or the machine may have slept. Without schedules there is no timer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from datetime import tzinfo
from functools import partial
from typing import Any

from reed.core.call_queue import Answered
from reed.core.plugin_endpoint import PluginEndpoint
from reed.core.schedule_run import MICROSECONDS, Task, error_in
from reed.errors import CallError, Conflict, NotFound, PluginOffline, StoreUnavailable, nearest
from reed.loop.loop import Loop
from reed.loop.timers import Timer
from reed.peer_log import THE_CORE, PeerLog
from reed.store.base import Failed, Store
from reed.store.schedules import ScheduleState
from reed.supervision.lifecycle import AT_REST, PRESENT
from reed.supervision.schedule import LOCAL_TIME, iso
from reed.wire.structs import Bytes

LOOK_SECONDS = 60.0
RETRY_SECONDS = 5.0
_JUMP_SECONDS = 2.0  # by which the wall clock may differ from the loop's between two looks
_LATE_SECONDS = 5.0  # a run that begins later is logged


class Schedules:
    def __init__(
        self,
        store: Store,
        endpoints: Mapping[str, PluginEndpoint],
        has_row: Callable[[str], bool],
        loop: Loop,
        log: PeerLog,
        *,
        wall: Callable[[], float] = time.time,
        zone: tzinfo = LOCAL_TIME,
    ) -> None:
        """`wall`: seconds since 1970."""
        self._table = store.schedules
        self._endpoints = endpoints
        self._has_row = has_row
        self._loop = loop
        self._log = log
        self._wall = wall
        self._zone = zone
        self._tasks: dict[tuple[str, str], Task] = {}
        self._stored: dict[tuple[str, str], ScheduleState] | None = None  # at the start of the core; None: not yet read
        self._is_loading = False
        self._timer: Timer | None = None
        self._offset = 0.0  # of the wall clock from the loop's, when it was last looked at
        self._problem = ""  # of the store
        self._is_closed = False

    # Which schedules there are.

    def refresh(self) -> None:
        """Rows or manifests changed."""
        for name, endpoint in self._endpoints.items():
            if endpoint.plugin.spec is not None:
                self._refresh_plugin(name, endpoint)
        gone = {plugin for plugin, _ in self._tasks if not self._has_row(plugin)}
        for key in [key for key in self._tasks if key[0] in gone]:
            del self._tasks[key]
        if self._stored is None:
            self._load()
            return
        for plugin in gone:
            self._forget(plugin, ())
        for task in self._tasks.values():
            self._plan_new(task)
        self._arm()

    def _refresh_plugin(self, plugin: str, endpoint: PluginEndpoint) -> None:
        assert endpoint.plugin.spec is not None
        wanted = endpoint.plugin.spec.schedules
        for key in [key for key in self._tasks if key[0] == plugin and key[1] not in wanted]:
            del self._tasks[key]
            if self._stored is not None:
                self._forget(plugin, wanted)
        for name, schedule in wanted.items():
            task = self._tasks.get((plugin, name))
            if task is None:
                task = self._tasks[plugin, name] = Task(plugin, name, schedule, self._zone)
            elif task.schedule != schedule:
                task.schedule = schedule
            else:
                continue
            task.first_due(self._wall())  # to know its problem
            if task.problem:
                self._log.error("%s: the schedule %s does not run: %s", plugin, name, task.problem, peer=plugin)

    def _load(self) -> None:
        if self._is_loading:
            return
        self._is_loading = True

        def loaded(states: list[ScheduleState]) -> None:
            self._is_loading = False
            self._stored = {(state.plugin, state.name): state for state in states}
            for plugin, name in list(self._stored):
                spec = self._endpoints[plugin].plugin.spec if plugin in self._endpoints else None
                if spec is not None and name not in spec.schedules:
                    self._forget(plugin, spec.schedules)
                elif not self._has_row(plugin):
                    self._forget(plugin, ())
            self.refresh()

        def failed(error: CallError) -> None:
            self._is_loading = False
            self._report(error)
            self._loop.call_later(RETRY_SECONDS, self._load)

        self._ask(self._table.load, loaded, failed)

    def _plan_new(self, task: Task) -> None:
        """Take its row, or make one; of another rule it gets another due time."""
        assert self._stored is not None
        if task.is_planning or task.is_running or self._tasks.get((task.plugin, task.name)) is not task:
            return
        if task.state is None:
            task.state = self._stored.pop((task.plugin, task.name), None)
        if task.state is None or task.state.rule != task.rule:
            self._plan(task, task.first_due(self._wall()), 0)

    def _plan(self, task: Task, due: int, instead_of: int) -> None:
        task.is_planning = True

        def planned(state: ScheduleState) -> None:
            task.is_planning = False
            task.state = state
            self._plan_new(task)  # its schedule may have changed meanwhile
            self._arm()

        def failed(error: CallError) -> None:
            task.is_planning = False
            self._report(error)
            again = partial(self._plan, task, due, instead_of) if instead_of else partial(self._plan_new, task)
            self._loop.call_later(RETRY_SECONDS, again)

        self._ask(partial(self._table.plan, task.plugin, task.name, task.rule, due, instead_of), planned, failed)

    def _forget(self, plugin: str, keep: Collection[str]) -> None:
        assert self._stored is not None
        for key in [key for key in self._stored if key[0] == plugin and key[1] not in keep]:
            del self._stored[key]
        self._ask(partial(self._table.forget, plugin, tuple(keep)), lambda _: None, self._report)

    # When they are due.

    def state_changed(self, name: str) -> None:
        """A plugin may be ready, and a run may have been missed."""
        if self._tasks and self._endpoints[name].plugin.state in PRESENT:
            self._arm()

    def _arm(self) -> None:
        wall, now = self._wall(), self._loop.now()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        else:
            self._offset = wall - now
        if self._is_closed or not any(task.due for task in self._tasks.values()):
            return
        wait = LOOK_SECONDS
        for task in self._tasks.values():
            if self._may_run(task):
                wait = min(wait, max(task.due - wall, task.retry_at - now))
        self._timer = self._loop.call_later(max(wait, 0.0), self._look)

    def _look(self) -> None:
        wall, now = self._wall(), self._loop.now()
        offset, self._offset = self._offset, wall - now
        if abs(self._offset - offset) > _JUMP_SECONDS:
            self._clock_jumped(wall, self._offset - offset)
        for task in list(self._tasks.values()):
            if self._may_run(task) and task.due <= wall and task.retry_at <= now:
                assert task.state is not None
                self._begin(task, task.state.due, self._run_due, self._retry)
        self._arm()

    def _clock_jumped(self, wall: float, seconds: float) -> None:
        self._log.info("the clock was set by %+.0f s, or the machine slept", seconds, peer=THE_CORE)
        for task in self._tasks.values():
            if task.state is not None and task.due > wall and not task.is_running and not task.is_planning:
                due = task.corrected(wall)
                if due != task.state.due:
                    self._plan(task, due, task.state.due)

    def _may_run(self, task: Task) -> bool:
        """Is it waiting for its due time, or for `retry_at`?"""
        endpoint = self._endpoints.get(task.plugin)
        is_present = endpoint is not None and endpoint.plugin.state in PRESENT
        return bool(is_present and task.due and not task.is_running and not task.is_planning)

    # Runs.

    def run_by_hand(self, endpoint: PluginEndpoint, name: str, answered: Answered, failed: Failed) -> None:
        """Run it now; its next due time stays. Raises NotFound, Conflict, PluginOffline, or calls `failed` with one."""
        task = self._tasks.get((endpoint.name, name))
        if task is None:
            names = [name for plugin, name in self._tasks if plugin == endpoint.name]
            hint = nearest(name, names) or f"it has: {', '.join(sorted(names)) or 'none'}"
            raise NotFound(f"plugin {endpoint.name} has no schedule {name!r}", hint=hint)
        if task.state is None or task.is_planning:
            raise StoreUnavailable(f"the schedules of {endpoint.name} are not yet read", hint="retry")
        if task.is_running:
            raise Conflict(f"the schedule {name} of {endpoint.name} is running", hint="wait until it has ended")
        if endpoint.plugin.state in AT_REST:
            raise endpoint.offline_error()

        def refused(_: Task, error: CallError | None) -> None:
            self._arm()
            failed(error or Conflict(f"the schedule {name} of {endpoint.name} is running on another core"))

        self._begin(task, 0, lambda task: self._call(task, self._wall(), answered, failed), refused)

    def _begin(
        self, task: Task, due: int, run: Callable[[Task], None], refused: Callable[[Task, CallError | None], None]
    ) -> None:
        """Take the lease, then `run`."""
        task.is_running = True

        def begun(state: ScheduleState | None) -> None:
            task.state = state
            if state is not None and state.is_running:
                run(task)
                return
            task.is_running = False
            if state is None:
                self._plan_new(task)  # another core has deleted its row
            refused(task, None)

        def failed(error: CallError) -> None:
            task.is_running = False
            refused(task, error)

        self._ask(partial(self._table.begin, task.plugin, task.name, due), begun, failed)

    def _run_due(self, task: Task) -> None:
        late = self._wall() - task.due
        if late > _LATE_SECONDS:
            what = f"was due at {iso(task.due, self._zone)}; it runs now"
            self._log.info("%s: the schedule %s %s", task.plugin, task.name, what, peer=task.plugin)
        self._call(task, task.due)

    def _call(self, task: Task, due: float, answered: Answered | None = None, failed: Failed | None = None) -> None:
        """`answered`, `failed`: of a run by hand."""
        began = self._wall()

        def on_answer(payload: Bytes) -> None:
            if answered is not None:
                answered(payload)
            self._ended(task, began, due, error_in(payload), by_hand=answered is not None)

        def on_failure(error: CallError) -> None:
            if failed is not None:
                failed(error)
            elif isinstance(error, PluginOffline):  # the plugin is being stopped: it is due when it runs again
                self._release(task)
                return
            self._ended(task, began, due, str(error), by_hand=failed is not None)

        endpoint = self._endpoints.get(task.plugin)
        if endpoint is None:  # its row was removed
            on_failure(PluginOffline(f"plugin {task.plugin} was removed"))
            return
        try:
            action = endpoint.action(task.schedule.action)
            endpoint.call(action, task.payload(due), on_answer, on_failure)
        except CallError as error:
            on_failure(error)

    def _ended(self, task: Task, began: float, due: float, error: str, *, by_hand: bool) -> None:
        state = task.after_run(began, self._wall(), due, error, by_hand=by_hand)
        if error:
            self._log.error("%s: the schedule %s failed: %s", task.plugin, task.name, error, peer=task.plugin)
        if task.state is not None and state.skipped > task.state.skipped:
            text = "%s: the schedule %s was due again while it ran; that run is skipped"
            self._log.warning(text, task.plugin, task.name, peer=task.plugin)
        self._save(task, state)

    def _release(self, task: Task) -> None:
        """Give up the lease; the due time stays."""
        assert task.state is not None
        self._save(task, task.state)

    def _save(self, task: Task, state: ScheduleState) -> None:
        """Again and again, because a due time that is not written is due again after a restart."""
        task.state = state

        def saved(_: None) -> None:
            task.is_running = False
            task.state = state._replace(is_running=False)
            if self._tasks.get((task.plugin, task.name)) is task:
                self._plan_new(task)  # its schedule may have changed meanwhile
            self._arm()

        def failed(error: CallError) -> None:
            self._report(error)
            self._loop.call_later(RETRY_SECONDS, partial(self._save, task, state))

        self._ask(partial(self._table.end, state), saved, failed)

    # The store.

    def _ask(self, operation: Callable[..., None], done: Callable[[Any], None], failed: Failed) -> None:
        def answered(value: Any) -> None:
            self._problem = ""
            done(value)

        try:
            operation(answered, failed)
        except CallError as error:
            failed(error)

    def _retry(self, task: Task, error: CallError | None) -> None:
        """The store failed; without `error` another core has run it, or runs it."""
        task.retry_at = self._loop.now() + RETRY_SECONDS
        if error is not None:
            self._report(error)
        elif task.due > self._wall():
            task.retry_at = 0.0
        self._arm()

    def _report(self, error: CallError) -> None:
        if str(error) != self._problem:
            self._problem = str(error)
            self._log.error("the store of the schedules failed, and is asked again: %s", error, peer=THE_CORE)

    # Reports.

    def describe(self, plugin: str) -> list[dict[str, Any]]:
        """The schedules of a plugin."""
        state = self._endpoints[plugin].plugin.state
        return [task.describe(state) for (each, _), task in self._tasks.items() if each == plugin]

    def stats(self) -> dict[str, Any]:
        """For SYSTEM_STATS."""
        states = [task.state for task in self._tasks.values() if task.state is not None]
        due = min((state.due for state in states if state.due), default=0)
        return {
            "count": len(self._tasks),
            "running": sum(task.is_running for task in self._tasks.values()),
            "next_due": iso(due / MICROSECONDS, self._zone) if due else None,
            "runs": sum(state.runs for state in states),
            "failures": sum(state.failures for state in states),
            "skipped": sum(state.skipped for state in states),
        }

    def close(self) -> None:
        """Begin no more runs; those under way are written when they end."""
        self._is_closed = True
        self._arm()
