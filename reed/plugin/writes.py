"""The commands that write: `reed.snippet` and its siblings send one at once, a batch collects many, which needs few
commits (python-api.md#many-reads-and-writes).

    with reed.batch() as batch:                                  nothing is sent yet
        page = batch.snippet.create("page", "", {"title": "A"})  a Pending: page.id is not known yet
                                                                 the end of the block sends all, and waits for answers
    page.id                                                      is known now

An exception in the block sends nothing. If writes fail, the others hold, and the end of the block raises one Error.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, NamedTuple

from reed.plugin.failure import Error
from reed.plugin.records import Snippet
from reed.plugin.services import ask, ask_json, encode, text_of

_MAX_NAMED = 5  # failed writes in the message
Json = Mapping[str, Any] | str | bytes  # an object, or its JSON text

_is_batching = False


class Write(NamedTuple):
    """Encoded: Write("snippet.create", (b'["page","blog/intro"]', b'{"title":"Hello"}'))"""

    operation: str
    arguments: tuple[bytes, ...]


def create(type: str, name: str, content: Json) -> Write:
    return Write("snippet.create", (encode([type, name]), text_of(content)))


def update(ref: str, patch: Json, if_version: int) -> Write:
    return Write("snippet.update", (encode([ref, if_version]), text_of(patch)))


def rename(ref: str, name: str) -> Write:
    return Write("snippet.rename", (encode([ref, name]),))


def delete(ref: str, cascade: bool) -> Write:
    return Write("snippet.delete", (encode([ref, cascade]),))


def restore(snippet: Snippet, accept_unfit: bool, overwrite: bool, dry_run: bool) -> Write:
    flags = 1 * accept_unfit | 2 * overwrite | 4 * dry_run
    *fields, content = snippet
    return Write("snippet.restore", (encode([flags, *fields]), text_of(content)))


def bond(parent: str, child: str, weight: int, path: str) -> Write:
    return Write("schema.bond", (encode([parent, child, weight, path]),))


def unbond(parent: str, child: str) -> Write:
    return Write("schema.unbond", (encode([parent, child]),))


def define(name: str, definition: Json) -> Write:
    return Write("registry.define", (encode([name]), text_of(definition)))


def delete_type(name: str) -> Write:
    return Write("registry.delete", (encode([name]),))


def written(write: Write) -> list[Any]:
    """Sends it; its results. Raises Error."""
    if _is_batching:
        name = write.operation
        raise Error(f"reed.{name} within a batch", status=500, hint=f"call batch.{name}, which queues the write")
    found = ask_json(write.operation, *write.arguments)
    return found if isinstance(found, list) else [found]


def written_id(write: Write) -> str:
    return str(written(write)[0])


class Pending:
    """A write of a batch. Its attributes are set when the batch has been sent."""

    def __init__(self) -> None:
        self.error: dict[str, Any] | None = None  # {"index", "command", "status", "code", "message"}, if it failed
        self.warning = ""  # of a restore
        self._result: Any = None
        self._is_done = False

    @property
    def result(self) -> Any:
        """What the same function returns outside of a batch; None if the write failed. Raises Error before the end."""
        if not self._is_done:
            raise Error("the batch has not been sent yet", status=500, hint="read it after the `with` block")
        return self._result

    @property
    def id(self) -> str:
        """Of the snippet or the bond; "" for other writes and failed ones. Raises Error before the end."""
        return self.result if isinstance(self.result, str) else ""

    def fill(self, answer: Any) -> None:
        self._is_done = True
        if isinstance(answer, dict):
            self.error = answer
        else:
            self._result = answer[0]
            self.warning = answer[1] if len(answer) > 1 else ""


class Batch:
    """`reed.batch()`. It cannot contain another one."""

    def __init__(self) -> None:
        self.writes: list[Pending] = []
        self.snippet = SnippetWrites(self)
        self.schema = SchemaWrites(self)
        self.registry = RegistryWrites(self)

    def add(self, write: Write) -> Pending:
        if not _is_batching:
            raise Error("the batch is not open", status=500, hint="with reed.batch() as batch: …")
        ask("batch.add", write.operation.encode(), *write.arguments)
        self.writes.append(Pending())
        return self.writes[-1]

    def __enter__(self) -> Batch:
        global _is_batching  # noqa: PLW0603 - one for the process
        if _is_batching:
            raise Error("a batch within a batch", status=500, hint="collect all writes in one")
        ask("batch.begin")
        _is_batching = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        global _is_batching  # noqa: PLW0603
        _is_batching = False
        if kind is None and self.writes:
            self._send()

    def _send(self) -> None:
        failed = []
        for number, (pending, answer) in enumerate(zip(self.writes, ask_json("batch.send"), strict=True), 1):
            found = {"index": number, **answer} if isinstance(answer, dict) else answer
            pending.fill(found)
            if isinstance(found, dict):
                failed.append(found)
        if failed:
            raise _failure(failed, len(self.writes))


class SnippetWrites:
    def __init__(self, batch: Batch) -> None:
        self._batch = batch

    def create(self, type: str, name: str, content: Json) -> Pending:
        return self._batch.add(create(type, name, content))

    def update(self, ref: str, patch: Json, if_version: int = 0) -> Pending:
        return self._batch.add(update(ref, patch, if_version))

    def rename(self, ref: str, name: str) -> Pending:
        return self._batch.add(rename(ref, name))

    def delete(self, ref: str, cascade: bool = False) -> Pending:
        return self._batch.add(delete(ref, cascade))

    def restore(
        self, snippet: Snippet, *, accept_unfit: bool = False, overwrite: bool = False, dry_run: bool = False
    ) -> Pending:
        return self._batch.add(restore(snippet, accept_unfit, overwrite, dry_run))


class SchemaWrites:
    def __init__(self, batch: Batch) -> None:
        self._batch = batch

    def bond(self, parent: str, child: str, weight: int = 0, path: str = "") -> Pending:
        return self._batch.add(bond(parent, child, weight, path))

    def unbond(self, parent: str, child: str) -> Pending:
        return self._batch.add(unbond(parent, child))


class RegistryWrites:
    def __init__(self, batch: Batch) -> None:
        self._batch = batch

    def define(self, name: str, definition: Json) -> Pending:
        return self._batch.add(define(name, definition))

    def delete(self, name: str) -> Pending:
        return self._batch.add(delete_type(name))


def _failure(failed: list[dict[str, Any]], count: int) -> Error:
    named = [f"write {each['index']} ({each['command']}): {each['message']}" for each in failed[:_MAX_NAMED]]
    if len(failed) > _MAX_NAMED:
        named.append(f"and {len(failed) - _MAX_NAMED} more in the attribute `failed` of this error")
    text = f"{len(failed)} of the {count} writes of the batch failed, the others hold: {'; '.join(named)}"
    error = Error(text, status=failed[0]["status"], code=failed[0]["code"])
    error.failed = failed
    error.is_of_core = True
    return error
