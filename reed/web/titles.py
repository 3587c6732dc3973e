"""A line of text that tells a snippet from others: its title, else its first text, else its JSON."""

from __future__ import annotations

from reed.errors import Malformed
from reed.wire import strict_json
from reed.wire.structs import Bytes

_MAX = 160  # characters
_KEYS = ("title", "name", "label", "headline", "subject")


def title_of(content: Bytes) -> str:
    begin = bytes(content[:_MAX]).decode("utf-8", "replace")
    try:
        members = strict_json.load_object(content)
    except Malformed:  # in a store that was changed by hand
        return begin
    texts = {key: value.strip() for key, value in members.items() if isinstance(value, str) and value.strip()}
    title = next((texts[key] for key in _KEYS if key in texts), "") or next(iter(texts.values()), "")
    return title[:_MAX] or begin
