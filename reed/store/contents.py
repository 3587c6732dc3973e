"""Checks contents before they are written: cheap ones in the loop, others in a worker.

    create, replace, restore ── check ──┐                        ┌─ the loop:  then(Content), at once
    update, preview ─────────── merge ──┴─ what may it cost? ────┤
                                                                 └─ a worker:  then(Content), in a later turn

While a content of an origin is in a worker, later writes of that origin wait for it (`in_order`): they take effect in
the order in which they were begun. Other origins do not wait. So when `then` is called the snippet or its type may have
changed, and the store looks again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from reed.errors import CallError, Invalid, JobMemory, JobTimeout
from reed.store.base import Failed
from reed.store.field_values import FieldValue, values_of
from reed.store.merge_patch import merge
from reed.store.schema_cost import MAX_CONTENT_IN_LOOP, nodes_of
from reed.store.types import Type, compile_type, outline_of
from reed.store.workers import OrderedJobs, Origin
from reed.wire import strict_json
from reed.wire.frames import MAX_PAYLOAD
from reed.wire.strict_json import Json
from reed.wire.structs import RECORD, STATUS

MAX_CONTENT = MAX_PAYLOAD - RECORD.size - STATUS.size  # a GET must be able to return it
MAX_CHECKED = 1000  # snippets in a page of `check_stored`
_MAX_CHECKED_BYTES = 8 * 1024 * 1024  # of content in it; it has one snippet at least
_OVERHEAD = 512  # bytes counted for a snippet besides its content
_MAX_DESCRIBED = 10  # snippets in each page

HANDLERS = {
    kind: f"reed.store.contents:{kind}" for kind in ("check_content", "merge_content", "explain_content", "try_type")
}

_Values = dict[str, tuple[bytes, str]]  # FieldValues as marshal can carry them


class Content(NamedTuple):
    text: bytes
    type: Type | None  # None: of a preview, which is not checked
    values: dict[str, FieldValue] | None = None  # of indexed fields, if a worker has read them
    problem: Invalid | None = None  # why it does not fit, with `accept_unfit`

    @property
    def type_name(self) -> str:
        assert self.type is not None
        return self.type.name

    def values_of(self, fields: Iterable[str]) -> dict[str, FieldValue]:
        return values_of(self.text, fields) if self.values is None else self.values


Then = Callable[[Content], None]


class Contents(OrderedJobs):
    def check(
        self,
        type_: Type,
        text: bytes,
        then: Then,
        failed: Failed,
        origin: Origin,
        *,
        accept_unfit: bool = False,
        value: Json = None,
    ) -> None:
        """Malformed or Invalid, raised or given to `failed`, unless `then` is called. `value` of the text, if known."""
        check_length(text)

        def explain(content: Content) -> None:
            self._explain(content, then if accept_unfit else None, failed, origin)

        if _fits_loop(type_, text):
            content = _check_in_loop(type_, text, strict_json.load_object(text) if value is None else value)
            if content is None:
                explain(Content(text, type_))
            elif content.problem is not None and not accept_unfit:
                raise content.problem
            else:
                then(content)
            return

        def checked(answer: tuple[_Values, bool]) -> None:
            values, is_valid = answer
            (then if is_valid else explain)(Content(text, type_, _field_values(values)))

        self.submit("check_content", (*_named(type_), text), checked, failed, origin)

    def merge(self, type_: Type | None, old: bytes, patch: bytes, then: Then, failed: Failed, origin: Origin) -> None:
        """`check` the content with a JSON Merge Patch applied; only apply it if `type_` is None."""
        if len(old) + len(patch) <= MAX_CONTENT_IN_LOOP:
            text, value = _merged(old, patch)
            if type_ is None:
                then(Content(text, None))
            else:
                self.check(type_, text, then, failed, origin, value=value)
            return

        def merged(answer: tuple[bytes, _Values, bool]) -> None:
            text, values, is_valid = answer
            check_length(text)
            content = Content(text, type_, _field_values(values))
            if is_valid:
                then(content)
            else:
                self._explain(content, None, failed, origin)

        self.submit("merge_content", (None if type_ is None else _named(type_), old, patch), merged, failed, origin)

    def _explain(self, content: Content, accept: Then | None, failed: Failed, origin: Origin) -> None:
        """List what is wrong; that takes far longer than finding that something is."""
        type_ = content.type
        assert type_ is not None

        def refuse(problems: str) -> None:
            problem = type_.unfit(problems)
            if accept is None:
                failed(problem)
            else:
                accept(content._replace(problem=problem))

        def give_up(error: CallError) -> None:
            if error.error_code in {JobTimeout.error_code, JobMemory.error_code}:
                refuse("listing what is wrong takes too long")
            else:
                failed(error)

        self.submit("explain_content", (*_named(type_)[:2], content.text), refuse, give_up, origin)


def check_length(content: bytes) -> None:
    if len(content) > MAX_CONTENT:
        raise Invalid(f"the content has {len(content)} bytes", hint=f"at most {MAX_CONTENT}")


def _fits_loop(type_: Type, text: bytes) -> bool:
    if type_.schema is None:
        return len(text) <= MAX_CONTENT_IN_LOOP
    return type_.schema.fits_loop(text)


def is_checked_in_loop(type_: Type, text: bytes) -> bool:
    """Whether the content was checked, and fits its type; False: a worker must check it. Raises Malformed, Invalid."""
    schema = type_.schema
    if schema is None:
        if len(text) > MAX_CONTENT_IN_LOOP:
            return False
    elif len(text) > schema.length_in_loop and not schema.fits_loop(text):
        return False
    value = strict_json.load_object(text)
    if schema is None or schema.is_valid(value):
        return True
    content = _check_in_loop(type_, text, value)
    if content is not None and content.problem is not None:
        raise content.problem
    return content is not None


def _check_in_loop(type_: Type, text: bytes, value: Json) -> Content | None:
    """None: it does not fit, and listing why takes too long for the loop."""
    schema = type_.schema
    if schema is None or schema.is_valid(value):
        return Content(text, type_)
    if schema.cost.errors_fit_loop(text):
        return Content(text, type_, problem=type_.unfit(schema.problems(value)))
    return None


def _merged(old: bytes, patch: bytes) -> tuple[bytes, dict[str, Json]]:
    changes = strict_json.loads(patch)
    if not isinstance(changes, dict):
        found = strict_json.describe(changes)
        raise Invalid(f"the patch is {found}: the content must stay an object", hint="send a JSON Merge Patch")
    text, value = merge(str(old, "utf-8"), str(patch, "utf-8"))
    return text.encode(), value


def _named(type_: Type) -> tuple[str, bytes, list[str]]:
    return type_.name, type_.definition, list(type_.fields)


def _field_values(values: _Values) -> dict[str, FieldValue]:
    return {field: FieldValue(*value) for field, value in values.items()}


# In a worker.


def check_content(name: str, definition: bytes, fields: list[str], text: bytes) -> tuple[_Values, bool]:
    value = strict_json.load_object(text)
    return _values(text, fields), _is_valid(name, definition, value)


def merge_content(type_: tuple[str, bytes, list[str]] | None, old: bytes, patch: bytes) -> tuple[bytes, _Values, bool]:
    text, value = _merged(old, patch)
    if type_ is None:
        return text, {}, True
    name, definition, fields = type_
    return text, _values(text, fields), _is_valid(name, definition, value)


def explain_content(name: str, definition: bytes, text: bytes) -> str:
    schema = _type(name, definition).schema
    assert schema is not None
    return schema.problems(strict_json.loads(text), nodes_of(text))


def try_type(name: str, definition: bytes) -> tuple[bytes, tuple[Any, ...] | None]:
    """Its outline and cost (see `outline_of`). Raises Invalid unless it compiles; sample contents must be validated
    before the deadline."""
    schema = _type(name, definition).schema
    if schema is not None:
        for probe in _probes():
            schema.is_valid(probe)
    outline, cost = outline_of(name, definition)
    return outline, None if cost is None else tuple(cost)


def check_stored(snippets: Iterable[tuple[str, str, bytes]], type_: Type, limit: int) -> bytes:
    """Which snippets (id, name, content) do not fit their type, which may have been redefined; up to `limit`, 0 means
    MAX_CHECKED, which is also the most. Gives JSON; cursor "" is the end:

    {"checked": 1000, "unfit": 2, "first": [{"id", "name", "problem"}, …], "cursor": "0190…"}
    """
    limit = min(limit or MAX_CHECKED, MAX_CHECKED)
    checked = unfit = size = 0
    cursor = last = ""
    first: list[dict[str, str]] = []
    for snippet_id, name, content in snippets:
        if checked == limit or size > _MAX_CHECKED_BYTES:
            cursor = last
            break
        try:
            type_.check(strict_json.loads(content))
        except Invalid as error:
            unfit += 1
            if len(first) < _MAX_DESCRIBED:
                first.append({"id": snippet_id, "name": name, "problem": error.message})
        checked, last = checked + 1, snippet_id
        size += len(content) + _OVERHEAD
    return strict_json.dumps({"checked": checked, "unfit": unfit, "first": first, "cursor": cursor})


def _probes() -> Iterator[Json]:
    yield from ({}, [], "", 0, True, None)
    names = ("a", "title", "body", "items", "children")
    nested: Json = "x" * 100
    for _ in range(12):
        nested = {**dict.fromkeys(names, "x"), "a": nested, "children": [nested]}
        if len(str(nested)) > 20_000:
            break
    yield nested
    yield dict.fromkeys(names, ["x" * 20] * 200)
    yield dict.fromkeys(names, "a" * 2000)


@lru_cache(maxsize=8)
def _type(name: str, definition: bytes) -> Type:
    return compile_type(name, definition)


def _is_valid(name: str, definition: bytes, value: Json) -> bool:
    schema = _type(name, definition).schema
    return schema is None or schema.is_valid(value)


def _values(text: bytes, fields: list[str]) -> _Values:
    return {field: (value.key, value.shown) for field, value in values_of(text, fields).items()}
