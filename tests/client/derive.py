"""Derives the methods of the asyncio client from those of the blocking one, which differ only in `await`.

    python tests/client/derive.py --write

reed/client/content.py ──▶ reed/client/aio/content.py, and so on. test_derived.py fails if they are not what this makes.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

CLIENT = Path(__file__).parents[2] / "reed" / "client"
FILES = ("calls.py", "content.py", "plugins.py")
OWN = r"call|_assume|_request|_write|_json|_json_list|_json_object|snippet_list|snippet_find"
ITERATORS = {"snippets"}


def derived(name: str) -> str:
    """The text of reed/client/aio/NAME."""
    text = (CLIENT / name).read_text(encoding="utf-8")
    _, _, rest = text.partition('"""')[2].partition('"""')
    lines = []
    for line in rest.splitlines():
        is_example = re.match(r" +(>>>|\.\.\.) ", line)
        lines.append(_example(line) if is_example else _code(line))
    head = f'"""Derived from reed/client/{name} by tests/client/derive.py: change that, and run this with --write."""'
    return head + "\n".join(lines) + "\n"


def _code(line: str) -> str:
    line = re.sub(r"^    def (\w+)\(", r"    async def \1(", line)
    line = _awaited(line, re.compile(rf"(?<!\w)self\.({OWN})\("))
    line = re.sub(r"^( +)yield from (.+)$", r"\1for each in \2:\n\1    yield each", line)
    line = line.replace("reed.client.calls", "reed.client.aio.calls")
    return re.sub(r"\bIterator\b", "AsyncIterator", line)


def _example(line: str) -> str:
    return _awaited(line, re.compile(r"core\.(?:with_timeout\([^)]*\)\.)?(\w+)\("))


def _awaited(line: str, calls: re.Pattern[str]) -> str:
    """Each of the calls is awaited, or is what `async for` goes through."""
    at = 0
    while found := calls.search(line, at):
        end = _closing(line, found.end())
        before, call, after = line[: found.start()], line[found.start() : end], line[end:]
        if found[1] in ITERATORS:
            before, _, target = before.rpartition("for ")
            line = f"{before}async for {target}{call}{after}"
            at = end + len("async ")
        else:
            awaited = f"(await {call})" if after[:1] in {".", "["} else f"await {call}"
            line = before + awaited + after
            at = len(before) + len(awaited)
    return line


def _closing(line: str, start: int) -> int:
    """The index after the parenthesis that closes the one before `start`."""
    depth = 1
    for index in range(start, len(line)):
        depth += {"(": 1, ")": -1}.get(line[index], 0)
        if not depth:
            return index + 1
    return len(line)


if __name__ == "__main__":
    for each in FILES:
        if "--write" in sys.argv:
            (CLIENT / "aio" / each).write_text(derived(each), encoding="utf-8")
        else:
            print(derived(each))
