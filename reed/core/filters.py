"""Filters: plugins that check, change or refuse a snippet before it is written (events.md#filters).

    CREATE, UPDATE ── WriteQueue ── a filter ── the next, in the registry's order ── the store checks and writes

While no plugin has a filter (`idle`), writes go straight to the store.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from reed.core.calls import Call, CallOrigin
from reed.core.filter_result import FilterResult
from reed.core.json_checks import JsonChecks
from reed.core.plugin_endpoint import PluginEndpoint
from reed.core.write_queue import WriteQueue
from reed.errors import CallError, ErrorCode, Invalid, PermissionDenied
from reed.peer_log import PeerLog
from reed.store.base import Done, Failed, Store
from reed.supervision.manifest import FILTERS, Filter
from reed.wire import strict_json
from reed.wire.plugins import PluginAnswer
from reed.wire.strict_json import Json
from reed.wire.structs import Bytes

_KEPT_STATUSES = frozenset({429, 502, 503, 504})  # any other would look like an error in the snippet


class _Step(NamedTuple):
    endpoint: PluginEndpoint
    filter: Filter


class Filters:
    def __init__(
        self,
        store: Store,
        endpoints: Mapping[str, PluginEndpoint],
        has_row: Callable[[str], bool],
        max_bytes: int,
        checks: JsonChecks,
        log: PeerLog,
        hold_commit: Callable[[], None] = lambda: None,
    ) -> None:
        """`has_row(name)`: False while the plugin is being removed. `max_bytes`: of one connection's waiting writes.
        `hold_commit`: another write follows soon (`Loop.hold_commit`)."""
        self._hold_commit = hold_commit
        self.idle = True
        self._store = store
        self._endpoints = endpoints
        self._has_row = has_row
        self._max_bytes = max_bytes
        self._checks = checks
        self._log = log
        self._steps: dict[str, list[_Step]] = {}
        self._queues: dict[CallOrigin, WriteQueue] = {}
        self._skipped: set[str] = set()  # plugins whose filters fail; logged once

    def refresh(self) -> None:
        endpoints = sorted(self._endpoints.values(), key=lambda endpoint: endpoint.plugin.row.line)
        self._steps = {
            event: [
                _Step(endpoint, endpoint.plugin.manifest.filters[event])
                for endpoint in endpoints
                if self._has_row(endpoint.name)
                and endpoint.plugin.manifest
                and event in endpoint.plugin.manifest.filters
            ]
            for event in FILTERS
        }
        self._set_idle()

    def queue_for(self, call: Call) -> WriteQueue:
        """The queue that takes this call's writes instead of the store."""
        origin = call.connection
        queue = self._queues.get(origin)
        if queue is None:
            on_empty = partial(self._close, origin)
            queue = WriteQueue(self.run, self._store, self._max_bytes, self._hold_commit, on_empty)
            self._queues[origin] = queue
        return queue

    def run(self, event: str, about: dict[str, Json], content: bytes, by: str, done: Done[bytes], fail: Failed) -> None:
        """`by`: the writing plugin, whose own filter is skipped; `done` gets the resulting content."""
        steps = deque(step for step in self._steps[event] if step.endpoint.name != by)

        def run_next(content: bytes) -> None:
            if not steps:
                done(content)
                return
            step = steps.popleft()
            endpoint = step.endpoint
            try:
                payload = strict_json.dumps({"event": event, **about})[:-1] + b',"content":' + content + b"}"
                action = replace(endpoint.action(step.filter.action), timeout=step.filter.timeout)
                _check_permission(endpoint, "snippet_read", "its filter sees content")
                endpoint.call(action, payload, partial(answered, step, content), partial(failed, step, content), by)
            except CallError as error:
                failed(step, content, error)

        def answered(step: _Step, content: bytes, payload: Bytes) -> None:
            fail_step, name = partial(failed, step, content), step.endpoint.name
            try:
                self._checks.filter_result(*PluginAnswer.unpack(payload), partial(use, step, content), fail_step, name)
            except CallError as error:
                fail_step(error)

        def use(step: _Step, content: bytes, result: FilterResult) -> None:
            if result.content is not None:
                _check_permission(step.endpoint, "snippet_write", "its filter changes content")
            self._skipped.discard(step.endpoint.name)
            if result.reasons:
                fail(Invalid(f"plugin {step.endpoint.name} refuses it: {'; '.join(result.reasons)}"))
            else:
                run_next(content if result.content is None else result.content)

        def failed(step: _Step, content: bytes, error: CallError) -> None:
            if step.filter.on_failure == "pass":
                self._log_skipped(step, event, error)
                run_next(content)
            else:
                fail(_filter_error(step, event, error))

        run_next(content)

    def _log_skipped(self, step: _Step, event: str, error: CallError) -> None:
        name = step.endpoint.name
        if name not in self._skipped:
            self._skipped.add(name)
            self._log.warning(
                "%s: its filter of %s is skipped until it answers again: %s", name, event, error, peer=f"plugin {name}"
            )

    def _close(self, origin: CallOrigin) -> None:
        del self._queues[origin]
        self._set_idle()

    def _set_idle(self) -> None:
        self.idle = not self._queues and not any(self._steps.values())


def _check_permission(endpoint: PluginEndpoint, permission: str, why: str) -> None:
    if permission not in endpoint.caller.permissions:
        raise PermissionDenied(f"plugin {endpoint.name} lacks {permission}", hint=why)


def _filter_error(step: _Step, event: str, error: CallError) -> CallError:
    kept = error.status in _KEPT_STATUSES
    return CallError(
        f"filter of {event} failed: plugin {step.endpoint.name}, action {step.filter.action}: {error.message}",
        hint=error.hint or f"nothing was written; see `reed plugin status {step.endpoint.name}`",
        status=error.status if kept else 500,
        error_code=error.error_code if kept else ErrorCode.ERR_INTERNAL,
    )
