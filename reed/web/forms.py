"""A form for the content of a snippet, made from its type's JSON Schema, and the content that comes back from it.

    definition, content ── form ── Field ── page ── browser ── submitted ── form ── Field ── content_of ── content

The name of a control is the JSON Pointer of its value. An item of an array has a second, hidden control with the prefix
`origin:`, whose value is the index that the item had in the content, or empty for a new one: so an item that was moved
keeps what the form does not show.

A value whose control was left as it was is taken from the content unchanged, whatever a browser does to it on the way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from reed.errors import Malformed
from reed.web import form_schema
from reed.web.form_schema import Kind, Schema, Schemas
from reed.wire.exact_json import ABSENT, Json, Number, dumps, join, loads, size

ORIGIN = "origin:"
MAX_NEW_ITEMS = 1000  # of an array, in one submission
_MAX_ABSENT_DEPTH = 3  # levels of objects that the content lacks; a schema may nest without end
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
_LINE_ENDS = re.compile(r"\r\n?")

Submitted = Mapping[str, str]
Problems = dict[str, list[str]]  # by pointer


@dataclass(frozen=True, slots=True)
class Field:
    pointer: str
    kind: Kind
    key: str  # of the object that has it; its number in an array
    label: str
    description: str
    rules: tuple[str, ...]
    is_required: bool
    is_item: bool
    base: Json  # the value in the content, or ABSENT
    text: str  # of the control
    origin: str  # of an item: its index in the content, or ""
    options: tuple[tuple[str, str], ...]  # of a list: value and label
    fields: tuple[Field, ...]  # of an object or array

    def walk(self) -> Iterator[Field]:
        """The field and all below it."""
        yield self
        for field in self.fields:
            yield from field.walk()


def form(definition: Json, content: Json, submitted: Submitted | None = None) -> Field:
    """The form of a content, or of a new one (ABSENT) with the defaults of its schema.

    `definition` and `content` are values of exact_json. With `submitted` the controls show what a person typed.
    """
    builder = _Builder(Schemas(definition), submitted, is_new=content is ABSENT)
    return builder.root(content)


def content_of(field: Field) -> tuple[Json, Problems]:
    """The content that a form stands for, and what cannot be read of it."""
    problems: Problems = {}
    value = _value(field, problems)
    return {} if value is ABSENT else value, problems


class _Place(NamedTuple):
    """Where a value is in the form, and what it was in the content."""

    pointer: str = ""
    name: str = ""
    base: Json = ABSENT  # the value in the content
    initial: Json = ABSENT  # the value that the control shows at first
    depth: int = 0  # levels of objects that the content lacks
    is_required: bool = False
    origin: str | None = None  # of an item


@dataclass(slots=True)
class _Builder:
    schemas: Schemas
    submitted: Submitted | None
    is_new: bool

    def root(self, content: Json) -> Field:
        schema = self.schemas.root
        many = isinstance(content, dict) and len(content) > form_schema.MAX_KEYS_SHOWN
        fits = content is ABSENT or isinstance(content, dict)
        initial = content if content is not ABSENT else schema.get("default", ABSENT)
        return self._field(
            schema, Kind.JSON if many or not fits else Kind.OBJECT, _Place(base=content, initial=initial)
        )

    def _child(self, schema: Json, place: _Place) -> Field:
        resolved = self.schemas.resolved(schema)
        if place.initial is ABSENT and self.is_new:
            place = place._replace(initial=resolved.get("default", ABSENT))
        kind = form_schema.kind_of(resolved, place.initial, place.name if place.origin is None else "")
        if kind in {Kind.OBJECT, Kind.ARRAY}:
            is_absent = place.initial is ABSENT
            if place.depth >= _MAX_ABSENT_DEPTH if is_absent else size(place.initial) > form_schema.MAX_ITEMS_SHOWN:
                kind = Kind.JSON
        return self._field(resolved, kind, place)

    def _field(self, schema: Schema, kind: Kind, place: _Place) -> Field:
        fields: tuple[Field, ...] = ()
        if kind == Kind.OBJECT:
            fields = tuple(self._members(schema, place))
        elif kind == Kind.ARRAY:
            fields = tuple(self._items(schema, place))
        title, description = schema.get("title"), schema.get("description")
        text = _text(kind, place.initial)
        return Field(
            pointer=place.pointer,
            kind=kind,
            key=place.name,
            label=title if isinstance(title, str) and title else place.name or "(empty name)",
            description=description if isinstance(description, str) else "",
            rules=() if kind in {Kind.OBJECT, Kind.ARRAY, Kind.ENUM} else tuple(form_schema.rules_of(schema)),
            is_required=place.is_required,
            is_item=place.origin is not None,
            base=place.base,
            text=text if self.submitted is None else self.submitted.get(place.pointer, text),
            origin=place.origin or "",
            options=_options(schema, kind, place.base, place.is_required),
            fields=fields,
        )

    def _members(self, schema: Schema, above: _Place) -> Iterator[Field]:
        required = set(form_schema.required_of(schema))
        depth = above.depth + 1 if above.initial is ABSENT else 0
        for name, child in form_schema.properties_of(schema, above.initial).items():
            base, initial = _member(above.base, name), _member(above.initial, name)
            yield self._child(child, _Place(join(above.pointer, name), name, base, initial, depth, name in required))

    def _items(self, schema: Schema, above: _Place) -> Iterator[Field]:
        initials = above.initial if isinstance(above.initial, list) else []
        items = schema.get("items")
        if not isinstance(items, dict) or "prefixItems" in schema:
            items = form_schema.schema_of(initials).get("items", {})
        origins = self._origins(above.pointer)
        if origins is None:
            origins = [str(number) if above.base is not ABSENT else "" for number in range(len(initials))]
        else:
            initials = [_item(above.base, origin) for origin in origins]
        for number, (origin, initial) in enumerate(zip(origins, initials, strict=True)):
            pointer, base = join(above.pointer, number), _item(above.base, origin)
            place = _Place(pointer, str(number), base, initial, above.depth + 1, origin=origin)
            yield self._child(items, place)

    def _origins(self, pointer: str) -> list[str] | None:
        """The origins of the items that were submitted."""
        if self.submitted is None:
            return None
        found: list[str] = []
        while len(found) < MAX_NEW_ITEMS + form_schema.MAX_ITEMS_SHOWN:
            origin = self.submitted.get(ORIGIN + join(pointer, len(found)))
            if origin is None:
                break
            found.append(origin)
        return found


def _member(value: Json, name: str) -> Json:
    return value.get(name, ABSENT) if isinstance(value, dict) else ABSENT


def _item(value: Json, origin: str) -> Json:
    index = _index(origin)
    return value[index] if isinstance(value, list) and index is not None and index < len(value) else ABSENT


def _index(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else None


def _text(kind: Kind, value: Json) -> str:
    """What the control of a value shows."""
    if value is ABSENT or kind in {Kind.OBJECT, Kind.ARRAY}:
        return ""
    if kind in {Kind.JSON, Kind.ENUM}:
        return dumps(value, 2 if kind == Kind.JSON else 0)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.text if isinstance(value, Number) else str(value)


def _options(schema: Schema, kind: Kind, base: Json, required: bool) -> tuple[tuple[str, str], ...]:
    if kind == Kind.BOOLEAN:
        options = [("true", "yes"), ("false", "no")]
    elif kind == Kind.ENUM:
        choices = form_schema.choices_of(schema) or []
        options = [(dumps(each), each if isinstance(each, str) and each else dumps(each)) for each in choices]
        if base is not ABSENT and dumps(base) not in dict(options):
            options.append((dumps(base), f"{dumps(base)} (not permitted)"))
    else:
        return ()
    can_be_empty = base is ABSENT or not required or (kind == Kind.BOOLEAN and base is None)
    return (*((("", "–"),) if can_be_empty else ()), *options)


def _value(field: Field, problems: Problems) -> Json:
    """The value that a field stands for, or ABSENT."""
    if field.kind == Kind.OBJECT:
        return _object(field, problems)
    if field.kind == Kind.ARRAY:
        items = [value for each in field.fields if (value := _value(each, problems)) is not ABSENT]
        return ABSENT if field.base is ABSENT and not items else items
    text = _LINE_ENDS.sub("\n", field.text)
    if text == _LINE_ENDS.sub("\n", _text(field.kind, field.base)):
        return field.base
    if field.kind in {Kind.TEXT, Kind.LONG, Kind.DATE}:
        is_cleared = not text and (field.is_item or not field.is_required)
        return ABSENT if is_cleared else _with_line_ends_of(field.base, text)
    if not text.strip():
        return ABSENT
    try:
        return _scalar(field.kind, text.strip())
    except Malformed as error:
        problems.setdefault(field.pointer, []).append(error.message.removeprefix("JSON: "))
        return field.base


def _object(field: Field, problems: Problems) -> Json:
    """Members keep their order; new ones come last."""
    values = {each.key: _value(each, problems) for each in field.fields}
    order = [*(field.base if isinstance(field.base, dict) else ()), *values]
    found = {key: values[key] for key in dict.fromkeys(order) if values[key] is not ABSENT}
    return ABSENT if field.base is ABSENT and not found else found


def _scalar(kind: Kind, text: str) -> Json:
    if kind == Kind.NUMBER and not _NUMBER.fullmatch(text):
        raise Malformed("this is no number; write it like 1234.5")
    value = loads(text)
    if kind == Kind.BOOLEAN and not isinstance(value, bool):
        raise Malformed("expected true or false")
    return value


def _with_line_ends_of(base: Json, text: str) -> str:
    """Lines end as they did before, if all of them ended with CR LF."""
    if isinstance(base, str) and "\r\n" in base and not re.search(r"\r(?!\n)|(?<!\r)\n", base):
        return text.replace("\n", "\r\n")
    return text


def rearranged(submitted: Submitted, action: str) -> tuple[dict[str, str], str]:
    """What is submitted after a change of an array, and the pointer of the item to go to.

    `action` is `add:POINTER` of an array, or `remove:`, `up:` or `down:` and the pointer of an item.
    """
    verb, _, pointer = action.partition(":")
    array, _, last = (pointer, "", "") if verb == "add" else pointer.rpartition("/")
    count = 0
    while ORIGIN + join(array, count) in submitted:
        count += 1
    order: list[int | None] = list(range(count))
    index = _index(last)
    at = count if index is None else index
    if verb == "add":
        order.append(None)
    elif at < count:
        item = order.pop(at)
        if verb in {"up", "down"}:
            at = max(0, min(count - 1, at + (1 if verb == "down" else -1)))
            order.insert(at, item)
    remaining = len(order)
    target = join(array, min(at, remaining - 1)) if remaining else array
    return _reordered(submitted, array, order), target


def _reordered(submitted: Submitted, array: str, order: list[int | None]) -> dict[str, str]:
    below = f"{array}/"
    found = {name: value for name, value in submitted.items() if not name.removeprefix(ORIGIN).startswith(below)}
    for number, old in enumerate(order):
        if old is None:
            found[ORIGIN + join(array, number)] = ""
            continue
        before, after = join(array, old), join(array, number)
        for name, value in submitted.items():
            prefix, path = (ORIGIN, name.removeprefix(ORIGIN)) if name.startswith(ORIGIN) else ("", name)
            if path == before or path.startswith(before + "/"):
                found[prefix + after + path.removeprefix(before)] = value
    return found
