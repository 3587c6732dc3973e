"""What a check of `reed doctor` has found; in a module of its own, since the checks and the command need it."""

from __future__ import annotations

from typing import Literal, NamedTuple

Level = Literal["ok", "warning", "error"]


class Finding(NamedTuple):
    level: Level
    what: str
    meaning: str = ""  # of a warning or error
    fix: str = ""
