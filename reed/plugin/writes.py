"""The commands that write. `reed.snippet` and its siblings send each at once; a batch has the same methods and collects
the writes, which needs few commits (python-api.md#many-reads-and-writes).

    with reed.batch() as batch:                                  nothing is sent yet
        page = batch.snippet.create("page", "", {"title": "A"})  a Pending: page.id is not known yet
                                                                 the end of the block sends all, and waits for answers
    page.id                                                      is known now

An exception in the block sends nothing. If writes fail, the others hold, and the end of the block raises one Error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Generic, NamedTuple, TypeVar

from reed.plugin.failure import Error
from reed.plugin.records import Snippet
from reed.plugin.services import ask, ask_json, encode, text_of

_MAX_NAMED = 5  # failed writes in the message
Json = Mapping[str, Any] | str | bytes  # an object, or its JSON text
Id = TypeVar("Id")
Result = TypeVar("Result")

_is_batching = False


class Write(NamedTuple):
    """Encoded: Write("snippet.create", (b'["page","blog/intro"]', b'{"title":"Hello"}'))"""

    operation: str
    arguments: tuple[bytes, ...]


def written(write: Write) -> list[Any]:
    """Sends it; its results. Raises Error."""
    if _is_batching:
        name = write.operation
        raise Error(f"reed.{name} within a batch", status=500, hint=f"call batch.{name}, which queues the write")
    found = ask_json(write.operation, *write.arguments)
    return found if isinstance(found, list) else [found]


def written_id(write: Write) -> str:
    return str(written(write)[0])


def is_written(write: Write) -> bool:
    return bool(written(write)[0])


class SnippetWrites(Generic[Id, Result]):
    """Commands that write snippets. Each returns what it answers; in a batch, a Pending."""

    def __init__(self, send: Callable[[Write], Id], send_restore: Callable[[Write], Result]) -> None:
        self._send = send
        self._send_restore = send_restore

    def create(self, type: str, name: str, content: Json) -> Id:
        """The id. `name` may be ""."""
        return self._send(Write("snippet.create", (encode([type, name]), text_of(content))))

    def update(self, ref: str, patch: Json, if_version: int = 0) -> Id:
        """The id. `patch` is a merge patch: None removes a field. Error 409 if the snippet has another version."""
        return self._send(Write("snippet.update", (encode([ref, if_version]), text_of(patch))))

    def rename(self, ref: str, name: str) -> Id:
        """The id. "" removes the name; Error 409 if it is in use."""
        return self._send(Write("snippet.rename", (encode([ref, name]),)))

    def delete(self, ref: str, cascade: bool = False) -> Id:
        """The id. Error 409 for a bonded snippet without `cascade`."""
        return self._send(Write("snippet.delete", (encode([ref, cascade]),)))

    def restore(
        self, snippet: Snippet, *, accept_unfit: bool = False, overwrite: bool = False, dry_run: bool = False
    ) -> Result:
        """Writes a snippet with its id, version and times, as `reed import` does."""
        flags = 1 * accept_unfit | 2 * overwrite | 4 * dry_run
        *fields, content = snippet
        return self._send_restore(Write("snippet.restore", (encode([flags, *fields]), text_of(content))))


class SchemaWrites(Generic[Id, Result]):
    def __init__(self, send_bond: Callable[[Write], Id], send_unbond: Callable[[Write], Result]) -> None:
        self._send_bond = send_bond
        self._send_unbond = send_unbond

    def bond(self, parent: str, child: str, weight: int = 0, path: str = "") -> Id:
        """The bond's id."""
        return self._send_bond(Write("schema.bond", (encode([parent, child, weight, path]),)))

    def unbond(self, parent: str, child: str) -> Result:
        """True."""
        return self._send_unbond(Write("schema.unbond", (encode([parent, child]),)))


class RegistryWrites(Generic[Result]):
    def __init__(self, send: Callable[[Write], Result]) -> None:
        self._send = send

    def define(self, name: str, definition: Json) -> Result:
        """True for a new type, False for a redefined one."""
        return self._send(Write("registry.define", (encode([name]), text_of(definition))))

    def delete(self, name: str) -> Result:
        """True. Error 409 while the type has snippets."""
        return self._send(Write("registry.delete", (encode([name]),)))


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
        self.snippet = SnippetWrites(self.add, self.add)
        self.schema = SchemaWrites(self.add, self.add)
        self.registry = RegistryWrites(self.add)

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


def _failure(failed: list[dict[str, Any]], count: int) -> Error:
    named = [f"write {each['index']} ({each['command']}): {each['message']}" for each in failed[:_MAX_NAMED]]
    if len(failed) > _MAX_NAMED:
        named.append(f"and {len(failed) - _MAX_NAMED} more in the attribute `failed` of this error")
    text = f"{len(failed)} of the {count} writes of the batch failed, the others hold: {'; '.join(named)}"
    error = Error(text, status=failed[0]["status"], code=failed[0]["code"])
    error.failed = failed
    error.is_of_core = True
    return error
