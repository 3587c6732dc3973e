"""Walks over the bonds: would one more close a cycle, or nest too deep?

The search for a cycle goes down from the child and up from the parent, one step each in turn, and ends when either side
is exhausted. So adding a leaf or a new root is cheap in a graph of any size.
"""

from __future__ import annotations

import math
import sqlite3
from collections import deque
from collections.abc import Collection, Iterator, Mapping

from reed.errors import Conflict, Invalid
from reed.store.sqlite.database import label

_CHILDREN = "SELECT child FROM bonds WHERE parent = ?"
_PARENTS = "SELECT parent FROM bonds WHERE child = ?"
_TYPE = "SELECT type FROM snippets WHERE sequence = ?"
_CYCLE_ENDS = 4  # snippets shown at each end of a long cycle


class TooManySteps(Exception):
    """The walk is longer than the caller has time for."""


class BondGraph:
    def __init__(self, connection: sqlite3.Connection, deleted: Collection[int], max_steps: float = math.inf) -> None:
        """`deleted` snippets, which may still have bonds, are passed over."""
        self._execute = connection.execute
        self._connection = connection
        self._deleted = deleted
        self._steps_left = max_steps

    def check(self, parent: int, child: int, limits: Mapping[str, int]) -> None:
        """Raises Conflict, Invalid or TooManySteps. `limits`: max_depth by type."""
        self._check_cycle(parent, child)
        if limits:
            self._check_depth(parent, child, limits)

    def _step(self) -> None:
        self._steps_left -= 1
        if self._steps_left < 0:
            raise TooManySteps

    def _neighbours(self, query: str, at: int) -> Iterator[int]:
        self._step()
        for (other,) in self._execute(query, (at,)):
            self._step()
            if other not in self._deleted:
                yield other

    def _check_cycle(self, parent: int, child: int) -> None:
        came_down: dict[int, int] = {child: child}  # snippet -> the one it was reached from
        came_up: dict[int, int] = {parent: parent}
        down = self._reach(_CHILDREN, child, came_down)
        up = self._reach(_PARENTS, parent, came_up)
        for below, above in zip(down, up, strict=False):
            meeting = below if below in came_up else above if above in came_down else None
            if meeting is not None:
                raise Conflict(f"this bond would close a cycle: {self._cycle(meeting, came_down, came_up)}")

    def _reach(self, query: str, start: int, came_from: dict[int, int]) -> Iterator[int]:
        """Snippets above or below `start`, breadth first."""
        queue = deque((start,))
        while queue:
            at = queue.popleft()
            for other in self._neighbours(query, at):
                if other not in came_from:
                    came_from[other] = at
                    queue.append(other)
                    yield other

    def _cycle(self, meeting: int, came_down: dict[int, int], came_up: dict[int, int]) -> str:
        """parent > child > … > parent"""
        steps = [meeting]
        while came_down[steps[-1]] != steps[-1]:
            steps.append(came_down[steps[-1]])
        steps.reverse()
        while came_up[steps[-1]] != steps[-1]:
            steps.append(came_up[steps[-1]])
        steps.insert(0, steps[-1])
        if len(steps) <= 2 * _CYCLE_ENDS:
            return " > ".join([self._name_of(step) for step in steps])
        first, last = steps[:_CYCLE_ENDS], steps[-_CYCLE_ENDS:]
        return " > ".join([*map(self._name_of, first), "…", *map(self._name_of, last)])

    def _check_depth(self, parent: int, child: int, limits: Mapping[str, int]) -> None:
        """Raises Invalid if a snippet above would get more levels below it than its type allows."""
        room: int | None = None  # levels that the child and its descendants may take
        ancestor = 0
        for distance, level in enumerate(self._levels(_PARENTS, parent, max(limits.values()) + 1)):
            for sequence in level:
                limit = limits.get(self._type_of(sequence))
                if limit is not None and (room is None or limit - distance < room):
                    room, ancestor = limit - distance, sequence
        if room is None:
            return
        if sum(1 for _ in self._levels(_CHILDREN, child, max(room, 0) + 1)) > room:
            type_name = self._type_of(ancestor)
            raise Invalid(
                f"{self._name_of(ancestor)} would get more than {limits[type_name]} levels below it",
                hint=f"max_depth of its type {type_name!r}",
            )

    def _levels(self, query: str, start: int, max_levels: int) -> Iterator[set[int]]:
        """{start}, the snippets one step away, two steps away, …"""
        level = {start}
        while level and max_levels > 0:
            yield level
            max_levels -= 1
            level = {other for at in level for other in self._neighbours(query, at)}

    def _type_of(self, sequence: int) -> str:
        self._step()
        (type_name,) = self._execute(_TYPE, (sequence,)).fetchone()
        return str(type_name)

    def _name_of(self, sequence: int) -> str:
        return label(self._connection, sequence)
