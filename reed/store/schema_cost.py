"""What validating against a JSON Schema may cost, known before anything is validated (limits.md#schemas).

    weight   schema objects after every `$ref` is expanded: each may look at each value of a content
    nodes    values of a content, counted by its commas and opening brackets
    cost     weight × nodes: at most some 130 ns each, for a schema that `is_bounded`

    weight above MAX_WEIGHT                    refused at once: doubled `$ref`s of 20 levels have a weight of a million
    cost up to MAX_COST_IN_LOOP, short content validated in the loop
    anything else                              validated in a worker, with a deadline

Nothing here validates or compiles: `weigh` reads the schema once, with the weight of each `$ref` target remembered.
"""

from __future__ import annotations

from typing import NamedTuple

from reed.errors import Invalid
from reed.wire.strict_json import Json

MAX_WEIGHT = 10_000
MAX_COST_IN_LOOP = 20_000  # weight × nodes: 2.6 ms at the worst
MAX_COST_OF_ERRORS_IN_LOOP = 500  # the texts of errors cost far more than finding out that there is one
MAX_CONTENT_IN_LOOP = 64 * 1024  # bytes
MAX_CONTENT_FOR_PATTERNS = 4 * 1024  # bytes, where the schema has a regular expression
_MAX_REF_DEPTH = 128  # schemas within each other, through `$ref`s too

# Keywords whose value is one schema, a list of schemas, or schemas by name.
_SCHEMA = frozenset(
    {"items", "additionalProperties", "additionalItems", "propertyNames", "contains", "not", "if", "then", "else"}
)
_SCHEMAS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems", "items"})
_NAMED_SCHEMAS = frozenset({"properties", "patternProperties", "dependentSchemas"})
_UNUSED = frozenset({"$defs", "definitions"})  # cost nothing until a `$ref` uses them
_PATTERNS = frozenset({"pattern", "patternProperties"})
# Keywords that look at one value once.
_PLAIN = frozenset(
    {
        *("$schema", "$id", "$comment", "$anchor", "title", "description", "default", "examples", "deprecated"),
        *("readOnly", "writeOnly", "type", "enum", "const", "required", "dependentRequired", "format"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength"),
        *("minItems", "maxItems", "minContains", "maxContains", "minProperties", "maxProperties"),
        *("contentEncoding", "contentMediaType"),
    }
)


class Cost(NamedTuple):
    weight: int
    is_bounded: bool  # False: has a keyword whose cost is no multiple of weight × nodes, such as unevaluatedItems
    has_pattern: bool

    def fits_loop(self, content: bytes | memoryview) -> bool:
        """May the loop find out whether this content is valid?"""
        limit = MAX_CONTENT_FOR_PATTERNS if self.has_pattern else MAX_CONTENT_IN_LOOP
        return self.is_bounded and len(content) <= limit and self.weight * nodes_of(content) <= MAX_COST_IN_LOOP

    def errors_fit_loop(self, content: bytes | memoryview) -> bool:
        """May the loop list what is wrong with this content?"""
        return self.is_bounded and self.weight * nodes_of(content) <= MAX_COST_OF_ERRORS_IN_LOOP


FREE = Cost(0, is_bounded=True, has_pattern=False)  # of a type without a schema


def nodes_of(content: bytes | memoryview) -> int:
    """At least as many as the content has values: commas and brackets within strings count too."""
    text = bytes(content)
    return 1 + text.count(b",") + text.count(b"[") + text.count(b"{")


def weigh(place: str, schema: Json) -> Cost:
    """The cost of a schema; Invalid when its weight is above MAX_WEIGHT, or when it is nested too deeply to tell."""
    scales = _Scales(place, schema)
    weight = scales.weight(schema, 0)
    return Cost(weight, scales.is_bounded, scales.has_pattern)


class _Scales:
    def __init__(self, place: str, root: Json) -> None:
        self.is_bounded = True
        self.has_pattern = False
        self._place = place
        self._root = root
        self._weights: dict[str, int] = {}  # by `$ref`
        self._open: set[str] = set()  # refs that are being weighed: one of them again is a recursion
        self._recursions = 0

    def weight(self, schema: Json, depth: int) -> int:
        if not isinstance(schema, dict):
            return 1
        if depth > _MAX_REF_DEPTH:
            raise Invalid(
                f"{self._place}: schemas are nested more than {_MAX_REF_DEPTH} deep through $ref",
                hint="flatten its definitions",
            )
        total = 1
        for keyword, value in schema.items():
            total += self._weight_of_keyword(keyword, value, depth + 1)
            if total > MAX_WEIGHT:
                raise Invalid(
                    f"{self._place}: validating takes too long: expanded, it has more than {MAX_WEIGHT} schemas",
                    hint="a definition that refers to another one twice doubles it at each level",
                )
        return total

    def _weight_of_keyword(self, keyword: str, value: Json, depth: int) -> int:
        self.has_pattern = self.has_pattern or keyword in _PATTERNS
        if keyword == "$ref":
            return self._weight_of_ref(value, depth)
        if keyword in _SCHEMAS and isinstance(value, list):
            return sum(self.weight(each, depth) for each in value)
        if keyword in _SCHEMA:
            return self.weight(value, depth)
        if keyword in _NAMED_SCHEMAS and isinstance(value, dict):
            return sum(self.weight(each, depth) for each in value.values())
        if keyword == "enum" and isinstance(value, list):
            return _weight_of_enum(value)
        if keyword in _UNUSED or keyword in _PLAIN or keyword == "pattern":
            return 0
        self.is_bounded = False  # unevaluated…, uniqueItems, $dynamicRef, or unknown
        return 0

    def _weight_of_ref(self, ref: Json, depth: int) -> int:
        if not isinstance(ref, str) or not ref.startswith("#"):
            self.is_bounded = False
            return 1
        if ref in self._open:  # each level of the content is validated by the same schemas again
            self._recursions += 1
            self.is_bounded = self.is_bounded and self._recursions == 1
            return 1
        if ref not in self._weights:
            target = _target(self._root, ref)
            if target is None:  # an anchor
                self.is_bounded = False
                return 1
            self._open.add(ref)
            self._weights[ref] = self.weight(target, depth)
            self._open.discard(ref)
        return self._weights[ref]


def _weight_of_enum(values: list[Json]) -> int:
    """Strings, or numbers, are looked up; of other values each is compared with each node of the content."""
    if all(isinstance(value, str) for value in values):
        return 0
    return sum(1 + len(value) if isinstance(value, (dict, list)) else 1 for value in values)


def _target(root: Json, ref: str) -> Json:
    """What a JSON Pointer within the schema leads to; None: nothing, or it is an anchor."""
    from urllib.parse import unquote

    path = unquote(ref[1:])
    if path and not path.startswith("/"):
        return None
    found = root
    for step in path.split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict):
            found = found.get(key)
        elif isinstance(found, list) and key.isdigit() and int(key) < len(found):
            found = found[int(key)]
        else:
            return None
    return found
