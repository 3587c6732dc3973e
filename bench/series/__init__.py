"""How cost grows as work grows: a module for each kind of work, with `curves(scale) -> Iterator[Curve]`.

A curve says how it may grow at the most: as a power of its work. 0: it costs the same however much there is; 1: twice
the work, twice the cost. What grows faster, by more than the noise, is a defect.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

NAMES = ("clients", "snippets", "payloads", "plugins", "messages", "workers", "cores")
SLACK = 0.25  # of a power: what noise and caches may add


@dataclass(frozen=True, slots=True)
class Scale:
    """How far to go. `postgres`: the conninfo of an empty database, or nothing."""

    most: int
    postgres: str = ""


@dataclass(slots=True)
class Curve:
    """Points (work, cost). `plot` names the picture that it is drawn into."""

    plot: str
    name: str
    work: str  # what is counted along the way: "snippets", "bytes"
    unit: str
    may_grow: float
    points: list[tuple[float, float]] = field(default_factory=list)

    def add(self, work: float, cost: float) -> None:
        self.points.append((work, cost))

    @property
    def power(self) -> float:
        """The power that cost grows with, over the last tenfold of the work and more; 0 for fewer than two points."""
        if len(self.points) < 2:
            return 0.0
        last, late = self.points[-1]
        first, early = next((each for each in reversed(self.points[:-1]) if each[0] * 10 <= last), self.points[0])
        return math.log(late / early) / math.log(last / first)

    @property
    def is_defect(self) -> bool:
        return self.power > self.may_grow + SLACK

    def as_json(self) -> dict[str, object]:
        fields = {name: getattr(self, name) for name in ("plot", "name", "work", "unit", "may_grow")}
        return {**fields, "power": round(self.power, 2), "points": [[x, round(y, 4)] for x, y in self.points]}
