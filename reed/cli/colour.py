"""Colours of states, results and errors on a terminal; none with NO_COLOR (no-color.org) or TERM=dumb."""

from __future__ import annotations

import os
from typing import TextIO

_CODES = {"green": "32", "yellow": "33", "red": "1;31", "blue": "34", "dim": "2"}
COLOUR_OF = {
    # states of a plugin
    "ready": "green",
    "busy": "yellow",
    "starting": "yellow",
    "stopping": "yellow",
    "sleeping": "blue",
    "backoff": "red",
    "failed": "red",
    "stopped": "dim",
    # results of `plugin test` and `plugin reload`
    "ok": "green",
    "skipped": "yellow",
    "started": "green",
    "renewed": "green",
    "removed": "yellow",
    # answers of `plugin explain`
    "yes": "green",
    "no": "yellow",
}


def is_coloured(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str) -> str:
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if colour else text


def paint_word(text: str) -> str:
    """A state or result in its colour, with the spaces around it; anything else as it is."""
    return paint(text, COLOUR_OF.get(text.strip(), ""))
