"""Filters: plugins that check, change or refuse a snippet before it is written (events.md#filters).

    CREATE, UPDATE ── WriteQueue ── a filter ── the next, in the registry's order ── the store checks and writes

The writes of a connection keep their order: while one is with a filter, later ones wait in its WriteQueue. The next one
begins as soon as the store has the write in its transaction, so that many filtered writes need few commits. While no
plugin has a filter (`idle`), writes go straight to the store.
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
from reed.errors import CallError, ErrorCode, Invalid, PermissionDenied, PluginBusy
from reed.peer_log import PeerLog
from reed.store.base import Done, Failed, Overtaken, Preview, Restored, Store, T
from reed.store.schema_cost import MAX_CONTENT_IN_LOOP
from reed.store.workers import THE_STORE, Origin
from reed.supervision.manifest import FILTERS, Filter
from reed.wire import strict_json
from reed.wire.plugins import PluginAnswer
from reed.wire.snippets import Record
from reed.wire.strict_json import Json
from reed.wire.structs import Bytes

_MAX_ROUNDS = 5  # for an update that other writes overtake
_OVERHEAD = 1024  # bytes that a queued write counts besides its content
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
        self.hold_commit = hold_commit
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
            queue = WriteQueue(self, self._store, self._max_bytes, partial(self._close, origin))
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


class WriteQueue:
    """One connection's writes, with the methods of Store. Each begins once the one before is answered."""

    def __init__(self, filters: Filters, store: Store, max_bytes: int, on_empty: Callable[[], None]) -> None:
        self._filters = filters
        self._store = store
        self._max_bytes = max_bytes
        self._on_empty = on_empty
        self._waiting: deque[tuple[Callable[[], None], int]] = deque()
        self._bytes = 0
        self._filtering = False
        self._advancing = False

    def create(
        self, type_name: str, name: str, content: bytes, done: Done[str], failed: Failed, origin: Origin = THE_STORE
    ) -> None:
        refused = self._then_finish(failed)

        def filtered(content: bytes) -> None:
            self._hand_over(partial(self._store.create, type_name, name, content), done, failed, origin)

        def begin() -> None:
            if len(content) <= MAX_CONTENT_IN_LOOP:  # the store checks a longer one in a worker
                strict_json.load_object(content)
            about = {"type": type_name, "name": name, "id": None}
            self._filters.run("snippet.create", about, content, origin.plugin, filtered, refused)

        self._add(begin, len(content), failed)

    def update(
        self, ref: str, if_version: int, patch: bytes, done: Done[str], failed: Failed, origin: Origin = THE_STORE
    ) -> None:
        def preview(seen: Done[Preview]) -> None:
            self._store.preview(ref, if_version, patch, seen, self._then_finish(failed), origin=origin)

        self._change(preview, None, len(patch), done, failed, origin=origin, if_version=if_version)

    def rename(self, ref: str, name: str, done: Done[str], failed: Failed, origin: Origin = THE_STORE) -> None:
        def preview(seen: Done[Preview]) -> None:
            def found(preview: Preview) -> None:
                seen(Preview(preview.record, bytes(preview.record.content)))

            self._store.preview(ref, 0, b"{}", found, self._then_finish(failed), origin=origin)

        self._change(preview, name, 0, done, failed, origin=origin)

    def _change(
        self,
        preview: Callable[[Done[Preview]], None],
        name: str | None,
        size: int,
        done: Done[str],
        failed: Failed,
        *,
        origin: Origin,
        if_version: int = 0,
    ) -> None:
        """`preview` looks up the result before the filters. `name`: the new name; None: unchanged."""
        rounds = 0

        def begin() -> None:
            nonlocal rounds
            rounds += 1
            preview(seen)

        def seen(preview: Preview) -> None:
            record = preview.record
            about = {
                "type": record.snippet_type,
                "name": record.semantic_name if name is None else name,
                "id": record.id,
                "version": record.version,
            }
            filtered, refuse = partial(write, preview), self._then_finish(failed)
            self._filters.run("snippet.update", about, preview.content, origin.plugin, filtered, refuse)

        def write(preview: Preview, content: bytes) -> None:
            replace = partial(self._store.replace, preview.record, content, name=name)
            self._hand_over(replace, done, failed, origin, retry=None if if_version else retry)

        def retry() -> bool:
            if rounds < _MAX_ROUNDS:
                self._run(begin, self._then_finish(failed))
                return True
            return False

        self._add(begin, size, failed)

    def delete(self, ref: str, cascade: bool, done: Done[str], failed: Failed, origin: Origin = THE_STORE) -> None:
        self._in_turn(partial(self._store.delete, ref, cascade), done, failed, origin)

    def restore(
        self, record: Record, done: Done[Restored], failed: Failed, origin: Origin = THE_STORE, **how: bool
    ) -> None:
        def restore(done: Done[Restored], failed: Failed, origin: Origin) -> None:
            self._store.restore(record, done, failed, origin=origin, **how)

        self._in_turn(restore, done, failed, origin, len(record.content))

    # Writes that no filter sees keep their place among those before: a bond may name a snippet that is to be created.

    def bond(
        self,
        parent: str,
        child: str,
        weight: int,
        path: str,
        done: Done[str],
        failed: Failed,
        origin: Origin = THE_STORE,
    ) -> None:
        self._in_turn(partial(self._store.bond, parent, child, weight, path), done, failed, origin, len(path))

    def unbond(self, parent: str, child: str, done: Done[None], failed: Failed, origin: Origin = THE_STORE) -> None:
        self._in_turn(partial(self._store.unbond, parent, child), done, failed, origin)

    def define(
        self, type_name: str, definition: bytes, done: Done[bool], failed: Failed, origin: Origin = THE_STORE
    ) -> None:
        self._in_turn(partial(self._store.define, type_name, definition), done, failed, origin, len(definition))

    def delete_type(self, type_name: str, done: Done[None], failed: Failed, origin: Origin = THE_STORE) -> None:
        self._in_turn(partial(self._store.delete_type, type_name), done, failed, origin)

    def _in_turn(
        self, write: Callable[..., None], done: Done[T], failed: Failed, origin: Origin, size: int = 0
    ) -> None:
        self._add(lambda: self._hand_over(write, done, failed, origin), size, failed)

    def _add(self, begin: Callable[[], None], size: int, failed: Failed) -> None:
        size += _OVERHEAD
        if self._waiting and self._bytes + size > self._max_bytes:
            raise PluginBusy(f"{len(self._waiting)} writes of this connection wait for filters", hint="try again later")
        self._bytes += size
        self._waiting.append((partial(self._run, begin, self._then_finish(failed)), size))
        self._advance()

    def _advance(self) -> None:
        if self._advancing:
            return
        self._advancing = True
        try:
            while self._waiting and not self._filtering:
                begin, size = self._waiting.popleft()
                self._bytes -= size
                self._filtering = True
                begin()
        except Exception:  # a bug must not block the writes after it
            self._filtering = False
            raise
        finally:
            self._advancing = False
            if not self._filtering and not self._waiting:
                self._on_empty()

    def _finish(self) -> None:
        self._filtering = False
        self._advance()

    def _hand_over(
        self,
        write: Callable[..., None],
        done: Done[T],
        failed: Failed,
        origin: Origin,
        retry: Callable[[], bool] | None = None,
    ) -> None:
        """Call `write(done, failed, origin=)` of the store, and begin the next write once this one has its place in the
        store's transaction. `retry` begins again after another write was first; it returns False if it gives up."""
        is_over = False

        def finish() -> None:
            nonlocal is_over
            if not is_over:
                is_over = True
                self._finish()

        def ended(result: T) -> None:
            done(result)
            finish()

        def refused(error: CallError) -> None:
            nonlocal is_over
            if retry is not None and not is_over and isinstance(error, Overtaken) and retry():
                is_over = True  # the new round finishes it
                return
            failed(error)
            finish()

        self._run(partial(write, ended, refused, origin=origin), refused)
        if not is_over and self._store.is_placed(origin):
            if self._waiting:
                self._filters.hold_commit()
            finish()

    def _run(self, begin: Callable[[], None], failed: Failed) -> None:
        try:
            begin()
        except CallError as error:
            failed(error)

    def _then_finish(self, callback: Done[T]) -> Done[T]:
        def ended(result: T) -> None:
            callback(result)
            self._finish()

        return ended


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
