"""Two people changed the same snippet: what differs, value by value, and the content that comes of their choices.

    base       what both began with, if it is known
    mine       what was to be saved
    theirs     what the core has now

    only mine changed it     MINE      keeps mine unless chosen otherwise
    only theirs changed it   THEIRS    takes theirs unless chosen otherwise
    both did, differently    BOTH      must be chosen
    the base is not known    UNKNOWN   must be chosen

Objects are compared member by member; arrays and texts as wholes, since a mixture may be what neither person meant.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from reed.wire.exact_json import ABSENT, Json, join, steps

MAX_LINES = 600  # of two texts that are compared line by line; comparing takes the square of it
_CONTEXT = 2  # unchanged lines shown around a change


class Side(StrEnum):
    MINE = "mine"
    THEIRS = "theirs"
    BOTH = "both"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Difference:
    pointer: str
    side: Side  # who changed it
    base: Json  # ABSENT: the member is not there, or the base is not known
    mine: Json
    theirs: Json

    @property
    def suggested(self) -> str:
        """The choice that needs no decision, or ""."""
        return self.side.value if self.side in {Side.MINE, Side.THEIRS} else ""


@dataclass(frozen=True, slots=True)
class Line:
    mark: str  # "-" only in the old text, "+" only in the new one, " " in both, "…" lines that are left out
    text: str


def differences(base: Json, mine: Json, theirs: Json) -> list[Difference]:
    """Where mine and theirs differ, in the order of theirs. `base` is ABSENT if it is not known."""
    return list(_compared("", base, mine, theirs, knows_base=base is not ABSENT))


def _compared(pointer: str, base: Json, mine: Json, theirs: Json, *, knows_base: bool) -> Iterator[Difference]:
    if mine == theirs:
        return
    # An object without members is a value like any other: its members do not say that it is there.
    if isinstance(mine, dict) and isinstance(theirs, dict) and ((mine and theirs) or not pointer):
        before = base if isinstance(base, dict) else {}
        for key in dict.fromkeys([*theirs, *mine]):
            values = (each.get(key, ABSENT) for each in (before, mine, theirs))
            yield from _compared(join(pointer, key), *values, knows_base=knows_base)
        return
    yield Difference(pointer, _side(base, mine, theirs, knows_base=knows_base), base, mine, theirs)


def _side(base: Json, mine: Json, theirs: Json, *, knows_base: bool) -> Side:
    if not knows_base:
        return Side.UNKNOWN
    if mine == base:
        return Side.THEIRS
    return Side.MINE if theirs == base else Side.BOTH


def resolved(found: list[Difference], theirs: Json, choices: Mapping[str, str]) -> tuple[Json, list[str]]:
    """Theirs with what was chosen of mine, and the pointers that still have to be chosen.

    `choices` are "mine" or "theirs" by pointer.
    """
    content = theirs
    undecided = []
    for difference in found:
        choice = choices.get(difference.pointer, difference.suggested)
        if choice not in {"mine", "theirs"}:
            undecided.append(difference.pointer)
        elif choice == "mine":
            content = _with(content, steps(difference.pointer), difference.mine)
    return content, undecided


def _with(value: Json, path: list[str], new: Json) -> Json:
    """A copy of the value with another one at the path."""
    if not path:
        return new
    members = dict(value) if isinstance(value, dict) else {}
    child = _with(members.get(path[0], ABSENT), path[1:], new)
    if child is ABSENT:
        members.pop(path[0], None)
    else:
        members[path[0]] = child
    return members


def changed_lines(old: str, new: str) -> list[Line]:
    """Two texts line by line, without the unchanged lines between changes; each text as a whole if they are long."""
    before, after = old.splitlines(), new.splitlines()
    if len(before) + len(after) > MAX_LINES:
        return [*(Line("-", text) for text in before[:MAX_LINES]), *(Line("+", text) for text in after[:MAX_LINES])]
    lines = []
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    for number, group in enumerate(matcher.get_grouped_opcodes(_CONTEXT)):
        lines += [Line("…", "")] if number or group[0][1] else []
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                lines += [Line(" ", text) for text in before[i1:i2]]
                continue
            lines += [Line("-", text) for text in before[i1:i2]]
            lines += [Line("+", text) for text in after[j1:j2]]
        end = group[-1][2]
    return lines + ([Line("…", "")] if lines and end < len(before) else [])
