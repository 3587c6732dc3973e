"""Filters: plugins that see a snippet before it is written, and may change or refuse it (events.md#filters).

    CREATE, UPDATE ── the filter of one plugin ── of the next, in the registry's order ── the store checks and writes
                        │ {} or null             as it is
                        │ {"content": {…}}       changed
                        │ {"refuse": ["…", …]}   422: the plugin and its reasons; nothing is written
                        └ no such answer         refused (503, 504, …) or passed over: `on_failure` in plugin.yaml

A filter gets {"event", "type", "name", "id", "content"}; of an update, and a rename is one, the name and the content as
they would become, and the "version" that it is based on. If another write came meanwhile, the filters see the update
once more, on what the snippet is now.
A restore (SNIPPET_RESTORE) is not filtered. A plugin's writes pass the filters of others, never its own.

A connection's writes keep their order: while one of them is with a filter, those after it wait in its Line. As long as
no plugin has a filter (`idle`), writes go straight to the store.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from reed.core.calls import Call, CallOrigin
from reed.core.filter_answer import FilterResult, filter_result
from reed.core.plugin_endpoint import PluginEndpoint
from reed.errors import CallError, ErrorCode, Invalid, PermissionDenied, PluginBusy
from reed.peer_log import PeerLog
from reed.store.base import Done, Failed, Overtaken, Preview, Restored, Store
from reed.supervision.manifest import FILTERS, Filter
from reed.wire import strict_json
from reed.wire.plugins import PluginAnswer
from reed.wire.snippets import Record
from reed.wire.strict_json import Json
from reed.wire.structs import Bytes

_MOST_ROUNDS = 5  # of an update that others overtake
_OVERHEAD = 1024  # bytes of a waiting write beside its content
_KEPT_STATUSES = frozenset({429, 502, 503, 504})  # of a failed filter; any other could be taken for the snippet's own


class _Step(NamedTuple):
    """One plugin's filter."""

    link: PluginEndpoint
    filter: Filter


class Filters:
    """All filters there are, and the connections that have writes with them."""

    def __init__(
        self,
        store: Store,
        links: Mapping[str, PluginEndpoint],
        has_row: Callable[[str], bool],
        most_bytes: int,
        log: PeerLog,
    ) -> None:
        """A link may stand for a plugin that is being removed: `has_row` says so, and then it has no filter any more.
        `most_bytes` may wait for the filters, of one connection's writes."""
        self.idle = True
        self._store = store
        self._links = links
        self._has_row = has_row
        self._most_bytes = most_bytes
        self._log = log
        self._steps: dict[str, list[_Step]] = {}
        self._lines: dict[CallOrigin, Line] = {}
        self._passed_over: set[str] = set()  # plugins whose filters fail now: told once

    def refresh(self) -> None:
        """Rows or manifests changed."""
        links = sorted(self._links.values(), key=lambda link: link.plugin.row.line)
        self._steps = {
            event: [
                _Step(link, link.plugin.manifest.filters[event])
                for link in links
                if self._has_row(link.name) and link.plugin.manifest and event in link.plugin.manifest.filters
            ]
            for event in FILTERS
        }
        self._set_idle()

    def before(self, call: Call) -> Line:
        """What this call writes to instead of the store."""
        asker = call.connection
        line = self._lines.get(asker)
        if line is None:
            line = Line(self, self._store, self._most_bytes, partial(self._close, asker))
            self._lines[asker] = line
        return line

    def run(self, event: str, about: dict[str, Json], content: bytes, by: str, done: Done[bytes], fail: Failed) -> None:
        """Ask all filters of an event; `done` gets the content that they leave."""
        steps = deque(step for step in self._steps[event] if step.link.name != by)

        def ask(content: bytes) -> None:
            if not steps:
                done(content)
                return
            step = steps.popleft()
            try:
                payload = strict_json.dumps({"event": event, **about})[:-1] + b',"content":' + content + b"}"
                action = replace(step.link.action(step.filter.action), timeout=step.filter.timeout)
                _check_permission(step.link, "snippet_read", "its filter sees content")
                step.link.ask(action, payload, partial(answered, step, content), partial(failed, step, content), by)
            except CallError as error:
                failed(step, content, error)

        def answered(step: _Step, content: bytes, payload: Bytes) -> None:
            try:
                found = self._verdict(step, payload)
            except CallError as error:
                failed(step, content, error)
                return
            self._passed_over.discard(step.link.name)
            if found.reasons:
                fail(Invalid(f"plugin {step.link.name} refuses it: {'; '.join(found.reasons)}"))
            else:
                ask(content if found.content is None else found.content)

        def failed(step: _Step, content: bytes, error: CallError) -> None:
            if step.filter.on_failure == "pass":
                self._log_skipped(step, event, error)
                ask(content)
            else:
                fail(_failure(step, event, error))

        ask(content)

    def _verdict(self, step: _Step, payload: Bytes) -> FilterResult:
        found = filter_result(*PluginAnswer.unpack(payload))
        if found.content is not None:
            _check_permission(step.link, "snippet_write", "its filter changes content")
        return found

    def _log_skipped(self, step: _Step, event: str, error: CallError) -> None:
        name = step.link.name
        if name not in self._passed_over:
            self._passed_over.add(name)
            self._log.warning(
                "%s: its filter of %s is passed over until it answers: %s",
                name,
                event,
                error,
                peer=f"plugin {name}",
            )

    def _close(self, asker: CallOrigin) -> None:
        del self._lines[asker]
        self._set_idle()

    def _set_idle(self) -> None:
        self.idle = not self._lines and not any(self._steps.values())


class Line:
    """The writes of one connection, one after the other; it offers what a store does.

    A write is over when the store has it, or when it was refused: the turn's commit is not waited for.
    """

    def __init__(self, filters: Filters, store: Store, most_bytes: int, on_empty: Callable[[], None]) -> None:
        self._filters = filters
        self._store = store
        self._most_bytes = most_bytes
        self._on_empty = on_empty
        self._waiting: deque[tuple[Callable[[], None], int]] = deque()
        self._bytes = 0
        self._held = False  # a write is with the filters
        self._advancing = False

    def create(
        self, type_name: str, name: str, content: bytes, done: Done[str], failed: Failed, *, by: str = ""
    ) -> None:
        def filtered(content: bytes) -> None:
            self._hand_over(lambda: self._store.create(type_name, name, content, done, failed, by=by), failed)

        def begin() -> None:
            strict_json.load_object(content)
            about = {"type": type_name, "name": name, "id": None}
            self._filters.run("snippet.create", about, content, by, filtered, self._refusal(failed))

        self._add(begin, len(content), failed)

    def update(self, ref: str, if_version: int, patch: bytes, done: Done[str], failed: Failed, *, by: str = "") -> None:
        def look(seen: Done[Preview]) -> None:
            self._store.preview(ref, if_version, patch, seen, self._refusal(failed))

        self._change(look, None, len(patch), done, failed, by=by, if_version=if_version)

    def rename(self, ref: str, name: str, done: Done[str], failed: Failed, *, by: str = "") -> None:
        def look(seen: Done[Preview]) -> None:
            def found(record: Record) -> None:
                seen(Preview(record, bytes(record.content)))

            self._store.get(ref, found, self._refusal(failed))

        self._change(look, name, 0, done, failed, by=by)

    def _change(
        self,
        look: Callable[[Done[Preview]], None],
        name: str | None,
        size: int,
        done: Done[str],
        failed: Failed,
        *,
        by: str,
        if_version: int = 0,
    ) -> None:
        """An update, of the name too unless that is None; `look` gives what it would do."""
        rounds = 0

        def begin() -> None:
            nonlocal rounds
            rounds += 1
            look(seen)

        def seen(preview: Preview) -> None:
            record = preview.record
            about = {
                "type": record.snippet_type,
                "name": record.semantic_name if name is None else name,
                "id": record.id,
                "version": record.version,
            }
            filtered = partial(write, preview)
            self._filters.run("snippet.update", about, preview.content, by, filtered, self._refusal(failed))

        def write(preview: Preview, content: bytes) -> None:
            try:
                self._store.replace(preview.record, content, done, failed, name=name, by=by)
            except Overtaken as error:
                if if_version or rounds >= _MOST_ROUNDS:
                    self._refusal(failed)(error)
                else:
                    self._run(begin, failed)
            except CallError as error:
                self._refusal(failed)(error)
            else:
                self._over()

        self._add(begin, size, failed)

    def delete(self, ref: str, cascade: bool, done: Done[str], failed: Failed, *, by: str = "") -> None:
        def begin() -> None:
            self._hand_over(lambda: self._store.delete(ref, cascade, done, failed, by=by), failed)

        self._add(begin, 0, failed)

    def restore(self, record: Record, done: Done[Restored], failed: Failed, *, by: str = "", **how: bool) -> None:
        """In its turn, but unfiltered: what was accepted once is not judged again."""

        def begin() -> None:
            self._hand_over(lambda: self._store.restore(record, done, failed, by=by, **how), failed)

        self._add(begin, len(record.content), failed)

    def _add(self, begin: Callable[[], None], size: int, failed: Failed) -> None:
        size += _OVERHEAD
        if self._waiting and self._bytes + size > self._most_bytes:
            raise PluginBusy(f"{len(self._waiting)} writes of this connection wait for filters", hint="try again later")
        self._bytes += size
        self._waiting.append((partial(self._run, begin, failed), size))
        self._advance()

    def _advance(self) -> None:
        """Begin the writes that wait, until one is with the filters."""
        if self._advancing:
            return
        self._advancing = True
        try:
            while self._waiting and not self._held:
                begin, size = self._waiting.popleft()
                self._bytes -= size
                self._held = True
                begin()
        except Exception:  # a bug must not hold up the writes after it
            self._held = False
            raise
        finally:
            self._advancing = False
            if not self._held and not self._waiting:
                self._on_empty()

    def _over(self) -> None:
        self._held = False
        self._advance()

    def _run(self, begin: Callable[[], None], failed: Failed) -> None:
        try:
            begin()
        except CallError as error:
            self._refusal(failed)(error)

    def _refusal(self, failed: Failed) -> Failed:
        """It is not written: tell so, and go on with the next."""

        def refused(error: CallError) -> None:
            failed(error)
            self._over()

        return refused

    def _hand_over(self, write: Callable[[], None], failed: Failed) -> None:
        try:
            write()
        except CallError as error:
            failed(error)
        self._over()


def _check_permission(link: PluginEndpoint, permission: str, why: str) -> None:
    if permission not in link.caller.permissions:
        raise PermissionDenied(f"plugin {link.name} lacks {permission}", hint=why)


def _failure(step: _Step, event: str, error: CallError) -> CallError:
    """What the writer is told when a filter could not answer: nothing is wrong with the snippet."""
    known = error.status in _KEPT_STATUSES
    return CallError(
        f"plugin {step.link.name}, action {step.filter.action}, which filters {event}: {error.message}",
        hint=error.hint or f"nothing was written; see `reed plugin status {step.link.name}`",
        status=error.status if known else 500,
        error_code=error.error_code if known else ErrorCode.ERR_INTERNAL,
    )
