"""The lines of a process's output that say what went wrong, without the stack traces between them.

error: seo: main.lua:4: no database      kept
  \tmain.lua:4: in upvalue 'deep'        dropped, as every line that is indented
Traceback (most recent call last):       dropped: Python's error follows its trace
thread 'main' panicked at src/main.rs:3  kept, and the message on its next line
goroutine 1 [running]:                   dropped, with all that follows: Go's error stands before its trace
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator

MAX_LINES = 3

_HEADING = re.compile(
    r"Traceback \(most recent call last\):|stack (?:traceback|backtrace):|note: (?:run with|Some details are omitted)"
)
_GO_TRACE = re.compile(r"goroutine \d+ \[")


class ErrorLines:
    """The last such lines of one process."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=MAX_LINES)
        self._in_go_trace = False

    def extend(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._in_go_trace = self._in_go_trace or bool(_GO_TRACE.match(line))
            if not (self._in_go_trace or line[:1].isspace() or _HEADING.match(line)):
                self._lines.append(line)

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)
