"""Progress of commands that take longer than a second, on a terminal's stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from reed.cli.output import Output

_DELAY = 1.0  # seconds before the line appears
_INTERVAL = 0.1
_WIDTH = 30
_CLEAR = "\r\x1b[K"


class ProgressBar:
    """Without a `total` it shows only the count."""

    def __init__(self, output: Output, what: str, total: int = 0) -> None:
        self._visible = not output.as_json and sys.stderr.isatty()
        self._what = what
        self._total = total
        self._next = time.monotonic() + _DELAY
        self._drawn = False

    def update(self, done: int, count: int) -> None:
        """`done` units of the total, such as bytes, are processed: `count` things."""
        if not self._visible or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _INTERVAL
        self._drawn = True
        if self._total:
            part = min(done / self._total, 1)
            bar = "█" * int(part * _WIDTH)
            text = f"{self._what} {bar:░<{_WIDTH}} {part:4.0%}  {count}"
        else:
            text = f"{self._what} … {count}"
        sys.stderr.write(f"{_CLEAR}{text}")
        sys.stderr.flush()

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def clear(self) -> None:
        if self._drawn:
            self._drawn = False
            sys.stderr.write(_CLEAR)
            sys.stderr.flush()


@contextmanager
def elapsed(output: Output, what: str) -> Iterator[None]:
    if output.as_json or not sys.stderr.isatty():
        yield
        return
    import threading

    finished = threading.Event()
    since = time.monotonic()

    def count() -> None:
        while not finished.wait(_DELAY):
            sys.stderr.write(f"{_CLEAR}{what} … {time.monotonic() - since:.0f} s")
            sys.stderr.flush()
        if time.monotonic() - since > _DELAY:
            sys.stderr.write(_CLEAR)
            sys.stderr.flush()

    thread = threading.Thread(target=count, daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()
