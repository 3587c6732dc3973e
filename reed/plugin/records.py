"""What the SDK returns for snippets, trees and searches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Snippet(NamedTuple):
    id: str  # a UUID
    type: str
    name: str  # "" if it has none
    version: int
    created_at: int  # Unix microseconds
    updated_at: int
    content: dict[str, Any]

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Snippet:
        return cls(**{name: fields[name] for name in cls._fields})


class Page(NamedTuple):
    """A page of snippets. `cursor` is the `after` of the next page, "" at the end."""

    snippets: list[Snippet]
    cursor: str


class Lines(NamedTuple):
    """A page of snippets in the format of `reed export`. `skipped`: {"id", "name", "bytes"} of each too long one."""

    text: bytes
    ids: list[str]
    cursor: str
    skipped: list[dict[str, Any]]


class Restored(NamedTuple):
    status: int  # 201 created, 204 overwritten, 200 unchanged
    warning: str  # or ""


class TreeNode(NamedTuple):
    id: str
    type: str
    name: str
    weight: int
    path: str
    children: list[TreeNode]

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> TreeNode:
        children = [cls.of(each) for each in fields.get("children") or ()]
        return cls(fields["id"], fields["type"], fields["name"], fields["weight"], fields["path"], children)


class SearchHit(NamedTuple):
    id: str
    type: str
    name: str
    score: float
    excerpt: str


class SearchPage(NamedTuple):
    total: int
    hits: list[SearchHit]  # best first
