"""A blocking client of the core: one connection, one method for each command. `reed.client.aio` is that of asyncio.

    with Client() as core:
        core.snippet_create("page", "blog/intro", {"title": "Hello"})
        core.snippet_get("blog/intro").json()                             # {'title': 'Hello'}
        core.plugin_send("simple-seo", "validate", "blog/intro").json()   # {'score': …}

Json is JSON text as `bytes`, or any value that can be encoded. A ref is a snippet's id, the start of one, or its name.

    CallError       the core rejected the request; reed.errors has a subclass for each error_code
    NoAnswer        the connection ended or timed out (TimedOut); a write may have been carried out
    CoreNotRunning  nothing listens on the socket

After NoAnswer the next call reconnects. Threads take turns on a Client. `pipelined` keeps many requests in flight.

    client ── content, plugins               the methods            ┐
       └───── connection, link, pipeline     sockets and turns      ├── protocol: bytes, no I/O
    aio ───── pool, connection               sockets and tasks      ┘
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from reed.client.connection import DEFAULT_RUNTIME_DIR, ClientConnection, NoAnswer, TimedOut, core_socket
from reed.client.content import ContentMethods, StructureMethods
from reed.client.pipeline import Request
from reed.client.plugins import PluginMethods
from reed.client.values import to_json
from reed.wire.codes import Command

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

    from reed.client.watch import Watch

__all__ = ["DEFAULT_RUNTIME_DIR", "Client", "NoAnswer", "Request", "TimedOut", "core_socket", "to_json"]


class Client(ContentMethods, StructureMethods, PluginMethods, ClientConnection):
    def watch(self, types: Iterable[str] = (), after: str = "", *, reconnect: bool = False) -> Watch:
        """Changes as they are committed, on a connection of its own, as an iterator that never ends by itself.

        Each change has `kind`, `name`, `type`, `id`, `version` and `cursor`. Without `after`, a cursor, it begins at
        the present. With `reconnect` it goes on from its cursor when the core restarts. Raises PermissionDenied, and
        CursorTooOld if the core no longer has the changes after the cursor: list again, watch without one.

        >>> with core.watch(types=["page"]) as changes:
        ...     snippet_id = core.snippet_update("blog", {"title": "News"})
        ...     change = next(changes)
        >>> change.kind, change.name, change.version
        ('snippet.updated', 'blog', 2)
        """
        from reed.client.watch import Watch

        begin = partial(self._begin_responses, Command.SNIPPET_WATCH)
        return Watch(begin, types, after, reconnect=reconnect)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
