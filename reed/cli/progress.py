"""A line on the terminal's stderr for what takes longer than a second."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from reed.cli.output import Output

_PATIENCE = 1.0  # seconds before the line shows
_EVERY = 0.1
_WIDTH = 30
_CLEAR = "\r\x1b[K"


class Progress:
    """A bar: how much of `total` is done. Nothing shows in the first second, in a pipe, or with --json."""

    def __init__(self, output: Output, what: str, total: int = 0) -> None:
        self._shows = not output.as_json and sys.stderr.isatty()
        self._what = what
        self._total = total
        self._next = time.monotonic() + _PATIENCE
        self._drawn = False

    def to(self, done: int, count: int) -> None:
        """`done` of the total (bytes of a file, say) is behind us, and that was `count` things."""
        if not self._shows or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _EVERY
        self._drawn = True
        if self._total:
            part = min(done / self._total, 1)
            bar = "█" * int(part * _WIDTH)
            text = f"{self._what} {bar:░<{_WIDTH}} {part:4.0%}  {count}"
        else:
            text = f"{self._what} … {count}"
        sys.stderr.write(f"{_CLEAR}{text}")
        sys.stderr.flush()

    def clear(self) -> None:
        """Take the line away, so that another can be written."""
        if self._drawn:
            self._drawn = False
            sys.stderr.write(_CLEAR)
            sys.stderr.flush()


@contextmanager
def waiting(output: Output, what: str) -> Iterator[None]:
    """For one long call of which nothing is known but that it goes on: the seconds are counted."""
    if output.as_json or not sys.stderr.isatty():
        yield
        return
    over = threading.Event()
    since = time.monotonic()

    def count() -> None:
        while not over.wait(_PATIENCE):
            sys.stderr.write(f"{_CLEAR}{what} … {time.monotonic() - since:.0f} s")
            sys.stderr.flush()
        if time.monotonic() - since > _PATIENCE:
            sys.stderr.write(_CLEAR)
            sys.stderr.flush()

    thread = threading.Thread(target=count, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
