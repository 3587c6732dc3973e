"""Decodes a monitored frame for people.

request    SNIPPET_GET     ref=blog/intro
response   SNIPPET_GET     status=404 error_code=ERR_NOT_FOUND message=…
call       validate        input={"id": …}
answer     validate        status=200 body={"score": 9}
signal     HEALTH_CHECK    plugin_name=simple-seo
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from reed.errors import ErrorCode, Malformed
from reed.wire import common, plugins
from reed.wire.codes import SIGNALS, Command, Flag, Signal
from reed.wire.commands import record_of
from reed.wire.monitor import IN, Monitored
from reed.wire.structs import Bytes

_MAX_FIELD = 400  # characters


class Decoded(NamedTuple):
    kind: str  # request, response, call, answer or signal
    what: str
    fields: dict[str, Any]


def action_names(plugins: Iterable[Mapping[str, Any]]) -> dict[tuple[str, int], str]:
    """Those of PLUGIN_LIST, for `decode`."""
    return {
        (plugin["name"], action["command_id"]): name for plugin in plugins for name, action in plugin["actions"].items()
    }


def learn_actions(actions: dict[tuple[str, int], str], frame: Monitored) -> None:
    """Add those of a plugin that registers."""
    decoded = decode(frame, {}) if frame.command_id == Command.PLUGIN_REGISTER and frame.direction == IN else None
    manifest = decoded.fields.get("manifest") if decoded else None
    for name, action in (manifest.get("actions") or {}).items() if isinstance(manifest, dict) else ():
        if isinstance(action, dict) and isinstance(action.get("command_id"), int):
            actions[frame.peer.removeprefix("plugin "), action["command_id"]] = name


def decode(frame: Monitored, actions: Mapping[tuple[str, int], str]) -> Decoded:
    """`actions` has names by plugin and command_id."""
    is_response = bool(frame.flags & Flag.RESPONSE)
    plugin = frame.peer.removeprefix("plugin ")
    from_core = (frame.direction == IN) == is_response  # the core sent the request
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
    if frame.flags & Flag.SIGNAL and fields.get("signal_type") in SIGNALS:
        return Decoded("signal", Signal(fields.pop("signal_type")).name, fields)
    return Decoded("request", what, fields)


def one_line(fields: Mapping[str, Any]) -> str:
    """ "ref=blog/intro version=3"; long values are cut."""
    return " ".join(f"{name}={_shown(value)}" for name, value in fields.items() if value != "")


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text if len(text) <= _MAX_FIELD else f"{text[:_MAX_FIELD]}… ({len(text)} characters)"


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
    record = Command(frame.command_id).request if frame.command_id in set(Command) else ""
    if not record:
        return {"bytes": len(frame.payload)} if frame.payload else {}
    return _fields(record_of(record).unpack(frame.payload))


def _response_fields(frame: Monitored) -> dict[str, Any]:
    if frame.flags & Flag.ERROR:
        return _error_fields(frame.payload)
    record = Command(frame.command_id).response if frame.command_id in set(Command) else ""
    if not record:
        return {"status": common.unpack_status(frame.payload), "bytes": len(frame.payload)}
    return _fields(record_of(record).unpack(frame.payload))


def _fields(record: Any) -> dict[str, Any]:
    """Nested records are merged; a list of records becomes its length. A tuple that is no record is one of texts."""
    found: dict[str, Any] = {}
    for name, value in record._asdict().items():
        if isinstance(value, tuple):
            found |= _fields(value) if hasattr(value, "_asdict") else {name: list(value)}
        else:
            found[name] = len(value) if isinstance(value, list) else _value(value)
    return found


def _error_fields(payload: Bytes) -> dict[str, Any]:
    error = common.ErrorResponse.unpack(payload)
    known = error.error_code in set(ErrorCode)
    code = ErrorCode(error.error_code).name if known else error.error_code
    return {"status": error.status, "error_code": code, "message": error.message}


def _value(value: Any) -> Any:
    """Bytes become parsed JSON, text, or their number."""
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
