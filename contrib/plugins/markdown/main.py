"""Markdown to HTML by markdown-it-py, a CommonMark parser.

    render   {"markdown"}                {"html", "headings": [{"level", "id", "text"}]}
    page     a page with such a field    the same

HTML within the Markdown is escaped, and links to javascript:, vbscript:, file: and data: stay text.
"""

import re
from itertools import pairwise
from typing import Any

from reed.plugin import plugin, reed

try:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token
except ImportError as missing:
    raise ImportError(f"{missing.name} is not installed; pip install 'reed-cms[markdown]'") from None

OPTIONAL = {"tables": "table", "strikethrough": "strikethrough"}  # setting: rule of the parser


@plugin.action("render")
def render(_payload: bytes, data: Any) -> object:
    if not isinstance(data, dict) or not isinstance(data.get("markdown"), str):
        raise plugin.Error('expected {"markdown": TEXT}', status=422)
    return html_of(data["markdown"])


@plugin.action("page")
def page(_payload: bytes, snippet: Any) -> object:
    field = reed.settings["field"]
    text = snippet["content"].get(field)
    if not isinstance(text, str):
        raise plugin.Error(f"the page has no text {field!r}", status=422, hint="the setting `field` names another one")
    return html_of(text)


def html_of(text: str) -> dict[str, object]:
    size, limit = len(text.encode()), reed.settings["max_bytes"]
    if size > limit:
        raise plugin.Error(f"a text of {size} bytes", status=413, hint=f"the setting max_bytes is {limit}")
    parser = MarkdownIt("commonmark", {"html": False})
    parser.enable([rule for setting, rule in OPTIONAL.items() if reed.settings[setting]])
    tokens = parser.parse(text)
    headings = headings_of(tokens)
    return {"html": parser.renderer.render(tokens, parser.options, {}).strip(), "headings": headings}


def headings_of(tokens: list[Token]) -> list[dict[str, object]]:
    """Gives each heading an id, unless the setting forbids it."""
    found: list[dict[str, object]] = []
    used: dict[str, int] = {}
    for opening, inline in pairwise(tokens):
        if opening.type != "heading_open":
            continue
        text = "".join(child.content for child in inline.children or () if child.type in ("text", "code_inline"))
        name = re.sub(r"[^\w]+", "-", text.lower()).strip("-") or "section"
        used[name] = used.get(name, 0) + 1
        if used[name] > 1:
            name = f"{name}-{used[name]}"
        if reed.settings["heading_ids"]:
            opening.attrSet("id", name)
        found.append({"level": int(opening.tag[1:]), "id": name, "text": text})
    return found
