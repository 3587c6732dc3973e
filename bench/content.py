"""What is stored in a measurement: a page of 1 KB, small snippets, and pages of words as a language has them.

REED_PAGES names a file of real pages; without it so many are made, always the same ones.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PAGES = 942  # of the documentation site that the goals speak of
KILOBYTE = json.dumps({"title": "A page", "body": "x" * 990}).encode()
SMALL = json.dumps({"title": "A small snippet", "path": "blog/2026/small", "draft": False, "weight": 12}).encode()
PAGE_TYPE: dict[str, Any] = {
    "schema": {
        "type": "object",
        "required": ["title"],
        "properties": {
            "title": {"type": "string"},
            "description": {"type": "string"},
            "keywords": {"type": "array", "items": {"type": "string"}},
            "body": {"type": "string"},
        },
    },
    "searchable": {"title": 5, "description": 2, "keywords": 3, "body": 1},
    "composed_of": ["page"],
    "max_depth": 1000000,
}
SMALL_TYPE: dict[str, Any] = {
    "schema": {
        "type": "object",
        "required": ["title"],
        "properties": {"title": {"type": "string", "maxLength": 200}, "weight": {"type": "integer"}},
    },
    "searchable": {"title": 1},
}


def words(count: int = 20_000, seed: int = 7) -> list[str]:
    """A vocabulary, the commonest first."""
    rng = random.Random(seed)
    syllables = [
        first + vowel + last for first in "bdfgklmnprstvz" for vowel in "aeiou" for last in ("", "n", "r", "s")
    ]
    found: dict[str, None] = {}
    while len(found) < count:
        found["".join(rng.choices(syllables, k=rng.choice((1, 2, 2, 3, 3, 4))))] = None
    return list(found)


def pages(count: int, body_words: int = 250, seed: int = 11) -> Iterator[dict[str, Any]]:
    """Pages whose words are as frequent as in a language (Zipf)."""
    rng = random.Random(seed)
    vocabulary = words()
    weights = [0.0]
    for rank in range(1, len(vocabulary) + 1):
        weights.append(weights[-1] + 1 / rank)
    del weights[0]
    for number in range(count):
        text = rng.choices(vocabulary, cum_weights=weights, k=body_words + 12)
        yield {
            "path": f"pages/{number}",
            "title": " ".join(text[:5]),
            "description": " ".join(text[5:12]),
            "keywords": text[:2],
            "body": " ".join(text[12:]),
        }


def pages_file(folder: Path) -> tuple[Path, str]:
    """A file of 942 pages, and what to call it."""
    named = os.environ.get("REED_PAGES")
    if named:
        return Path(named), "pages.jsonl"
    path = folder / "pages.jsonl"
    with path.open("w") as file:
        for page in pages(PAGES):
            file.write(json.dumps(page) + "\n")
    return path, "942 pages made for it"
