"""Snippet types: their definitions, compiled (protocol.md#types).

    {"description": text,
     "schema":      JSON Schema for the content                                 (absent: any object)
     "searchable":  {field: weight}, weight > 0                                 (absent: not searched)
     "indexed":     [field, …] with an index for SNIPPET_FIND                   (absent: none)
     "unique":      [field, …], indexed; no two snippets have the same value    (absent: none)
     "composed_of": [type, …] allowed as children                               (absent: any; []: no children)
     "max_depth":   levels allowed below a snippet                              (absent: any)}

Weights are rounded to `search_text.WEIGHTS`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from reed.errors import CallError, Conflict, Invalid, JobMemory, JobTimeout, NotFound, TooLarge, nearest
from reed.store.schema import Schema
from reed.store.schema_cost import Cost, weigh
from reed.store.search_text import Columns, nearest_column
from reed.wire import identifiers, strict_json
from reed.wire.frames import MAX_PAYLOAD
from reed.wire.registry import Definition
from reed.wire.strict_json import Json
from reed.wire.structs import COUNT, DEFINITION

_MAX_INDEXED = 32  # fields
_IGNORED = frozenset({"routable"})  # definitions of older versions have it
MAX_DEFINITION = 1024 * 1024  # bytes
MAX_DEFINITION_IN_LOOP = 16 * 1024  # bytes; a longer one is read and compiled in workers only
MAX_COUNTED = 1000  # snippets of a type that is to be deleted
MAX_OUTLINE = 64 * 1024  # bytes of a definition without its schema and description


class Type(NamedTuple):
    name: str
    definition: bytes
    schema: Schema | None
    columns: Columns
    indexed: frozenset[str]
    unique: frozenset[str]
    composed_of: frozenset[str] | None
    max_depth: int | None
    problem: str = ""  # why the type is switched off: its snippets can be read, not written

    @property
    def fields(self) -> dict[str, bool]:
        """The fields with an index, sorted; whether their values are unique."""
        return {field: field in self.unique for field in sorted(self.indexed | self.unique)}

    def check(self, content: dict[str, Json]) -> None:
        """Raises Invalid, which names each problem and its place."""
        if self.schema is not None and not self.schema.is_valid(content):
            raise self.unfit(self.schema.problems(content))

    def unfit(self, problems: str) -> Invalid:
        hint = f"`reed registry get {self.name}` shows what is expected"
        return Invalid(f"the content does not fit its type {self.name!r}: {problems}", hint=hint)

    def check_child(self, child_type: str) -> None:
        """Raises Invalid unless snippets of this type may have children of that type."""
        if self.composed_of is not None and child_type not in self.composed_of:
            allowed = ", ".join(sorted(self.composed_of)) or "none"
            raise Invalid(
                f"a snippet of type {self.name!r} cannot have children of type {child_type!r}",
                hint=f"composed_of of {self.name!r} allows: {allowed}",
            )


class TypeCatalog:
    def __init__(self) -> None:
        self._types: dict[str, Type] = {}

    def load(self, definitions: Iterable[tuple[str, bytes]]) -> None:
        """Replace all types. One whose schema is no longer accepted is switched off (`Type.problem`)."""
        self._types = {name: _compile_stored(name, definition) for name, definition in definitions}

    def load_one(self, name: str, definition: bytes) -> None:
        self._types[name] = _compile_stored(name, definition)

    def copy(self) -> TypeCatalog:
        copy = TypeCatalog()
        copy._types = dict(self._types)
        return copy

    def get(self, name: str) -> Type:
        """The type, or NotFound."""
        found = self._types.get(name)
        if found is None:
            identifiers.check("type name", name)
            raise no_type(name, self._types)
        return found

    def find(self, name: str) -> Type | None:
        return self._types.get(name)

    def require(self, name: str) -> Type:
        """The type for a write, or Invalid: it is not defined, or switched off."""
        found = self._types.get(name)
        if found is None:
            identifiers.check("type name", name)
            raise Invalid(f"type {name!r} is not defined", hint=_hint(name, self._types))
        if found.problem:
            raise Invalid(f"type {name!r} is switched off: {found.problem}", hint=f"reed registry define {name} …")
        return found

    def put(self, new: Type) -> Type | None:
        """Add or replace a type; gives the one it replaces."""
        old = self._types.get(new.name)
        self._types[new.name] = new
        return old

    def remove(self, name: str) -> None:
        del self._types[name]

    def definitions(self) -> list[Definition]:
        """Raises TooLarge if they do not fit into one response."""
        if sum(len(each.definition) + DEFINITION.size for each in self) > MAX_PAYLOAD - COUNT.size:
            raise TooLarge(
                f"the definitions of {len(self)} types have more than {MAX_PAYLOAD} bytes",
                hint="ask for them one by one: `reed registry get`",
            )
        return [Definition(name, self._types[name].definition) for name in sorted(self._types)]

    def columns(self) -> set[int]:
        """The columns of the search index that any type uses."""
        return {column for type_ in self for _, column in type_.columns}

    def max_depths(self) -> dict[str, int]:
        """By type, of those that have one."""
        return {type_.name: type_.max_depth for type_ in self if type_.max_depth is not None}

    def __iter__(self) -> Iterator[Type]:
        return iter(self._types.values())

    def __len__(self) -> int:
        return len(self._types)


def no_type(name: str, known: Iterable[str]) -> NotFound:
    """`known`: the types that may be meant."""
    return NotFound(f"no type {name!r}", hint=_hint(name, known))


def _hint(name: str, known: Iterable[str]) -> str:
    return nearest(name, known) or f"define it: reed registry define {name} --file {name}.json"


def _compile_stored(name: str, definition: bytes) -> Type:
    try:
        return compile_type(name, definition, for_loop=True)
    except Invalid as error:
        return compile_type(name, definition, without_schema=True)._replace(problem=error.message)


def check_definition(name: str, definition: bytes) -> None:
    """Raises Malformed for a wrong name, Invalid for a definition that is too long."""
    identifiers.check("type name", name)
    if len(definition) > MAX_DEFINITION:
        raise Invalid(f"type {name!r}: a definition of {len(definition)} bytes", hint=f"at most {MAX_DEFINITION}")


def not_tried(name: str, error: CallError) -> CallError:
    """A definition that takes too long is refused for good."""
    if error.error_code not in {JobTimeout.error_code, JobMemory.error_code}:
        return error
    return Invalid(
        f"type {name!r}: schema: validating takes too long: {error.message}",
        hint="a definition that refers to itself twice for the same value never ends; make it simpler",
    )


def type_in_use(name: str, found: int) -> Conflict:
    """`found` is the number of its snippets, counted up to MAX_COUNTED + 1."""
    count = f"{found}" if found <= MAX_COUNTED else f"more than {MAX_COUNTED}"
    return Conflict(
        f"type {name!r} has {count} {'snippet' if found == 1 else 'snippets'}",
        hint=f"delete them first: `reed snippet list --type {name}` lists them",
    )


def compile_type(name: str, definition: bytes, *, for_loop: bool = False, without_schema: bool = False) -> Type:
    """Raises Malformed unless the definition is a JSON object, Invalid for an unknown key or a wrong value.

    `for_loop`: the schema is compiled only if that is short, and only so that validating is linear (see `schema`).
    """
    check_definition(name, definition)
    fields = strict_json.load_object(definition)
    if without_schema:
        fields.pop("schema", None)
    for key in _IGNORED & fields.keys():
        del fields[key]
    for key, value in fields.items():
        reader = _READERS.get(key)
        if reader is None:
            hint = nearest(key, _READERS) or f"expected one of {', '.join(_READERS)}"
            raise Invalid(f"type {name!r}: unknown key {key!r}", hint=hint)
        fields[key] = reader(f"type {name!r}: {key}", value)
    schema: Schema | None = fields.get("schema")
    if schema is not None and not for_loop:
        schema.compile()
    elif schema is not None and len(definition) <= MAX_DEFINITION_IN_LOOP:
        schema.compile_for_loop()
    return Type(
        name=name,
        definition=definition,
        schema=schema,
        columns=fields.get("searchable", ()),
        indexed=fields.get("indexed", frozenset()),
        unique=fields.get("unique", frozenset()),
        composed_of=fields.get("composed_of"),
        max_depth=fields.get("max_depth"),
    )


def compile_in_loop(name: str, definition: bytes) -> Type | None:
    """None: a worker has to try it. Raises Malformed, Invalid."""
    check_definition(name, definition)
    if len(definition) > MAX_DEFINITION_IN_LOOP:
        return None
    new = compile_type(name, definition, for_loop=True)
    return new if new.schema is None or new.schema.is_compiled else None


def outline_of(name: str, definition: bytes) -> tuple[bytes, Cost | None]:
    """What the loop needs of a long definition: all but schema and description, and the schema's cost. Raises
    Malformed, Invalid."""
    fields = strict_json.load_object(definition)
    schema = fields.pop("schema", None)
    fields.pop("description", None)
    outline = strict_json.dumps(fields)
    if len(outline) > MAX_OUTLINE:
        raise Invalid(
            f"type {name!r}: {len(outline)} bytes besides its schema and description", hint=f"at most {MAX_OUTLINE}"
        )
    return outline, None if schema is None else weigh("schema", schema)


def from_outline(name: str, definition: bytes, outline: bytes, cost: Cost | None) -> Type:
    """The type of a definition from its outline. `cost`: of its schema, which is compiled in workers only."""
    schema = None if cost is None else Schema.for_workers(cost)
    return compile_type(name, outline)._replace(definition=definition, schema=schema)


def columns_of(definition: bytes) -> Columns:
    """The searchable fields of a stored definition."""
    searchable = json.loads(definition).get("searchable", {})
    return tuple((field, nearest_column(weight)) for field, weight in searchable.items())


def _text(place: str, value: Json) -> str:
    if not isinstance(value, str):
        raise Invalid(f"{place}: expected a string, found {strict_json.describe(value)}")
    return value


def _depth(place: str, value: Json) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise Invalid(f"{place}: expected a whole number, 0 or more, found {strict_json.dumps(value).decode()[:40]}")
    return value


def _type_names(place: str, value: Json) -> frozenset[str]:
    return _strings(place, value, "type name", identifiers.is_type_name, hint="expected a-z, then a-z 0-9 -")


def _fields(place: str, value: Json) -> frozenset[str]:
    fields = _strings(place, value, "field", bool, hint="expected the name of a top-level field")
    if len(fields) > _MAX_INDEXED:
        raise Invalid(f"{place}: {len(fields)} fields", hint=f"at most {_MAX_INDEXED}: each makes writes slower")
    return fields


def _strings(place: str, value: Json, what: str, is_valid: Callable[[str], bool], *, hint: str) -> frozenset[str]:
    if not isinstance(value, list):
        raise Invalid(f"{place}: expected an array of {what}s, found {strict_json.describe(value)}")
    for number, item in enumerate(value):
        if not isinstance(item, str) or not is_valid(item):
            found = strict_json.dumps(item).decode()[:60]
            raise Invalid(f"{place}[{number}]: {found} is not a {what}", hint=hint)
    return frozenset(value)


def _columns(place: str, value: Json) -> Columns:
    if not isinstance(value, dict):
        raise Invalid(f"{place}: expected an object of weights by field, found {strict_json.describe(value)}")
    return tuple((field, _column(f"{place}.{field}", weight)) for field, weight in value.items())


def _column(place: str, weight: Json) -> int:
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or weight <= 0:
        found = strict_json.dumps(weight).decode()[:40]
        raise Invalid(f"{place}: expected a weight above 0, found {found}")
    return nearest_column(weight)


def _schema(place: str, schema: Json) -> Schema:
    if not isinstance(schema, (dict, bool)):
        raise Invalid(f"{place}: expected a JSON Schema, found {strict_json.describe(schema)}")
    return Schema(place, schema)


_READERS: dict[str, Callable[[str, Json], Any]] = {
    "description": _text,
    "schema": _schema,
    "searchable": _columns,
    "indexed": _fields,
    "unique": _fields,
    "composed_of": _type_names,
    "max_depth": _depth,
}
