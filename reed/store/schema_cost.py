"""An upper bound for the cost of validating a content (limits.md#schemas).

weight   schema objects after expanding every `$ref`: each may visit each value of a content
nodes    values of a content, estimated from its commas and opening brackets
cost     weight × nodes; each takes at most about 130 ns if the schema `is_bounded`

weight above MAX_WEIGHT                       refused: 20 levels of doubled `$ref`s weigh a million
cost up to MAX_COST_IN_LOOP, short content,   validated in the loop
or a long one with few nodes
otherwise                                     in a worker, with a deadline
"""

from __future__ import annotations

from typing import NamedTuple

from reed.errors import Invalid
from reed.wire.strict_json import Json

MAX_WEIGHT = 10_000
MAX_COST_IN_LOOP = 20_000  # weight × nodes; at most 2.6 ms
MAX_COST_OF_ERRORS_IN_LOOP = 500  # listing errors costs far more than finding one
MAX_COST_OF_ERRORS = 1_000_000  # in a worker: beyond it only the first error is built
MAX_CONTENT_IN_LOOP = 64 * 1024  # bytes
MAX_LONG_TEXT_IN_LOOP = 256 * 1024  # bytes, of a content with few nodes, such as a long page: 2 ms
_MAX_NODES_OF_LONG_TEXT = 4096
_MAX_READ_OF_LONG_TEXT = 1024 * 1024  # weight × bytes: each schema may read the whole text
MAX_CONTENT_FOR_PATTERNS = 4 * 1024  # bytes, if the schema has a regular expression
_MAX_REF_DEPTH = 128  # nested schemas, including those through `$ref`s

# Whose value is one schema, a list of schemas, or schemas by name.
_SCHEMA = frozenset(
    {"items", "additionalProperties", "additionalItems", "propertyNames", "contains", "not", "if", "then", "else"}
)
_SCHEMAS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems", "items"})
_NAMED_SCHEMAS = frozenset({"properties", "patternProperties", "dependentSchemas"})
_UNUSED = frozenset({"$defs", "definitions"})  # cost nothing until a `$ref` uses them
_PATTERNS = frozenset({"pattern", "patternProperties"})
# They inspect a value once.
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
    is_bounded: bool  # False: a keyword, such as unevaluatedItems, may cost more than weight × nodes
    has_pattern: bool

    def fits_loop(self, content: bytes | memoryview) -> bool:
        """May the loop check whether this content is valid?"""
        size = len(content)
        if size <= self.length_in_loop:
            return True
        if not self.is_bounded or size > (MAX_CONTENT_FOR_PATTERNS if self.has_pattern else MAX_LONG_TEXT_IN_LOOP):
            return False
        if size > MAX_CONTENT_IN_LOOP and self.weight * size > _MAX_READ_OF_LONG_TEXT:
            return False
        nodes = nodes_of(content)
        return self.weight * nodes <= MAX_COST_IN_LOOP and (
            size <= MAX_CONTENT_IN_LOOP or nodes <= _MAX_NODES_OF_LONG_TEXT
        )

    @property
    def length_in_loop(self) -> int:
        """A content of at most so many bytes fits, since it has no more nodes than bytes; -1 if there is none."""
        if not self.is_bounded:
            return -1
        longest = MAX_CONTENT_FOR_PATTERNS if self.has_pattern else MAX_CONTENT_IN_LOOP
        return min(MAX_COST_IN_LOOP // self.weight, longest)

    def errors_fit_loop(self, content: bytes | memoryview) -> bool:
        """May the loop collect the error messages for this content?"""
        return self.is_bounded and self.weight * nodes_of(content) <= MAX_COST_OF_ERRORS_IN_LOOP


def nodes_of(content: bytes | memoryview) -> int:
    """An upper bound for the number of values: commas and brackets within strings count too."""
    text = bytes(content)
    return 1 + text.count(b",") + text.count(b"[") + text.count(b"{")


def weigh(place: str, schema: Json) -> Cost:
    """Raises Invalid when the weight is above MAX_WEIGHT or the schema is nested too deeply."""
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
        self._open: set[str] = set()  # refs being weighed: meeting one of them again is a recursion
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
    """Strings are looked up; other values are each compared with each node of the content."""
    if all(isinstance(value, str) for value in values):
        return 0
    return sum(1 + len(value) if isinstance(value, (dict, list)) else 1 for value in values)


def _target(root: Json, ref: str) -> Json:
    """The target of a JSON Pointer within the schema; None if there is none, or for an anchor."""
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
