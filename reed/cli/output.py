"""Output of commands.

    terminal    NAME        STATE  MEMORY      aligned, cut to the width, states coloured
    pipe        simple-seo⇥ready⇥812340       one line per row, no headings; \\t \\n \\r \\\\ escaped within a cell
    --json      [{"name":"simple-seo", …}]    the response of the core

On a terminal control characters are escaped: a snippet's title must not move the cursor.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from reed.errors import CallError, ErrorCode, FileError, ReedError
from reed.text import safe, safe_lines

if TYPE_CHECKING:
    from pathlib import Path

_GAP = 2
_MIN_WIDTH = 8
_ESCAPES = {9: "\\t", 10: "\\n", 13: "\\r", 92: "\\\\"}
_SPACES = {9: " ", 10: " ", 13: " "}
_COLOUR_CODES = {"green": "32", "yellow": "33", "red": "1;31", "blue": "34", "dim": "2"}
_COLOUR_OF = {
    "ready": "green",
    "busy": "yellow",
    "starting": "yellow",
    "stopping": "yellow",
    "sleeping": "blue",
    "backoff": "red",
    "failed": "red",
    "stopped": "dim",
    "ok": "green",
    "skipped": "dim",
    "warning": "yellow",
    "error": "red",
    "started": "green",
    "renewed": "green",
    "removed": "yellow",
    "yes": "green",
    "no": "yellow",
}


class JsonText(str):
    """A cell that a pipe gets unescaped, on one line."""

    __slots__ = ()


class JsonContent:
    """Stored JSON text as a value in JSON output; its numbers keep their digits."""

    __slots__ = ("text",)

    def __init__(self, text: bytes) -> None:
        self.text = text


class Column:
    """
    key       key in the row; "latency_ms.p50" is nested, "name|id" the first that is set
    show      formats a value for a terminal
    right     right-aligned, never shortened
    whole     never shortened
    shrink    the order in which columns are shortened if the table is too wide
    coloured  values are states or results
    """

    __slots__ = ("coloured", "key", "right", "show", "shrink", "title", "whole")

    def __init__(
        self,
        title: str,
        key: str,
        show: Callable[[Any], str] | None = None,
        *,
        right: bool = False,
        whole: bool = False,
        shrink: int = 0,
        coloured: bool = False,
    ) -> None:
        self.title = title
        self.key = key
        self.show = show
        self.right = right
        self.whole = whole or right
        self.shrink = shrink
        self.coloured = coloured


class Output:
    def __init__(self, stream: TextIO, *, as_json: bool = False) -> None:
        self.stream = stream
        self.as_json = as_json
        self.is_terminal = stream.isatty()
        if hasattr(stream, "reconfigure"):
            if self.is_terminal:
                stream.reconfigure(errors="replace")  # characters that its encoding lacks
            else:
                stream.reconfigure(encoding="utf-8", errors="surrogateescape")

    @property
    def is_interactive(self) -> bool:
        return self.is_terminal and not self.as_json

    def table(
        self, columns: Sequence[Column], rows: Sequence[Mapping[str, Any]], pipe_keys: Sequence[str] | None = None
    ) -> None:
        """`pipe_keys`: the cells in a pipe, if not those of `columns`."""
        if self.as_json:
            self.json(rows)
        elif self.is_terminal:
            if rows:
                self._write_aligned(columns, rows)
        else:
            keys = pipe_keys or [column.key for column in columns]
            self.rows([_value(row, key) for key in keys] for row in rows)

    def rows(self, rows: Iterable[Sequence[Any]]) -> None:
        for row in rows:
            self.stream.write("\t".join(map(_cell, row)) + "\n")

    def json(self, value: Any) -> None:
        text = _dumps(value, 2 if self.is_terminal else None)
        self.stream.write((safe_lines(text) if self.is_terminal else text) + "\n")

    def show(self, value: Any, text: str, rows: Iterable[Sequence[Any]]) -> None:
        """Print `value` with --json, `text` on a terminal, `rows` into a pipe."""
        if self.as_json:
            self.json(value)
        elif self.is_terminal:
            self.info(text)
        else:
            self.rows(rows)

    def info(self, text: str) -> None:
        """On a terminal only."""
        if self.is_interactive:
            self.stream.write(safe_lines(text) + "\n")

    def result(self, result: str, text: str) -> None:
        first, *more = safe_lines(text).split("\n")
        self.stream.write(f"{paint(self.stream, f'{result:9}')}{first}\n")
        for line in more:
            self.stream.write(f"{'':9}{line}\n")

    def done(self, text: str, value: Mapping[str, Any]) -> None:
        """Like `show`, but print nothing into a pipe."""
        self.show(value, text, ())

    def figures(self, value: Mapping[str, Any], lines: Iterable[tuple[str, str]]) -> None:
        """Like `show`, with lines of name and text; a pipe gets rows such as store.snippets ⇥ 942."""
        self.show(value, "\n".join(f"{name:14} {text}" for name, text in lines), flatten(value))

    def text(self, data: bytes) -> None:
        """Byte for byte into a pipe; on a terminal JSON is formatted, other text escaped."""
        if not self.is_terminal:
            self.stream.flush()
            self.stream.buffer.write(data if data.endswith(b"\n") else data + b"\n")
            return
        try:
            self.json(JsonContent(data))
        except ValueError:
            self.stream.write(safe_lines(data.decode("utf-8", "replace")) + "\n")

    def _write_aligned(self, columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> None:
        titles = [column.title for column in columns]
        cells = [[_shown(column, _value(row, column.key)) for column in columns] for row in rows]
        widths = [max(map(width, column)) for column in zip(titles, *cells, strict=True)]
        _fit(widths, columns, self._terminal_width())
        for number, row in enumerate([titles, *cells]):
            line = ""
            for column, cell, wide in zip(columns, row, widths, strict=True):
                padded = pad(clip(cell, wide), wide, right=column.right)
                line += (paint(self.stream, padded) if column.coloured and number else padded) + " " * _GAP
            self.stream.write(line.rstrip() + "\n")

    def _terminal_width(self) -> int:
        columns = os.environ.get("COLUMNS", "")
        if columns.isascii() and columns.isdigit() and int(columns):
            return int(columns)
        try:
            return os.get_terminal_size(self.stream.fileno()).columns or 80
        except OSError:
            return 80


def flatten(value: Any, name: str = "") -> list[list[Any]]:
    """Rows of path and value; items of a list of objects have their `name` in the path."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        value = {each["name"]: {key: item for key, item in each.items() if key != "name"} for each in value}
    if not isinstance(value, dict):
        return [[name, value]]
    return [row for key, each in value.items() for row in flatten(each, f"{name}.{key}" if name else key)]


def print_error(text: str) -> None:
    print(f"{paint(sys.stderr, 'reed:', 'red')} {safe_lines(text, indent='  ')}", file=sys.stderr)


def error_as_json(error: ReedError) -> dict[str, Any]:
    """`status` and `code` are null unless the core or a plugin sent the error."""
    message, hint = error.message, error.hint
    if isinstance(error, CallError):
        if not hint and error.error_code in set(ErrorCode):  # the core sends "message; hint"
            message, _, hint = message.rpartition("; ") if "; " in message else (message, "", "")
        return {"status": int(error.status), "code": int(error.error_code), "message": message, "hint": hint}
    if isinstance(error, FileError):
        message = str(error).removesuffix(f"; {hint}")
    return {"status": None, "code": None, "message": message, "hint": hint}


def _dumps(value: Any, indent: int | None) -> str:
    """Numbers in JsonContent pass the encoder as marked strings."""
    mark = os.urandom(8).hex()

    def parsed(content: Any) -> Any:
        if not isinstance(content, JsonContent):
            raise TypeError(f"{type(content).__name__} is not JSON serializable")
        return json.loads(content.text, parse_int=marked, parse_float=marked)

    def marked(digits: str) -> str:
        return f"{mark}{digits}{mark}"

    separators = None if indent else (",", ":")
    text = json.dumps(value, ensure_ascii=False, indent=indent, separators=separators, default=parsed)
    return text.replace(f'"{mark}', "").replace(f'{mark}"', "")


def paint(stream: TextIO, text: str, colour: str = "") -> str:
    """`text` in this colour, or in that of the state or result that it is, if the stream shows colours."""
    colour = colour or _COLOUR_OF.get(text.strip(), "")
    if not colour or not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\x1b[{_COLOUR_CODES[colour]}m{text}\x1b[0m"


def _value(row: Mapping[str, Any], key: str) -> Any:
    first, _, other = key.partition("|")
    if other:
        return _value(row, first) or _value(row, other)
    value: Any = row
    for step in key.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def _shown(column: Column, value: Any) -> str:
    if value is None or value == "":
        return "-"
    return safe(column.show(value) if column.show else _plain(value))


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, dict)):
        return ",".join(map(str, value))
    return str(value)


def _cell(value: Any) -> str:
    return value.translate(_SPACES) if isinstance(value, JsonText) else _plain(value).translate(_ESCAPES)


def _fit(widths: list[int], columns: Sequence[Column], available: int) -> None:
    """Shorten columns in the order of `shrink`, then the widest of the others."""
    excess = sum(widths) + _GAP * (len(widths) - 1) - available
    by_use = sorted((column.shrink, number) for number, column in enumerate(columns) if column.shrink)
    rest = [number for number, column in enumerate(columns) if not column.whole and not column.shrink]
    for minimum in (_MIN_WIDTH, 1):
        for _, number in by_use:
            cut = max(0, min(excess, widths[number] - minimum))
            widths[number] -= cut
            excess -= cut
        while excess > 0 and rest and max(widths[number] for number in rest) > _MIN_WIDTH:
            widths[max(rest, key=widths.__getitem__)] -= 1
            excess -= 1


def short_path(path: Path) -> str:
    """Relative if below the working directory."""
    return os.path.relpath(path) if path.is_relative_to(os.getcwd()) else str(path)


def width(text: str) -> int:
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def clip(text: str, available: int) -> str:
    if width(text) <= available:
        return text
    while text and width(text) > available - 1:
        text = text[:-1]
    return text + "…"


def pad(text: str, available: int, *, right: bool = False) -> str:
    space = " " * (available - width(text))
    return space + text if right else text + space
