"""Talk to a core: a blocking client for programs, tests and the command line.

    with Client() as client:                       # <REED_RUNTIME_DIR or /tmp/reed-cms>/core.sock
        record = client.snippet_get("blog/intro")
        answer = client.plugin_send("simple-seo", "validate", "blog/intro")

One connection, one call at a time; `pipeline` has many calls under way. Content is the JSON text as bytes, never parsed
on its way. A `ref` is a snippet's UUID or its semantic name.

A call that the core refuses raises the CallError of its error code (reed.errors): `status`, `error_code` and the text
are the core's. Nobody listening is CoreNotRunning; an answer that does not come in time is TimeoutError.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from reed.errors import CallError, CoreNotRunning, Malformed
from reed.wire import common, frames, layouts, strict_json
from reed.wire.codes import Command, Flag, Signal
from reed.wire.common import ErrorResponse, JsonResponse, SignalMessage
from reed.wire.frames import Frame, ReceiveBuffer
from reed.wire.plugins import PluginAnswer, PluginSend
from reed.wire.registry import Definition, RegistryDefine, RegistryGot, RegistryPage
from reed.wire.schema import SchemaBond, SchemaBonded, SchemaTree, SchemaUnbond
from reed.wire.search import SearchIndexed, SearchPage, SearchQuery
from reed.wire.snippets import (
    Record,
    SnippetCreate,
    SnippetDelete,
    SnippetGot,
    SnippetList,
    SnippetPage,
    SnippetUpdate,
    SnippetWritten,
)

DEFAULT_RUNTIME_DIR = "/tmp/reed-cms"
MOST_IN_FLIGHT = 512
_MOST_UNSENT = 1 << 20  # bytes that a pipeline packs ahead
_CHUNK = 1 << 18


class Answer(NamedTuple):
    """What came back for one request of a pipeline: a payload, or an error."""

    command_id: int
    payload: memoryview
    error: CallError | None


def runtime_dir() -> str:
    """The runtime folder that a client looks in."""
    return os.environ.get("REED_RUNTIME_DIR") or DEFAULT_RUNTIME_DIR


class Client:
    """A connection to core.sock. Open it with `with`, or `close()` it."""

    def __init__(self, path: str | os.PathLike[str] | None = None, timeout: float | None = 60.0) -> None:
        """`timeout`: seconds to wait for the core to take or give the next bytes; None: for ever."""
        self.path = os.fspath(path) if path is not None else os.path.join(runtime_dir(), "core.sock")
        self._sock = _connect(self.path, timeout)
        self._timeout = timeout
        self._buffer = ReceiveBuffer(max_payload=(1 << 32) - 1)
        self._chunk = memoryview(bytearray(_CHUNK))

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._sock.close()

    # Snippets.

    def snippet_create(self, type_name: str, name: str, content: bytes) -> str:
        """The new snippet's id. `name` may be empty; `content` is a JSON object."""
        return written(self.call(Command.SNIPPET_CREATE, SnippetCreate(type_name, name, content).pack()))

    def snippet_update(self, ref: str, patch: bytes, if_version: int = 0) -> str:
        """Apply a JSON Merge Patch (RFC 7396); with `if_version` only if that is the present version."""
        return written(self.call(Command.SNIPPET_UPDATE, SnippetUpdate(ref, if_version, patch).pack()))

    def snippet_delete(self, ref: str, *, cascade: bool = False) -> str:
        """Delete a snippet; with `cascade` its bonds too, else a bonded one is a Conflict."""
        return written(self.call(Command.SNIPPET_DELETE, SnippetDelete(ref, cascade).pack()))

    def snippet_get(self, ref: str) -> Record:
        return SnippetGot.unpack(self.call(Command.SNIPPET_GET, layouts.pack_text(ref, 36))).record

    def snippet_page(self, type_name: str = "", after: str = "", limit: int = 0) -> SnippetPage:
        """Records in creation order, and the cursor to give as `after` for the next ones (empty: the end)."""
        return SnippetPage.unpack(self.call(Command.SNIPPET_LIST, SnippetList(type_name, after, limit).pack()))

    def snippets(self, type_name: str = "", limit: int = 100) -> Iterator[Record]:
        """All records in creation order, `limit` to a page."""
        after = ""
        while True:
            page = self.snippet_page(type_name, after, limit)
            yield from page.records
            after = page.cursor
            if not after:
                return

    # Bonds.

    def schema_bond(self, parent: str, child: str, weight: int = 0, path: str = "") -> str:
        """The id of the new bond."""
        bonded = self.call(Command.SCHEMA_BOND, SchemaBond(parent, child, weight, path).pack())
        return SchemaBonded.unpack(bonded).bond_id

    def schema_unbond(self, parent: str, child: str) -> None:
        self.call(Command.SCHEMA_UNBOND, SchemaUnbond(parent, child).pack())

    def schema_tree(self, root: str = "", depth: int = 0) -> Any:
        """The tree below `root` (empty: all roots) as parsed JSON."""
        return self._json(Command.SCHEMA_TREE, SchemaTree(root, depth).pack())

    # Types.

    def registry_define(self, type_name: str, definition: bytes) -> bool:
        """True when the type is new. `definition` is a JSON object (DESIGN.md, Store)."""
        answer = self.call(Command.REGISTRY_DEFINE, RegistryDefine(type_name, definition).pack())
        return common.unpack_status(answer) == 201

    def registry_get(self, type_name: str) -> Definition:
        return RegistryGot.unpack(self.call(Command.REGISTRY_GET, layouts.pack_text(type_name, 32))).definition

    def registry_list(self) -> list[Definition]:
        return RegistryPage.unpack(self.call(Command.REGISTRY_LIST)).definitions

    # Search.

    def search(self, query: str, type_name: str = "", limit: int = 0, offset: int = 0) -> SearchPage:
        """Hits, best first, for words and "phrases"; the last word may be the start of one."""
        return SearchPage.unpack(self.call(Command.SEARCH_QUERY, SearchQuery(query, type_name, limit, offset).pack()))

    def search_index(self, ref: str = "") -> int:
        """Index one snippet or (empty) everything again; the number of snippets indexed."""
        return SearchIndexed.unpack(self.call(Command.SEARCH_INDEX, layouts.pack_text(ref, 36))).indexed

    # Plugins.

    def plugin_list(self) -> list[dict[str, Any]]:
        return list(self._json(Command.PLUGIN_LIST))

    def plugin_health(self, name: str = "") -> list[dict[str, Any]]:
        return list(self._json(Command.PLUGIN_HEALTH, layouts.pack_text(name, 32)))

    def plugin_start(self, name: str) -> None:
        """Returns when the plugin is ready."""
        self.call(Command.PLUGIN_START, layouts.pack_text(name, 32))

    def plugin_stop(self, name: str) -> None:
        """Returns when its process is gone."""
        self.call(Command.PLUGIN_STOP, layouts.pack_text(name, 32))

    def plugin_send(self, name: str, action: str, value: Any = None) -> Any:
        """Call an action with a value as JSON; the plugin's answer, parsed."""
        body = self.plugin_send_bytes(name, action, strict_json.dumps(value)).body
        return strict_json.loads(body) if len(body) else None

    def plugin_send_bytes(self, name: str, action: str, data: bytes, *, broadcast: bool = False) -> PluginAnswer:
        """As `plugin_send`, with bytes in and out; `broadcast`: to every running plugin with that action."""
        flags = Flag.BROADCAST if broadcast else 0
        return PluginAnswer.unpack(self.call(Command.PLUGIN_SEND, PluginSend(name, action, data).pack(), flags))

    def plugin_signal(self, name: str, signal: Signal, data: bytes = b"") -> None:
        """Send a signal of the core's to one plugin, or with name "" to every running one."""
        message = SignalMessage(signal, time.time_ns() // 1000, name, data)
        self.call(Command.PLUGIN_SIGNAL, message.pack(), 0 if name else Flag.BROADCAST)

    def plugin_reload(self) -> None:
        """Have the registry read again; Invalid when the file is bad, and then nothing has changed."""
        self.call(Command.PLUGIN_RELOAD)

    def stats(self) -> dict[str, Any]:
        return dict(self._json(Command.SYSTEM_STATS))

    # Calls.

    def call(self, command_id: int, payload: bytes = b"", flags: int = 0) -> memoryview:
        """One request, and the payload of its response."""
        with suppress(BrokenPipeError, ConnectionResetError):  # the core may have said why before it closed
            self._sock.sendall(frames.encode(command_id, payload, flags))
        answer = self._answer(self._next_frame())
        if answer.error is not None:
            raise answer.error
        return answer.payload

    def send_async(self, command_id: int, payload: bytes = b"", flags: int = 0) -> None:
        """A request with the flag ASYNC: it is never answered."""
        self._sock.sendall(frames.encode(command_id, payload, flags | Flag.ASYNC))

    def pipeline(self, requests: Iterable[tuple[int, bytes]], most_in_flight: int = MOST_IN_FLIGHT) -> Iterator[Answer]:
        """Send requests (command, payload) without waiting for each answer; yields the answers in their order.

        It reads while it writes, so that neither side can wait for the other for ever. Requests are taken from the
        iterable as there is room for them. Exhaust it before the next call.
        """
        source = iter(requests)
        unsent = bytearray()
        in_flight = 0
        more = True
        poll = select.poll()
        while more or in_flight:
            while more and in_flight < most_in_flight and len(unsent) < _MOST_UNSENT:
                request = next(source, None)
                if request is None:
                    more = False
                    break
                unsent += frames.encode(*request)
                in_flight += 1
            if not in_flight:
                return
            poll.register(self._sock, select.POLLIN | (select.POLLOUT if unsent else 0))
            ready = poll.poll(None if self._timeout is None else self._timeout * 1000)
            if not ready:
                raise TimeoutError(f"the core did not go on within {self._timeout:g} s")
            events = ready[0][1]
            if unsent and events & select.POLLOUT:
                del unsent[: self._sock.send(memoryview(unsent)[:_CHUNK])]
            if events & ~select.POLLOUT:
                self._receive()
                while (frame := self._buffer.next_frame()) is not None:
                    in_flight -= 1
                    yield self._answer(Frame(frame.command_id, frame.flags, memoryview(bytes(frame.payload))))
                self._buffer.keep()

    def _json(self, command_id: int, payload: bytes = b"") -> Any:
        return strict_json.loads(JsonResponse.unpack(self.call(command_id, payload)).json)

    def _next_frame(self) -> Frame:
        while (frame := self._buffer.next_frame()) is None:
            self._buffer.keep()
            self._receive()
        kept = Frame(frame.command_id, frame.flags, memoryview(bytes(frame.payload)))
        self._buffer.keep()
        return kept

    def _receive(self) -> None:
        try:
            size = self._sock.recv_into(self._chunk)
        except TimeoutError:
            raise TimeoutError(f"the core did not answer within {self._timeout:g} s") from None
        except ConnectionResetError:
            size = 0
        if not size:
            raise CoreNotRunning("the core closed the connection", hint="see its log, or `reed status`")
        self._buffer.feed(self._chunk[:size])

    @staticmethod
    def _answer(frame: Frame) -> Answer:
        if not frame.flags & Flag.RESPONSE:
            raise Malformed("the core sent a request")
        error = _error(ErrorResponse.unpack(frame.payload)) if frame.flags & Flag.ERROR else None
        return Answer(frame.command_id, frame.payload, error)


def _connect(path: str, timeout: float | None) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(timeout)
    try:
        sock.connect(path)
    except (FileNotFoundError, ConnectionRefusedError):
        sock.close()
        raise CoreNotRunning(f"no core on {path}", hint="start it with `reed start`") from None
    except PermissionError:
        sock.close()
        raise CoreNotRunning(
            f"you may not open {path}", hint="ask who runs the core for a place in a group (socket_group in reed.yaml)"
        ) from None
    return sock


def _error(response: ErrorResponse) -> CallError:
    """The error of that code; a status that a plugin chose by itself is a plain CallError."""
    for kind in CallError.__subclasses__():
        if kind.error_code == response.error_code:
            return kind(response.message, status=response.status, error_code=response.error_code)
    return CallError(response.message, status=response.status, error_code=response.error_code)


def written(payload: bytes | memoryview) -> str:
    """The id in the answer to a write; the error it holds is raised (WIRE.md, rule 3)."""
    answer = SnippetWritten.unpack(payload)
    if answer.status >= 400:
        for kind in CallError.__subclasses__():
            if kind.status == answer.status and 30000 <= kind.error_code < 40000:
                raise kind(answer.error)
        raise CallError(answer.error, status=answer.status)
    return answer.snippet_id
