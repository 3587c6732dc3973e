"""Markdown as HTML, and the words of a search in an excerpt. HTML within Markdown is shown as text."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from functools import lru_cache
from urllib.parse import quote, unquote, urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup
from mdit_py_plugins.anchors import anchors_plugin
from pages import url_of

_MARKDOWN = MarkdownIt("js-default", {"html": False}).use(anchors_plugin, max_level=4)
_SUFFIX = re.compile(r"(?:(?:^|/)(?:index|readme))?\.(?:md|markdown)$", re.IGNORECASE)
_MARKUP = re.compile(r"!?\[([^\]]*)\]\([^)]*\)|[#*`|]+|:?-{3,}:?")


@lru_cache(maxsize=256)
def html_of(body: str, file: str) -> tuple[Markup, bool]:
    """The text of a page as HTML, and whether it begins with a heading of its own. `file` is that of its links."""
    tokens = _MARKDOWN.parse(body)
    for token in tokens:
        if "style" in token.attrs:  # the alignment of a column; the site permits no style in its pages
            token.attrs["class"] = str(token.attrs.pop("style")).replace("text-align:", "")
        for each in token.children or ():
            name = "src" if each.type == "image" else "href"
            if name in each.attrs:
                each.attrs[name] = _address(str(each.attrs[name]), file)
    return Markup(_MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {})), _begins_with_heading(tokens)


def marked(excerpt: str, query: str) -> Iterator[tuple[str, bool]]:
    """The excerpt without Markdown, in pieces, each with whether it is a word of the query."""
    text = _MARKUP.sub(r"\1", excerpt)
    words = sorted(set(re.findall(r"\w+", query)), key=len, reverse=True)
    pieces = re.split(rf"\b({'|'.join(map(re.escape, words))})", text, flags=re.IGNORECASE) if words else [text]
    return ((piece, number % 2 == 1) for number, piece in enumerate(pieces) if piece)


def _begins_with_heading(tokens: list[Token]) -> bool:
    return bool(tokens) and tokens[0].type == "heading_open" and tokens[0].tag == "h1"


def _address(target: str, file: str) -> str:
    """guide/start.md of a link in a file -> the URL of its page."""
    parts = urlsplit(target)
    if parts.scheme or parts.netloc or not parts.path or parts.path.startswith("/"):
        return target
    path = posixpath.normpath(posixpath.join("/", posixpath.dirname(file), unquote(parts.path))).lstrip("/")
    page = _SUFFIX.sub("", path)
    url = quote(url_of(page or "index") if page != path else f"/{path}")
    return f"{url}#{parts.fragment}" if parts.fragment else url
