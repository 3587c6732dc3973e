"""A frame in words: who sent what to whom, with the fields of its payload by their names in protocol.md.

request    SNIPPET_GET ref=blog/intro
response   SNIPPET_GET 404 ERR_NOT_FOUND no snippet blog/intro
call       validate {"id": …}                a plugin's action: its name, where it is known
signal     HEALTH_CHECK plugin_name=simple-seo
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from reed.errors import ErrorCode, Malformed
from reed.wire import common, plugins, registry, schema, search, snippets
from reed.wire.codes import SNIPPET_WRITES, Command, Flag, Signal
from reed.wire.monitor import IN, Monitored
from reed.wire.structs import Bytes

_C = Command
_REQUESTS: dict[int, Callable[[Bytes], Any]] = {
    _C.SNIPPET_CREATE: snippets.SnippetCreate.unpack,
    _C.SNIPPET_UPDATE: snippets.SnippetUpdate.unpack,
    _C.SNIPPET_DELETE: snippets.SnippetDelete.unpack,
    _C.SNIPPET_GET: common.unpack_ref,
    _C.SNIPPET_LIST: snippets.SnippetList.unpack,
    _C.SNIPPET_FIND: snippets.SnippetFind.unpack,
    _C.SNIPPET_RESTORE: snippets.SnippetRestore.unpack,
    _C.SNIPPET_RENAME: snippets.SnippetRename.unpack,
    _C.SNIPPET_NAMES: snippets.SnippetNames.unpack,
    _C.SCHEMA_BOND: schema.SchemaBond.unpack,
    _C.SCHEMA_UNBOND: schema.SchemaUnbond.unpack,
    _C.SCHEMA_TREE: schema.SchemaTree.unpack,
    _C.REGISTRY_DEFINE: registry.RegistryDefine.unpack,
    _C.REGISTRY_GET: common.unpack_name,
    _C.REGISTRY_CHECK: registry.RegistryCheck.unpack,
    _C.SEARCH_QUERY: search.SearchQuery.unpack,
    _C.SEARCH_INDEX: common.unpack_ref,
    _C.PLUGIN_REGISTER: plugins.PluginRegister.unpack,
    _C.PLUGIN_HEALTH: common.unpack_name,
    _C.PLUGIN_SIGNAL: common.SignalMessage.unpack,
    _C.PLUGIN_START: common.unpack_name,
    _C.PLUGIN_STOP: common.unpack_name,
    _C.PLUGIN_RELOAD: plugins.PluginReload.unpack,
    _C.PLUGIN_SEND: plugins.PluginSend.unpack,
}
_JSON = frozenset(
    {
        _C.SNIPPET_NAMES,
        _C.SCHEMA_TREE,
        _C.REGISTRY_CHECK,
        _C.PLUGIN_REGISTER,
        _C.PLUGIN_HEALTH,
        _C.PLUGIN_LIST,
        _C.SYSTEM_STATS,
    }
)


class Decoded(NamedTuple):
    kind: str  # request, response, call, answer or signal
    what: str  # the command, action or signal
    fields: dict[str, Any]  # texts, numbers, and JSON as it is


def decode(frame: Monitored, actions: Mapping[tuple[str, int], str]) -> Decoded:
    """`actions`: (plugin, command_id) -> the action's name, as far as it is known."""
    is_response = bool(frame.flags & Flag.RESPONSE)
    plugin = frame.peer.removeprefix("plugin ")
    from_core = (frame.direction == IN) == is_response  # who asked
    if plugin != frame.peer and from_core and not frame.flags & Flag.SIGNAL:
        what = actions.get((plugin, frame.command_id), f"action 0x{frame.command_id:02X}")
        return Decoded("answer" if is_response else "call", what, _call_fields(frame, is_response=is_response))
    what = Command(frame.command_id).name if frame.command_id in set(Command) else f"0x{frame.command_id:02X}"
    try:
        if is_response:
            return Decoded("response", what, _response_fields(frame))
        fields = _request_fields(frame)
    except Malformed as error:
        return Decoded("response" if is_response else "request", what, {"malformed": error.message})
    if frame.flags & Flag.SIGNAL and fields.get("signal_type") in set(Signal):
        return Decoded("signal", Signal(fields.pop("signal_type")).name, fields)
    return Decoded("request", what, fields)


def _call_fields(frame: Monitored, *, is_response: bool) -> dict[str, Any]:
    if not is_response:
        return {"input": _value(frame.payload)} if frame.payload else {}
    try:
        if frame.flags & Flag.ERROR:
            return _error_fields(frame.payload)
        answer = plugins.PluginAnswer.unpack(frame.payload)
    except Malformed as error:
        return {"malformed": error.message}
    return {"status": answer.status, "body": _value(answer.body)}


def _request_fields(frame: Monitored) -> dict[str, Any]:
    if frame.command_id not in _REQUESTS:
        return {"bytes": len(frame.payload)} if frame.payload else {}
    record = _REQUESTS[frame.command_id](frame.payload)
    if isinstance(record, str):
        return {"ref" if frame.command_id in {_C.SNIPPET_GET, _C.SEARCH_INDEX} else "name": record}
    if isinstance(record, snippets.SnippetRestore):
        return {"flags": record.flags, **_record_fields(record.record)}
    return {name: _value(value) for name, value in record._asdict().items()}


def _record_fields(record: snippets.Record) -> dict[str, Any]:
    return {name: _value(value) for name, value in record._asdict().items()}


def _response_fields(frame: Monitored) -> dict[str, Any]:
    if frame.flags & Flag.ERROR:
        return _error_fields(frame.payload)
    if frame.command_id in SNIPPET_WRITES:
        return snippets.SnippetWritten.unpack(frame.payload)._asdict()
    if frame.command_id == _C.SNIPPET_GET:
        status, record = snippets.SnippetGot.unpack(frame.payload)
        return {"status": status, **_record_fields(record)}
    if frame.command_id in _JSON:
        answer = common.JsonResponse.unpack(frame.payload)
        return {"status": answer.status, "json": _value(answer.json)}
    if frame.command_id == _C.PLUGIN_SEND:
        sent = plugins.PluginAnswer.unpack(frame.payload)
        return {"status": sent.status, "body": _value(sent.body)}
    return {"status": common.unpack_status(frame.payload), "bytes": len(frame.payload)}


def _error_fields(payload: Bytes) -> dict[str, Any]:
    error = common.ErrorResponse.unpack(payload)
    known = error.error_code in set(ErrorCode)
    code = ErrorCode(error.error_code).name if known else error.error_code
    return {"status": error.status, "error_code": code, "message": error.message}


def _value(value: Any) -> Any:
    """JSON as what it says, other bytes as text, or their number where they are no text."""
    if not isinstance(value, bytes | bytearray | memoryview):
        return value
    try:
        text = bytes(value).decode()
    except UnicodeDecodeError:
        return f"{len(value)} bytes"
    try:
        return json.loads(text)
    except ValueError:
        return text
