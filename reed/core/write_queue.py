"""One connection's writes while a plugin has a filter: they keep their order (events.md#filters).

    add ── waiting ── begin: filters ── the store has it in its transaction ── the next one begins
                                                 │
                                                 └─ overtaken by another write: filters again, up to 5 times

The next write does not wait for the commit of the one before, so that many filtered writes need few commits. Writes
that no filter sees keep their place among the others too: a bond may name a snippet that is to be created before it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Protocol

from reed.errors import CallError, PluginBusy
from reed.store.base import Done, Failed, Overtaken, Preview, Restored, Store, T
from reed.store.schema_cost import MAX_CONTENT_IN_LOOP
from reed.store.workers import THE_STORE, Origin
from reed.wire import strict_json
from reed.wire.snippets import Record
from reed.wire.strict_json import Json

_MAX_ROUNDS = 5  # for an update that other writes overtake
_OVERHEAD = 1024  # bytes that a queued write counts besides its content


class RunFilters(Protocol):
    def __call__(
        self, event: str, about: dict[str, Json], content: bytes, by: str, done: Done[bytes], fail: Failed
    ) -> None:
        """`by`: the writing plugin; `done` gets the content as the filters leave it."""


class WriteQueue:
    """The methods of Store that write."""

    def __init__(
        self,
        run_filters: RunFilters,
        store: Store,
        max_bytes: int,
        hold_commit: Callable[[], None],
        on_empty: Callable[[], None],
    ) -> None:
        """`max_bytes`: of the writes that wait. `hold_commit`: another write follows soon (`Loop.hold_commit`)."""
        self._run_filters = run_filters
        self._hold_commit = hold_commit
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
            self._run_filters("snippet.create", about, content, origin.plugin, filtered, refused)

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
            self._run_filters("snippet.update", about, preview.content, origin.plugin, filtered, refuse)

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
        self, record: Record, done: Done[Restored], failed: Failed, origin: Origin = THE_STORE, *, flags: int = 0
    ) -> None:
        def restore(done: Done[Restored], failed: Failed, origin: Origin) -> None:
            self._store.restore(record, done, failed, flags=flags, origin=origin)

        self._in_turn(restore, done, failed, origin, len(record.content))

    # Writes that no filter sees.

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
                self._hold_commit()
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
