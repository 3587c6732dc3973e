"""Rules for bonds in any store: no cycle, and no snippet nested deeper than `max_depth` of a type above it.

The search for a cycle goes down from the child and up from the parent in turn, and ends when either side is exhausted,
so adding a leaf or a new root is cheap in a graph of any size.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from typing import Generic, TypeVar

from reed.errors import Conflict, Invalid, Malformed, NotFound

MAX_PATH = 65535  # bytes
_CYCLE_ENDS = 4  # snippets shown at each end of a long cycle

Key = TypeVar("Key", bound=Hashable)  # of a snippet, in a store


def check_place(weight: int, path: str) -> None:
    """Raises Malformed."""
    if not -(1 << 31) <= weight < 1 << 31:
        raise Malformed(f"weight {weight}", hint="a weight has 32 bits")
    if len(path.encode("utf-8", "replace")) > MAX_PATH or "\0" in path:
        raise Malformed("path: too long, or contains NUL", hint=f"at most {MAX_PATH} bytes")


def own_parent(label: str) -> Conflict:
    return Conflict(f"{label} cannot be its own parent")


def already_bonded(parent: str, child: str) -> Conflict:
    return Conflict(f"{parent} and {child} are already bonded", hint="unbond them first to change weight or path")


def not_bonded(parent: str, child: str) -> NotFound:
    return NotFound(f"{child} is not a child of {parent}", hint="`reed schema tree` shows the bonds there are")


def has_bonds(label: str) -> Conflict:
    return Conflict(f"{label} has bonds", hint="delete with cascade (--cascade) to remove them too")


class TooManySteps(Exception):
    """The walk is longer than the caller has time for."""


class BondGraph(ABC, Generic[Key]):
    def __init__(self, deleted: Collection[Key] = (), max_steps: float = math.inf) -> None:
        """`deleted` snippets, which may still have bonds, are passed over."""
        self._deleted: Collection[Key] = deleted
        self._steps_left = max_steps

    @abstractmethod
    def children(self, at: Key) -> Iterable[Key]: ...

    @abstractmethod
    def parents(self, at: Key) -> Iterable[Key]: ...

    @abstractmethod
    def type_of(self, at: Key) -> str: ...

    @abstractmethod
    def label_of(self, at: Key) -> str: ...

    def check(self, parent: Key, child: Key, limits: Mapping[str, int]) -> None:
        """`limits`: max_depth by type. Raises Conflict, Invalid or TooManySteps."""
        self._check_cycle(parent, child)
        if limits:
            self._check_depth(parent, child, limits)

    def _step(self) -> None:
        self._steps_left -= 1
        if self._steps_left < 0:
            raise TooManySteps

    def _counted(self, neighbours: Callable[[Key], Iterable[Key]], at: Key) -> Iterator[Key]:
        self._step()
        for other in neighbours(at):
            self._step()
            if other not in self._deleted:
                yield other

    def _check_cycle(self, parent: Key, child: Key) -> None:
        came_down: dict[Key, Key] = {child: child}  # snippet -> the one it was reached from
        came_up: dict[Key, Key] = {parent: parent}
        down = self._reach(self.children, child, came_down)
        up = self._reach(self.parents, parent, came_up)
        for below, above in zip(down, up, strict=False):
            meeting = below if below in came_up else above if above in came_down else None
            if meeting is not None:
                raise Conflict(f"this bond would close a cycle: {self._cycle(meeting, came_down, came_up)}")

    def _reach(
        self, neighbours: Callable[[Key], Iterable[Key]], start: Key, came_from: dict[Key, Key]
    ) -> Iterator[Key]:
        """Snippets above or below `start`, breadth first."""
        queue = deque((start,))
        while queue:
            at = queue.popleft()
            for other in self._counted(neighbours, at):
                if other not in came_from:
                    came_from[other] = at
                    queue.append(other)
                    yield other

    def _cycle(self, meeting: Key, came_down: dict[Key, Key], came_up: dict[Key, Key]) -> str:
        """parent > child > … > parent"""
        steps = [meeting]
        while came_down[steps[-1]] != steps[-1]:
            steps.append(came_down[steps[-1]])
        steps.reverse()
        while came_up[steps[-1]] != steps[-1]:
            steps.append(came_up[steps[-1]])
        steps.insert(0, steps[-1])
        if len(steps) <= 2 * _CYCLE_ENDS:
            return " > ".join(map(self.label_of, steps))
        labels = [self.label_of(step) for step in (*steps[:_CYCLE_ENDS], *steps[-_CYCLE_ENDS:])]
        return " > ".join([*labels[:_CYCLE_ENDS], "…", *labels[_CYCLE_ENDS:]])

    def _check_depth(self, parent: Key, child: Key, limits: Mapping[str, int]) -> None:
        room: int | None = None  # levels that the child and its descendants may take
        ancestor = parent
        for distance, level in enumerate(self._levels(self.parents, parent, max(limits.values()) + 1)):
            for at in level:
                limit = limits.get(self._type_of(at))
                if limit is not None and (room is None or limit - distance < room):
                    room, ancestor = limit - distance, at
        if room is None:
            return
        if sum(1 for _ in self._levels(self.children, child, max(room, 0) + 1)) > room:
            type_name = self._type_of(ancestor)
            raise Invalid(
                f"{self.label_of(ancestor)} would get more than {limits[type_name]} levels below it",
                hint=f"max_depth of its type {type_name!r}",
            )

    def _type_of(self, at: Key) -> str:
        self._step()
        return self.type_of(at)

    def _levels(self, neighbours: Callable[[Key], Iterable[Key]], start: Key, max_levels: int) -> Iterator[set[Key]]:
        """{start}, then those one step away, two steps away, …"""
        level = {start}
        while level and max_levels > 0:
            yield level
            max_levels -= 1
            level = {other for at in level for other in self._counted(neighbours, at)}
