"""A JSON Schema, compiled: is a content valid, and what is wrong with it?

    compile            any schema; validating may take long, so it belongs into a worker
    compile_for_loop   only if its cost is bounded (see `schema_cost`) and its patterns are linear

`is_valid` builds no errors, so it is quick even with millions of them. The library, 12 MB, is imported where a schema
is compiled: by a worker, at the start of a core with types, or by `import_library`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from reed.errors import Invalid
from reed.store.schema_cost import MAX_COST_OF_ERRORS, Cost, weigh
from reed.wire import strict_json
from reed.wire.strict_json import Json

_MAX_PROBLEMS = 10  # in a message
_MAX_PROBLEM = 200  # characters
_MAX_BACKTRACKS = 100_000  # of a pattern on one text; beyond it the text does not match
_MAX_PATTERN = 16384  # bytes of a compiled pattern in the loop

_LIBRARY = ("decimal", "email.utils", "jsonschema_rs")  # the first two are imported by the third

if TYPE_CHECKING:
    import jsonschema_rs


def is_library_needed(definition: bytes) -> bool:
    """Whether compiling this definition of a type would import the library."""
    return b'"schema"' in definition and _LIBRARY[-1] not in sys.modules


def import_library(call_soon: Callable[[Callable[[], None]], None], done: Callable[[], None]) -> None:
    """Import the library in several turns of the loop: in one it takes 10 ms, or more from a cold disk."""
    left = [name for name in _LIBRARY if name not in sys.modules]

    def step() -> None:
        if left:
            importlib.import_module(left.pop(0))
            call_soon(step)
        else:
            done()

    step()


class Schema:
    __slots__ = ("_place", "_schema", "_validator", "cost", "is_compiled", "is_valid", "length_in_loop")

    is_valid: Callable[[Json], bool]  # of a content; once it is compiled

    def __init__(self, place: str, schema: Json) -> None:
        """`place` begins the text of errors. Raises Invalid if validating would take too long."""
        self.cost = weigh(place, schema)
        self._place = place
        self._schema: Json = schema  # until it is compiled
        self._validator: jsonschema_rs.Validator | None = None
        self.is_compiled = False
        self.length_in_loop = -1  # bytes; a content of at most so many fits the loop (`fits_loop`), whatever is in it

    @classmethod
    def for_workers(cls, cost: Cost) -> Schema:
        """Stands for a schema that this process has not read."""
        schema = cls.__new__(cls)
        schema.cost, schema.is_compiled, schema.length_in_loop = cost, False, -1
        return schema

    def fits_loop(self, content: bytes) -> bool:
        return self.is_compiled and self.cost.fits_loop(content)

    def compile(self) -> None:
        """Raises Invalid unless it is a JSON Schema."""
        import jsonschema_rs

        try:
            self._compile(jsonschema_rs.FancyRegexOptions(backtrack_limit=_MAX_BACKTRACKS))
        except jsonschema_rs.ValidationError as error:
            if "retriev" in error.message:
                raise Invalid(
                    f"{self._place}: {_short(error.message)}", hint="a schema may refer to its own parts only (#/…)"
                ) from None
            raise self._refused(f"{_path(error)}: {_short(error.message)}") from None
        except (ValueError, jsonschema_rs.ReferencingError) as error:
            raise self._refused(f": {_short(str(error))}") from None

    def compile_for_loop(self) -> None:
        """Does nothing if a worker must compile it. Raises Invalid unless it is a JSON Schema."""
        if not self.cost.is_bounded:
            return
        import jsonschema_rs

        if not self.cost.has_pattern:
            self.compile()
            return
        try:
            self._compile(jsonschema_rs.RegexOptions(size_limit=_MAX_PATTERN))
        except (ValueError, jsonschema_rs.ValidationError):  # a pattern may be slow, or `compile` says what is wrong
            return

    def problems(self, content: Json, nodes: int = 0) -> str:
        """What is wrong with a content that is not valid; of one with many nodes only the first."""
        import jsonschema_rs

        assert self._validator is not None
        if self.cost.weight * nodes > MAX_COST_OF_ERRORS:
            try:
                self._validator.validate(content)
            except jsonschema_rs.ValidationError as error:
                return f"{_problem(error)}; …"
        errors = self._validator.iter_errors(content)
        problems = [_problem(error) for error, _ in zip(errors, range(_MAX_PROBLEMS), strict=False)]
        return "; ".join(problems) + ("; …" if next(iter(errors), None) else "")

    def _compile(self, patterns: jsonschema_rs.RegexOptions | jsonschema_rs.FancyRegexOptions) -> None:
        import jsonschema_rs

        self._validator = jsonschema_rs.validator_for(
            self._schema, validate_formats=True, pattern_options=patterns, offline=True
        )
        self.is_valid = self._validator.is_valid  # bound here: one call less for each write
        self.is_compiled = True
        self.length_in_loop = self.cost.length_in_loop
        self._schema = None

    def _refused(self, why: str) -> Invalid:
        return Invalid(f"{self._place}{why}", hint="it is not a valid JSON Schema")


def _problem(error: jsonschema_rs.ValidationError) -> str:
    message = error.message
    if len(message) > _MAX_PROBLEM:
        message = message.replace(strict_json.dumps(error.instance).decode(), "this value")
    return f"${_path(error)}: {_short(message)}"


def _path(error: jsonschema_rs.ValidationError) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.instance_path)


def _short(text: str) -> str:
    text = text.partition("\n")[0]
    return text if len(text) <= _MAX_PROBLEM else text[: _MAX_PROBLEM // 2] + " … " + text[-_MAX_PROBLEM // 2 :]
