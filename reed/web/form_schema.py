"""Which control suits a value: read from its JSON Schema, and where the schema says nothing, from the value itself.

    {"type": "string"}                     TEXT, or LONG where it is long or has several lines
    {"type": "string", "format": "date"}   DATE
    {"enum": […]}, {"const": …}            ENUM
    number, integer, boolean               NUMBER, BOOLEAN
    object, array                          OBJECT, ARRAY of fields of their own
    anything else                          JSON, a text that is edited as JSON

A value that does not fit its schema's control is edited as JSON too, so that no value is changed by being shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from enum import StrEnum

from reed.wire.exact_json import ABSENT, Json, Number, dumps, steps

MAX_ITEMS_SHOWN = 200  # values of an array or object with a control of their own; a larger one is edited as JSON
MAX_KEYS_SHOWN = 300  # of the content itself
MAX_OPTIONS = 200
MAX_LINE = 120  # characters; a longer text gets several lines
_MAX_REFS = 20
_LONG_NAMES = frozenset({"body", "content", "markdown", "html"})
# HTML cannot carry these; in JSON they are escaped.
_UNSENDABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_COMBINED = ("anyOf", "oneOf", "allOf")

Schema = Mapping[str, Json]


class Kind(StrEnum):
    TEXT = "text"
    LONG = "long"
    DATE = "date"
    NUMBER = "number"
    BOOLEAN = "boolean"
    ENUM = "enum"
    JSON = "json"
    OBJECT = "object"
    ARRAY = "array"


_KINDS = {
    "string": Kind.TEXT,
    "number": Kind.NUMBER,
    "integer": Kind.NUMBER,
    "boolean": Kind.BOOLEAN,
    "object": Kind.OBJECT,
    "array": Kind.ARRAY,
}
_OF_KIND: dict[Kind, type] = {
    Kind.TEXT: str,
    Kind.NUMBER: Number,
    Kind.BOOLEAN: bool,
    Kind.OBJECT: dict,
    Kind.ARRAY: list,
}


class Schemas:
    """The schema of a type, and what its `$ref`s lead to."""

    def __init__(self, definition: Json) -> None:
        """`definition` is that of a type (protocol.md#types)."""
        whole = definition.get("schema", {}) if isinstance(definition, dict) else {}
        self._whole: Json = whole
        searchable = definition.get("searchable") if isinstance(definition, dict) else None
        root = dict(self.resolved(whole))
        known = _dict(root.get("properties"))
        named = {name: {"type": "string"} for name in _dict(searchable) if name not in known}
        self.root: Schema = {**root, "type": "object", "properties": {**known, **named}}

    def resolved(self, schema: Json) -> Schema:
        """With what its `$ref` leads to, and its only alternative besides null, merged into it."""
        for _ in range(_MAX_REFS):
            if not isinstance(schema, dict):
                return {}
            found = self._step(schema)
            if found is None:
                return schema
            schema = found
        return {}

    def _step(self, schema: Schema) -> dict[str, Json] | None:
        if isinstance(schema.get("$ref"), str):
            rest = {key: value for key, value in schema.items() if key != "$ref"}
            return {**_dict(self._at(schema["$ref"])), **rest}
        if "type" in schema or "properties" in schema:
            return None
        for word in _COMBINED:
            alternatives = schema.get(word)
            if isinstance(alternatives, list):
                real = [each for each in alternatives if each != {"type": "null"}]
                if len(real) == 1 and isinstance(real[0], dict):
                    return {**real[0], **{key: value for key, value in schema.items() if key != word}}
        return None

    def _at(self, reference: str) -> Json:
        if reference == "#":
            return self._whole
        if not reference.startswith("#/"):
            return None
        found = self._whole
        for step in steps(reference):
            found = _dict(found).get(step)
        return found


def kind_of(schema: Schema, value: Json, name: str = "") -> Kind:
    """`schema` is resolved; `value` may be ABSENT; `name` is that of the field."""
    choices = choices_of(schema)
    if choices is not None:
        return Kind.JSON if isinstance(value, (dict, list)) else Kind.ENUM
    kind = _kind_by_type(schema)
    if kind is None:
        is_open = "type" not in schema and not any(word in schema for word in _COMBINED)
        return kind_of(schema_of(value), value, name) if is_open and schema_of(value) else Kind.JSON
    if value is not ABSENT and not _fits(kind, value):
        return Kind.JSON
    return _text_kind(schema, value, name) if kind == Kind.TEXT else kind


def choices_of(schema: Schema) -> list[Json] | None:
    """The values of an enum or const, if a list of options can show them."""
    found = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if not isinstance(found, list) or not 0 < len(found) <= MAX_OPTIONS:
        return None
    return None if any(isinstance(each, (dict, list)) for each in found) else found


def schema_of(value: Json) -> Schema:
    """A schema that describes the value; {} for null, and for what is absent."""
    if isinstance(value, Number):
        return {"type": "number"}
    if isinstance(value, bool):
        return {"type": "boolean"}
    if isinstance(value, str):
        return {"type": "string"}
    if isinstance(value, dict):
        return {"type": "object"}
    if isinstance(value, list):
        kinds = [schema_of(item) for item in value[:MAX_ITEMS_SHOWN]]
        return {"type": "array", "items": kinds[0] if kinds and all(each == kinds[0] for each in kinds) else {}}
    return {}


def properties_of(schema: Schema, value: Json) -> dict[str, Json]:
    """The schemas of an object's members: those it declares, those it requires, and those that the value has."""
    found = dict(_dict(schema.get("properties")))
    for name in required_of(schema):
        found.setdefault(name, {} if isinstance(value, dict) and name in value else {"type": "string"})
    others = schema.get("additionalProperties")
    for name in value if isinstance(value, dict) else ():
        found.setdefault(name, others if isinstance(others, dict) else {})
    return found


def required_of(schema: Schema) -> list[str]:
    found = schema.get("required")
    return [name for name in found if isinstance(name, str)] if isinstance(found, list) else []


def rules_of(schema: Schema) -> Iterator[str]:
    """What the schema asks of a scalar, in words."""
    for low, high, unit in (("minLength", "maxLength", " characters"), ("minimum", "maximum", "")):
        least, most = schema.get(low), schema.get(high)
        if isinstance(least, Number) and isinstance(most, Number):
            yield f"{least.text} to {most.text}{unit}"
        elif isinstance(most, Number):
            yield f"at most {most.text}{unit}"
        elif isinstance(least, Number) and least.text != "0":
            yield f"at least {least.text}{unit}"
    example = _EXAMPLES.get(str(schema.get("format")))
    if example:
        yield f"such as {example}"
    if isinstance(schema.get("pattern"), str):
        yield f"matches {schema['pattern']}"
    if schema.get("type") == "integer":
        yield "a whole number"
    if "default" in schema:
        yield f"default {_short(dumps(schema['default']))}"


_EXAMPLES = {
    "date-time": "2026-11-27T12:00:00Z",
    "time": "12:00:00Z",
    "duration": "P1DT12H",
    "email": "ada@example.org",
    "uri": "https://example.org/page",
}


def _kind_by_type(schema: Schema) -> Kind | None:
    types = schema.get("type")
    named = [each for each in types if each != "null"] if isinstance(types, list) else [types]
    if len(named) == 1 and isinstance(named[0], str):
        return _KINDS.get(named[0])
    return Kind.OBJECT if types is None and isinstance(schema.get("properties"), dict) else None


def _fits(kind: Kind, value: Json) -> bool:
    if value is None:
        return kind not in {Kind.OBJECT, Kind.ARRAY}
    if not isinstance(value, _OF_KIND[kind]):
        return False
    return not (isinstance(value, str) and _UNSENDABLE.search(value))


def _text_kind(schema: Schema, value: Json, name: str) -> Kind:
    text = value if isinstance(value, str) else ""
    if schema.get("format") == "date" and (not text or _is_date(text)):
        return Kind.DATE
    longest = schema.get("maxLength")
    may_be_long = isinstance(longest, Number) and len(longest.text) > 2 and float(longest.text) > MAX_LINE
    is_long = len(text) > MAX_LINE or "\n" in text or "\r" in text or name in _LONG_NAMES
    return Kind.LONG if is_long or may_be_long or "contentMediaType" in schema else Kind.TEXT


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _dict(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"
