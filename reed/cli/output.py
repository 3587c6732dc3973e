"""What commands print: tables for people, tab-separated lines for pipes, JSON for programs.

    terminal    NAME        STATE  MEMORY      columns aligned, numbers in words, cut to the width, headings
    pipe        simple-seo⇥ready⇥812340       a line for each row, values as they are, no headings
    --json      [{"name":"simple-seo", …}]    what the core answered

Content may hold anything. On a terminal nothing of it but printable characters arrives: an escape sequence in a title
must not move the cursor. In a pipe a tab, line feed, return or backslash in a cell is written as \\t \\n \\r \\\\; only
a JSON text stays as it is, with spaces where it was laid out in lines.

A table is as wide as COLUMNS says, else as the terminal; states are coloured (`colour`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TextIO

from reed.cli.json_content import JsonContent, dumps
from reed.errors import CallError, ErrorCode, FileError, ReedError
from reed.text import safe, safe_lines

_GAP = 2
_NARROWEST = 8
_ESCAPES = {9: "\\t", 10: "\\n", 13: "\\r", 92: "\\\\"}
_SPACES = {9: " ", 10: " ", 13: " "}


class JsonText(str):
    """A cell that is a JSON text: outside of its strings, which escape them, a tab or line feed is but a space."""

    __slots__ = ()


class Column:
    """A column of a table: `key` is that of a row, "latency_ms.p50" that of an object in it, "name|id" the first that
    is there. `show` puts a value into words for people.

    In a table that is too wide, columns with a `shrink` are shortened first, in that order (1: the least useful one);
    a column that is `whole` never is, nor one of numbers (`right`). `coloured`: its words are states or results.
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
    """Where a command prints to, and how."""

    def __init__(self, stream: TextIO, *, as_json: bool = False) -> None:
        self.stream = stream
        self.as_json = as_json
        self.is_terminal = stream.isatty()
        if hasattr(stream, "reconfigure"):
            if self.is_terminal:
                stream.reconfigure(errors="replace")  # it may not know all characters
            else:
                stream.reconfigure(encoding="utf-8", errors="surrogateescape")

    @property
    def is_for_people(self) -> bool:
        return self.is_terminal and not self.as_json

    def table(
        self, columns: Sequence[Column], rows: Sequence[Mapping[str, Any]], piped: Sequence[str] | None = None
    ) -> None:
        """Rows; as JSON with all that they hold. `piped`: the keys for a pipe, where they are not the columns'."""
        if self.as_json:
            self.json(rows)
        elif self.is_terminal:
            if rows:
                self._aligned(columns, rows)
        else:
            keys = piped or [column.key for column in columns]
            self.rows([_value(row, key) for key in keys] for row in rows)

    def rows(self, rows: Iterable[Sequence[Any]]) -> None:
        """Tab-separated lines."""
        for row in rows:
            self.stream.write("\t".join(map(_cell, row)) + "\n")

    def json(self, value: Any) -> None:
        indent = 2 if self.is_terminal else None
        separators = None if indent else (",", ":")
        text = dumps(value, indent, separators)
        self.stream.write((safe_lines(text) if self.is_terminal else text) + "\n")

    def say(self, text: str) -> None:
        """A line for people; programs do not see it."""
        if self.is_for_people:
            self.stream.write(safe_lines(text) + "\n")

    def result(self, result: str, text: str) -> None:
        """For people: a result in its colour, and what it is about; further lines of the text are indented."""
        from reed.cli.colour import is_coloured, paint_word

        padded = f"{result:9}"
        first, *more = safe_lines(text).split("\n")
        self.stream.write(f"{paint_word(padded) if is_coloured(self.stream) else padded}{first}\n")
        for line in more:
            self.stream.write(f"{'':9}{line}\n")

    def done(self, text: str, value: Mapping[str, Any]) -> None:
        """What a command did that has nothing else to tell: a line for people, JSON for programs, nothing in a pipe."""
        if self.as_json:
            self.json(value)
        else:
            self.say(text)

    def text(self, data: bytes) -> None:
        """Bytes as they are into a pipe, JSON laid out and anything else made safe on a terminal."""
        if not self.is_terminal:
            self.stream.flush()
            self.stream.buffer.write(data if data.endswith(b"\n") else data + b"\n")
            return
        try:
            self.json(JsonContent(data))
        except ValueError:
            self.stream.write(safe_lines(data.decode("utf-8", "replace")) + "\n")

    def _aligned(self, columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> None:
        from reed.cli.colour import is_coloured, paint_word

        paint = paint_word if is_coloured(self.stream) else str
        titles = [column.title for column in columns]
        cells = [[_shown(column, _value(row, column.key)) for column in columns] for row in rows]
        widths = [max(map(width, column)) for column in zip(titles, *cells, strict=True)]
        _fit(widths, columns, self._room())
        for number, row in enumerate([titles, *cells]):
            line = ""
            for column, cell, wide in zip(columns, row, widths, strict=True):
                padded = pad(clip(cell, wide), wide, right=column.right)
                line += (paint(padded) if column.coloured and number else padded) + " " * _GAP
            self.stream.write(line.rstrip() + "\n")

    def _room(self) -> int:
        columns = os.environ.get("COLUMNS", "")
        if columns.isascii() and columns.isdigit() and int(columns):
            return int(columns)
        try:
            return os.get_terminal_size(self.stream.fileno()).columns or 80
        except OSError:
            return 80


def complain(text: str) -> None:
    """`reed: …` on stderr."""
    name = "reed:"
    if sys.stderr.isatty():
        from reed.cli.colour import is_coloured, paint

        name = paint(name, "red" if is_coloured(sys.stderr) else "")
    print(f"{name} {safe_lines(text, indent='  ')}", file=sys.stderr)


def error_as_json(error: ReedError) -> dict[str, Any]:
    """An error for --json. `status` and `code` are those of the wire, null where no core or plugin answered."""
    message, hint = error.message, error.hint
    if isinstance(error, CallError):
        if not hint and error.error_code in set(ErrorCode):  # on the wire the core's errors are "message; hint"
            message, _, hint = message.rpartition("; ") if "; " in message else (message, "", "")
        return {"status": int(error.status), "code": int(error.error_code), "message": message, "hint": hint}
    if isinstance(error, FileError):
        message = str(error).removesuffix(f"; {hint}")
    return {"status": None, "code": None, "message": message, "hint": hint}


# Cells.


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
    """A value between two tabs."""
    return value.translate(_SPACES) if isinstance(value, JsonText) else _plain(value).translate(_ESCAPES)


def _fit(widths: list[int], columns: Sequence[Column], room: int) -> None:
    """Make columns narrower until they fit: the least useful ones one after the other, then the widest of the rest."""
    excess = sum(widths) + _GAP * (len(widths) - 1) - room
    by_use = sorted((column.shrink, number) for number, column in enumerate(columns) if column.shrink)
    rest = [number for number, column in enumerate(columns) if not column.whole and not column.shrink]
    for least in (_NARROWEST, 1):
        for _, number in by_use:
            cut = max(0, min(excess, widths[number] - least))
            widths[number] -= cut
            excess -= cut
        while excess > 0 and rest and max(widths[number] for number in rest) > _NARROWEST:
            widths[max(rest, key=widths.__getitem__)] -= 1
            excess -= 1


# Text on a terminal.


def width(text: str) -> int:
    """The columns that a text takes."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def clip(text: str, room: int) -> str:
    """The text, cut to `room` columns with an ellipsis."""
    if width(text) <= room:
        return text
    while text and width(text) > room - 1:
        text = text[:-1]
    return text + "…"


def pad(text: str, room: int, *, right: bool = False) -> str:
    space = " " * (room - width(text))
    return space + text if right else text + space


# Numbers in words.


def size(count: int) -> str:
    """Bytes: "812 KB"."""
    number = float(count)
    for unit in ("B", "KB", "MB", "GB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if number >= 10 or unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TB"


def span(seconds: float) -> str:
    """A time: "4.2 s", "3 min", "2 h 5 min", "3 d 4 h"."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"


def counted(count: int, thing: str) -> str:
    """How many of a thing, in words: "1 snippet", "2 snippets"."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def moment(microseconds: int) -> str:
    """Unix microseconds as local time: "2026-03-01 14:05:09"."""
    import time

    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(microseconds / 1e6))
