"""The pages of the site as one reading of the core found them.

AsyncClient ── snippets of the type ──▶ Page (by path, by id)
            ── schema_tree ──────────▶ Entry (the navigation)
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from reed.client.aio import AsyncClient
from reed.errors import NotFound

ROOT = "index"  # the path of the first page


@dataclass(frozen=True)
class Page:
    id: str
    version: int
    path: str
    content: dict[str, Any]  # the front matter of the file, and its text as "body"

    @property
    def title(self) -> str:
        return str(self.content.get("title") or self.path)

    @property
    def url(self) -> str:
        return url_of(self.path)

    @property
    def form(self) -> list[dict[str, Any]]:
        """The fields of a form, as form-validator takes them; [] for a page without one."""
        fields = self.content.get("fields")
        return [each for each in fields if isinstance(each, dict)] if isinstance(fields, list) else []


@dataclass(frozen=True)
class Entry:
    page: Page
    children: list[Entry]


@dataclass(frozen=True)
class Pages:
    version: str  # of the changes before it was read
    by_path: dict[str, Page] = field(default_factory=dict)
    by_id: dict[str, Page] = field(default_factory=dict)
    root: Entry | None = None
    keywords: dict[str, list[str]] = field(default_factory=dict)  # by path, where they have been asked for

    def trail(self, path: str) -> list[Page]:
        """The pages above a page, the outermost first."""
        parts = path.split("/")
        above = [ROOT, *("/".join(parts[:end]) for end in range(1, len(parts)))]
        return [self.by_path[each] for each in above if each in self.by_path and each != path]


def url_of(path: str) -> str:
    return "/" if path == ROOT else f"/{path}"


async def read(core: AsyncClient, page_type: str, version: str) -> Pages:
    """Raises ReedError. A type that is not defined has no pages."""
    by_path: dict[str, Page] = {}
    try:
        async for record in core.snippets(page_type):
            content = json.loads(bytes(record.content))
            if isinstance(content.get("path"), str):
                by_path[content["path"]] = Page(record.id, record.version, content["path"], content)
    except NotFound:
        return Pages(version)
    by_id = {page.id: page for page in by_path.values()}
    root = None
    if ROOT in by_path:
        root = _entry(await core.schema_tree(by_path[ROOT].id), by_id)
    return Pages(version, by_path, by_id, root)


def _entry(node: dict[str, Any], by_id: dict[str, Page]) -> Entry:
    children = [_entry(child, by_id) for child in node["children"] if child["id"] in by_id]
    return Entry(by_id[node["id"]], children)
