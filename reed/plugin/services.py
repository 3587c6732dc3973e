"""What the SDK calls: functions that the process of the plugin provides, by name. Arguments and results are bytes.

b"snippet.get" (b'["blog/intro"]')    ->  b'{"id": …}'        a command of the core (reed.plugin_host.services)
b"log" (b"info", b"text")             ->  None
"""

from __future__ import annotations

import _thread
from collections.abc import Callable, Mapping
from typing import Any

from reed.errors import Malformed, ReedError
from reed.plugin.failure import Error, of_core
from reed.wire import strict_json

Service = Callable[..., bytes | None]

DEPTH = strict_json.MAX_DEPTH + strict_json.ENVELOPE
_table: Mapping[bytes, Service] = {}
_thread_id = 0


def provide(table: Mapping[bytes, Service]) -> None:
    """By the plugin's process, or by a test, before main.py is loaded; only this thread may ask then."""
    global _table, _thread_id
    _table, _thread_id = table, _thread.get_ident()


def ask(operation: str, *arguments: bytes) -> bytes | None:
    """Raises Error."""
    service = _table.get(operation.encode())
    if service is None:
        raise Error(
            f"{operation}: there is no core here",
            status=503,
            hint="the code of a plugin is run by the core (`reed plugin start`) or by `reed plugin test`",
        )
    if _thread.get_ident() != _thread_id:
        raise Error(f"{operation}: called from another thread", status=500, hint="only the plugin's main thread may")
    try:
        return service(*arguments)
    except ReedError as error:
        raise of_core(error) from None


def ask_json(operation: str, *arguments: bytes) -> Any:
    """For a service that returns JSON, or nothing: the decoded value, or None."""
    text = ask(operation, *arguments)
    return None if text is None else strict_json.loads(text, DEPTH)


def encode(value: object) -> bytes:
    """Raises Error for a value that JSON lacks."""
    try:
        return strict_json.dumps(value)
    except Malformed as error:
        raise of_core(error) from None


def text_of(value: object) -> bytes:
    """Content, a patch or a payload: a JSON text as it is, any other value encoded."""
    if isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else encode(value)
