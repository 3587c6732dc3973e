"""Types: what a definition may say, and checking content against it.

    {"description": text,
     "schema":      JSON Schema for the content; references within it only      (absent: any object)
     "searchable":  {field: weight}, weight > 0                                 (absent: not searched)
     "indexed":     [field, …] that snippets are found by, at once              (absent: none)
     "unique":      [field, …] as indexed; no two snippets have the same value  (absent: none)
     "composed_of": [type, …] that its children may have                        (absent: any; []: no children)
     "max_depth":   levels there may be below it                                (absent: any)
     "routable":    true or false}

A weight is one of WEIGHTS: the search index has a column for each. Any other is taken for its nearest.
A type may be defined again: snippets stay as they are, later writes are checked against the new definition.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jsonschema_rs

from reed.errors import Invalid, NotFound
from reed.store.sqlite.transaction import Transaction
from reed.wire import identifiers, strict_json
from reed.wire.registry import Definition
from reed.wire.strict_json import Json

WEIGHTS = (0.25, 0.5, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20, 50, 100)  # database.WEIGHT_COLUMNS of them

_MAX_INDEXED = 32  # fields
_PROBLEMS_SHOWN = 10
_PROBLEM_LENGTH = 200
_BACKTRACKS = 100_000  # of one pattern on one text, then the text does not match
_HINT_GET = "`reed registry get {}` shows what is expected"


@dataclass(frozen=True, slots=True)
class Type:
    name: str
    definition: bytes  # as it came
    validator: jsonschema_rs.Validator | None
    columns: tuple[tuple[str, int], ...]  # searchable field, column of the index
    indexed: frozenset[str]
    unique: frozenset[str]  # indexed too
    composed_of: frozenset[str] | None
    max_depth: int | None

    def check(self, content: dict[str, Json]) -> None:
        """Invalid names what does not fit, and where."""
        validator = self.validator
        if validator is None or validator.is_valid(content):
            return
        errors = validator.iter_errors(content)
        problems = [_problem(error) for error, _ in zip(errors, range(_PROBLEMS_SHOWN), strict=False)]
        more = "; …" if next(iter(errors), None) else ""
        raise Invalid(
            f"the content does not fit its type {self.name!r}: {'; '.join(problems)}{more}",
            hint=_HINT_GET.format(self.name),
        )


class Types:
    """All types, in memory and in the file."""

    def __init__(self, turn: Transaction, writer: Any) -> None:
        self._turn = turn
        self._writer = writer
        self._changed = False
        self._types: dict[str, Type] = {}
        self._load()
        turn.join(self)

    def get(self, name: str) -> Type:
        """The type, or NotFound."""
        found = self._types.get(name)
        if found is None:
            identifiers.check("type name", name)
            raise NotFound(f"no type {name!r}", hint=self._hint(name))
        return found

    def of_new(self, name: str) -> Type:
        """The type of a snippet to be created, or Invalid: it must be defined first."""
        found = self._types.get(name)
        if found is None:
            identifiers.check("type name", name)
            raise Invalid(f"type {name!r} is not defined", hint=self._hint(name))
        return found

    def define(self, new: Type) -> Type | None:
        """Define a type that was compiled; gives what it was before."""
        old = self._types.get(new.name)
        self._turn.begin()
        self._writer.execute("INSERT OR REPLACE INTO types VALUES (?, ?)", (new.name, new.definition))
        self._changed = True
        self._types[new.name] = new
        return old

    def definitions(self) -> list[Definition]:
        return [Definition(name, self._types[name].definition) for name in sorted(self._types)]

    def columns(self) -> set[int]:
        """The columns of the search index that any type uses."""
        return {column for kind in self for _, column in kind.columns}

    def settle(self, kept: bool) -> None:
        if self._changed and not kept:
            self._load()
        self._changed = False

    def __iter__(self) -> Iterator[Type]:
        return iter(self._types.values())

    def __len__(self) -> int:
        return len(self._types)

    def _load(self) -> None:
        rows = self._writer.execute("SELECT name, definition FROM types").fetchall()
        self._types = {name: compile_type(name, definition) for name, definition in rows}

    def _hint(self, name: str) -> str:
        from difflib import get_close_matches

        near = get_close_matches(name, self._types, n=1)
        return f"did you mean {near[0]!r}?" if near else f"define it: reed registry define {name} --file {name}.json"


def compile_type(name: str, definition: bytes) -> Type:
    """Read a definition; Malformed when it is no JSON object, Invalid when it says what it may not."""
    identifiers.check("type name", name)
    fields = strict_json.load_object(definition)
    for key, value in fields.items():
        reader = _READERS.get(key)
        if reader is None:
            from difflib import get_close_matches

            near = get_close_matches(key, _READERS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(_READERS)}"
            raise Invalid(f"type {name!r}: unknown key {key!r}", hint=hint)
        fields[key] = reader(f"type {name!r}: {key}", value)
    return Type(
        name=name,
        definition=definition,
        validator=fields.get("schema"),
        columns=fields.get("searchable", ()),
        indexed=fields.get("indexed", frozenset()),
        unique=fields.get("unique", frozenset()),
        composed_of=fields.get("composed_of"),
        max_depth=fields.get("max_depth"),
    )


def _text(place: str, value: Json) -> str:
    if not isinstance(value, str):
        raise Invalid(f"{place}: expected a string, found {strict_json.describe(value)}")
    return value


def _flag(place: str, value: Json) -> bool:
    if not isinstance(value, bool):
        raise Invalid(f"{place}: expected true or false, found {strict_json.describe(value)}")
    return value


def _depth(place: str, value: Json) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise Invalid(f"{place}: expected a whole number from 0 on, found {strict_json.dumps(value).decode()[:40]}")
    return value


def _type_names(place: str, value: Json) -> frozenset[str]:
    if not isinstance(value, list):
        raise Invalid(f"{place}: expected an array of type names, found {strict_json.describe(value)}")
    for number, name in enumerate(value):
        if not isinstance(name, str) or not identifiers.is_type_name(name):
            found = strict_json.dumps(name).decode()[:60]
            raise Invalid(f"{place}[{number}]: {found} is not a type name", hint="expected a-z, then a-z 0-9 -")
    return frozenset(value)


def _fields(place: str, value: Json) -> frozenset[str]:
    if not isinstance(value, list):
        raise Invalid(f"{place}: expected an array of fields, found {strict_json.describe(value)}")
    for number, field in enumerate(value):
        if not isinstance(field, str) or not field:
            found = strict_json.dumps(field).decode()[:60]
            raise Invalid(f"{place}[{number}]: {found} is not a field", hint="expected the name of a top-level field")
    if len(set(value)) > _MAX_INDEXED:
        raise Invalid(f"{place}: {len(set(value))} fields", hint=f"at most {_MAX_INDEXED}: each makes writes slower")
    return frozenset(value)


def _columns(place: str, value: Json) -> tuple[tuple[str, int], ...]:
    if not isinstance(value, dict):
        raise Invalid(f"{place}: expected an object of weights by field, found {strict_json.describe(value)}")
    return tuple((field, _column(f"{place}.{field}", weight)) for field, weight in value.items())


def _column(place: str, weight: Json) -> int:
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or weight <= 0:
        found = strict_json.dumps(weight).decode()[:40]
        raise Invalid(f"{place}: expected a weight above 0, found {found}")
    # By ratio: 70 is nearer to 50 than to 100, as 7 is to 5 than to 10.
    return min(range(len(WEIGHTS)), key=lambda column: abs(math.log(weight) - math.log(WEIGHTS[column])))


def _validator(place: str, schema: Json) -> jsonschema_rs.Validator:
    if not isinstance(schema, (dict, bool)):
        raise Invalid(f"{place}: expected a JSON Schema, found {strict_json.describe(schema)}")
    patterns = jsonschema_rs.FancyRegexOptions(backtrack_limit=_BACKTRACKS)
    try:
        return jsonschema_rs.validator_for(schema, validate_formats=True, pattern_options=patterns, offline=True)
    except jsonschema_rs.ValidationError as error:
        if "retriev" in error.message:
            raise Invalid(
                f"{place}: {_short(error.message)}", hint="a schema may refer to its own parts only (#/…)"
            ) from None
        raise Invalid(f"{place}{_path(error)}: {_short(error.message)}", hint="it is not a sound JSON Schema") from None
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        raise Invalid(f"{place}: {_short(str(error))}", hint="it is not a sound JSON Schema") from None


_READERS: dict[str, Callable[[str, Json], Any]] = {
    "description": _text,
    "schema": _validator,
    "searchable": _columns,
    "indexed": _fields,
    "unique": _fields,
    "composed_of": _type_names,
    "max_depth": _depth,
    "routable": _flag,
}


def _problem(error: jsonschema_rs.ValidationError) -> str:
    message = error.message
    if len(message) > _PROBLEM_LENGTH:
        message = message.replace(strict_json.dumps(error.instance).decode(), "this value")
    return f"${_path(error)}: {_short(message)}"


def _path(error: jsonschema_rs.ValidationError) -> str:
    """Where in the value: `.keywords[1]`; empty for the whole."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.instance_path)


def _short(text: str) -> str:
    text = text.partition("\n")[0]
    return (
        text if len(text) <= _PROBLEM_LENGTH else text[: _PROBLEM_LENGTH // 2] + " … " + text[-_PROBLEM_LENGTH // 2 :]
    )
