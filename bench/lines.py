"""The lines of the table: what was measured, beside what, and how far the goal is.

    work                     reed        beside             theirs    ratio   goal
    SNIPPET_GET, one …    14.2 us        uvloop echo       15.0 us     0.95   <= 1.00   met
    SNIPPET_GET, one …    14.2 us        C ping-pong        4.1 us     3.46
    SNIPPET_GET, one …                   grpcio         not installed
    Lua start             3.81 ms                                             <= 5 ms   met

A goal is one of NOTES.md#goals, of the ratio where there is a peer, else of the figure itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Line:
    work: str
    ours: float | None
    unit: str
    peer: str = ""
    theirs: float | None = None
    goal: float | None = None  # of the ratio, or without a peer of `ours`
    at_least: bool = False  # the goal is a floor, not a ceiling
    note: str = ""  # why there is no figure

    @property
    def ratio(self) -> float | None:
        if self.ours is None or not self.theirs:
            return None
        return self.ours / self.theirs

    @property
    def reached(self) -> float | None:
        """What the goal is compared with."""
        return self.ratio if self.peer else self.ours

    @property
    def verdict(self) -> str:
        """`met`, by how much it is missed, or why that cannot be said; empty where there is no goal."""
        if self.goal is None:
            return ""
        if self.reached is None:
            return "not measured"
        if (self.reached >= self.goal) if self.at_least else (self.reached <= self.goal):
            return "met"
        away = self.goal / self.reached if self.at_least else self.reached / self.goal
        return f"missed by a factor of {away:.2f}"

    def as_json(self) -> dict[str, Any]:
        fields = {key: value for key, value in asdict(self).items() if value not in (None, "", False)}
        if self.ratio is not None:
            fields["ratio"] = round(self.ratio, 4)
        if self.verdict:
            fields["verdict"] = self.verdict
        return fields


def missing(work: str, peer: str, why: str) -> Line:
    """A peer that is not there is named."""
    return Line(work, None, "", peer, note=why)


_HEAD = ("work", "reed", "beside", "theirs", "ratio", "goal", "")
_WIDTHS = (48, 14, 22, 14, 6, 12, 0)  # at least, so that the tables of groups stand below each other


def table(lines: Sequence[Line], *, with_head: bool = True) -> str:
    """The lines as a table of plain text; a work's name and figure stand in its first line alone."""
    rows = [_HEAD] if with_head else []
    shown = ""
    for line in lines:
        first = line.work != shown
        shown = line.work
        rows.append(
            (
                line.work if first else "",
                _amount(line.ours, line.unit) if first else "",
                line.peer,
                line.note or _amount(line.theirs, line.unit),
                "" if line.ratio is None else f"{line.ratio:.2f}",
                _goal(line),
                line.verdict,
            )
        )
    widths = [max(least, *(len(row[at]) for row in rows)) for at, least in enumerate(_WIDTHS)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if at in {1, 3, 4, 5} else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _goal(line: Line) -> str:
    if line.goal is None:
        return ""
    sign = ">=" if line.at_least else "<="
    return f"{sign} {line.goal:.2f}" if line.peer else f"{sign} {_amount(line.goal, line.unit)}"


def _amount(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    digits = 0 if value >= 1000 else 1 if value >= 100 else 2 if value >= 1 else 3
    return f"{value:,.{digits}f} {unit}".rstrip()
