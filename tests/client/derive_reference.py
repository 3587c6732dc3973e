"""Derives contrib/docs/reference/python-client.md from the docstrings of Client.

python tests/client/derive_reference.py --write
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

from reed.client import Client
from reed.client.connection import ClientConnection
from reed.client.content import ContentMethods, StructureMethods
from reed.client.plugins import PluginMethods

PAGE = Path(__file__).parents[2] / "contrib" / "docs" / "reference" / "python-client.md"
SECTIONS = {
    "Snippets and search": (ContentMethods, Client),
    "Bonds and types": (StructureMethods,),
    "Plugins and the core": (PluginMethods,),
    "Connection": (ClientConnection,),
}
HEAD = """# Python client

The methods of `reed.Client`. `reed.AsyncClient` has the same: `await` each, and use `async for` and `async with` for
`snippets`, `pipelined` and `watch`; `with_timeout` and `watch` themselves are not awaited. The tutorial is [Clients in
Python](../guide/clients.md), with the errors that every call may raise. Errors are those of `reed.errors`
([errors.md](errors.md)); the fields of JSON objects are in [protocol.md](protocol.md).

This page is derived from the docstrings by tests/client/derive_reference.py. Each example runs in a test, with a core
that has two pages, `blog` and `blog/intro`, and a plugin `greeter`.

    Client(path=None, timeout=60.0)                                     timeout: seconds without a byte from the core
    AsyncClient(path=None, timeout=60.0, *, connections=4, in_flight=256)        timeout: seconds for a call
    AsyncClient.with_timeout(2).stats(), Client.with_timeout(2).stats()          another timeout for one call

| value | fields |
|---|---|
| ref | an id, the beginning of one, or a name |
| Json | a value that can be encoded, or JSON text as `bytes` |
| Record | `id`, `type` (or `snippet_type`), `name` (or `semantic_name`), `version`, `content`, `json()` |
| | `created_at`, `updated_at`: Unix microseconds |
| SnippetPage | `records`, `cursor` |
| SearchPage | `total`, `hits`, each with `id`, `type`, `name`, `score`, `excerpt` |
| Definition | `name` (or `type_name`), `definition`, `json()` |
| PluginAnswer | `status`, `body`, `json()` |
| SnippetWritten | `status`, `snippet_id`, `error` |
| Change | `kind`, `id`, `type`, `name`, `version`, `at`, `made_by`, `child`, `cursor` |
"""


def derived() -> str:
    parts = [HEAD]
    for title, classes in SECTIONS.items():
        parts.append(f"\n## {title}\n")
        parts += [_method(each, name) for each in classes for name in vars(each) if not name.startswith("_")]
    return "".join(parts)


def _method(owner: type, name: str) -> str:
    method = getattr(owner, name)
    signature = inspect.signature(method)
    shown = signature.replace(parameters=list(signature.parameters.values())[1:])
    text, _, example = (inspect.getdoc(method) or "").partition("\n\n>>> ")
    lines = "".join(f"    {line}".rstrip() + "\n" for line in f">>> {example}".splitlines())
    plain = re.sub(r"'([^']+)'", r"\1", str(shown).replace("''", '""'))
    return f"\n### {name}\n`{plain}`\n\n{text}\n\n{lines}"


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(derived(), encoding="utf-8")
    else:
        print(derived())
