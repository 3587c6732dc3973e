"""The front matter of a Markdown file: YAML between two lines of three hyphens, before the text.

    ---                       line 1
    title: Getting started    fields["title"] == "Getting started", lines["title"] == 2
    order: 1
    ---
    # Getting started         the body begins here

YAML as other tools read it, with these differences: a date stays the text that was written, a field without a value
is absent, and keys that are no text, keys that occur twice, anchors and tags are errors.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NamedTuple

import yaml

from reed.errors import FileError

_DATES = "tag:yaml.org,2002:timestamp"


class FrontMatter(NamedTuple):
    fields: dict[str, Any]
    lines: dict[str, int]  # of the keys of `fields`, in the file


def read(path: str, text: str, first_line: int) -> FrontMatter:
    """`first_line` of the YAML in the file `path`. Raises FileError with line and column."""
    try:
        loader = _Loader(text)
        value = loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + first_line, mark.column + 1) if mark else (first_line, 0)
        problem = f"front matter: {error.problem or error.context or 'not YAML'}"
        raise FileError(path, problem, line=line, column=column) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + first_line
        raise FileError(path, f"front matter: character U+{error.character:04X} is not allowed", line=line) from None
    except (ValueError, RecursionError) as error:  # such as a number with too many digits, or nesting without end
        raise FileError(path, f"front matter: {str(error) or 'nested too deeply'}", line=first_line) from None
    if value is None:
        return FrontMatter({}, {})
    if not isinstance(value, dict):
        problem = f"front matter: expected fields and values, found a {type(value).__name__}"
        raise FileError(path, problem, line=first_line, hint="write `title: …`")
    lines = {key: line + first_line for key, line in loader.key_lines.items()}
    return FrontMatter(_without_nulls(value), lines)


def _without_nulls(value: dict[str, Any]) -> dict[str, Any]:
    """A merge patch, by which the import updates a page, cannot set a member to null."""
    kept = {key: each for key, each in value.items() if each is not None}
    return {key: _without_nulls(each) if isinstance(each, dict) else each for key, each in kept.items()}


class _Loader(yaml.SafeLoader):
    """`key_lines` of the outermost mapping, from 0."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.key_lines: dict[str, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):  # a few bytes of aliases can stand for gigabytes
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases such as *name are not supported", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[str, int] = {}
        for key_node, _ in node.value:
            key = self.construct_object(key_node)
            if not isinstance(key, str):
                problem = f"the key {key!r} is no text; quote it"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            if key in seen:
                problem = f"the key {key!r} occurs twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen[key] = key_node.start_mark.line
        if node.start_mark.index == self._outermost:
            self.key_lines = seen
        return super().construct_mapping(node, deep)

    def get_single_data(self) -> Any:
        node = self.get_single_node()
        self._outermost = node.start_mark.index if node is not None else 0
        return self.construct_document(node) if node is not None else None


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _DATES]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
