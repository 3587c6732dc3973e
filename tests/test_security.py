"""Every promise in SECURITY.md names existing tests."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
REFERENCE = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
PROMISED = TEXT.partition("\n## Promised\n")[2].partition("\n## ")[0]
PROMISES = [part.strip() for part in re.split(r"^- ", PROMISED, flags=re.MULTILINE)[1:]]


def names_of_tests(path: Path) -> set[str]:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return {node.name for node in body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise[:40])
def test_every_promise_names_existing_tests(promise: str) -> None:
    named = REFERENCE.findall(promise)
    assert named
    for file, test in named:
        assert (ROOT / file).is_file(), file
        assert test in names_of_tests(ROOT / file), f"{file} has no {test}"
    assert len(named) == promise.count("::"), "a test is not written as `tests/ROOM/FILE.py::test_name`"


def test_all_promises_are_checked() -> None:
    assert len(PROMISES) > 15
    assert REFERENCE.search(PROMISED)
    assert not REFERENCE.search(TEXT.replace(PROMISED, "")), "a test is named outside the promises"
