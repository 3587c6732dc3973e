"""@name@: what it does, in one line.

greet   {"name"}    {"greeting"}
count   a snippet   {"words", "minutes"}
"""

import math
from typing import Any

from reed.plugin import plugin, reed


@plugin.action("greet")
def greet(_payload: bytes, data: Any) -> object:
    if not isinstance(data, dict) or not isinstance(data.get("name"), str):
        reed.fail(422, 'expected {"name": …}')
    return {"greeting": f"{reed.settings['greeting']}, {data['name']}!"}


@plugin.action("count")
def count(_payload: bytes, page: Any) -> object:
    body = page["content"].get("body")
    if not isinstance(body, str):
        reed.fail(422, "this page has no body")
    words = len(body.split())
    reed.log.info("%s has %d words", page["name"], words)
    return {"words": words, "minutes": math.ceil(words / reed.settings["words_per_minute"])}
