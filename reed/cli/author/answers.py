"""Compares the answers of a plugin under test.

`difference`: an answer with `output` of plugin.yaml, an example of which only the kinds of values count:

    declared              matches
    {"words": 420}        an object with a number `words`, and any other fields
    [{"keyword": ""}]     an array whose elements all match the first one declared; [] matches any array
    "…", 420, true        any string, any number, any boolean
    null                  anything

`replayed`: recorded calls (`reed plugin test NAME --replay F`) with the answers to the same calls now. Snippets in the
calls are created again; in the answers their new ids are replaced by the recorded ones.
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from reed.cli.author import fixtures
from reed.cli.monitor import recorded
from reed.client import Client
from reed.errors import CallError
from reed.supervision.manifest import Action, Manifest
from reed.wire.codes import Flag
from reed.wire.common import ErrorResponse
from reed.wire.monitor import IN, Monitored
from reed.wire.plugins import PluginAnswer

_MAX_SHOWN = 200  # characters of an answer


def difference(declared: Any, answered: Any, place: str = "") -> str:
    """A description of the first difference, or ""."""
    if declared is None:
        return ""
    expected, found = _kind_of(declared), _kind_of(answered)
    if expected != found:
        return f"{place or 'the answer'}: declared {expected}, answered {found}{_as_text(answered)}"
    if isinstance(declared, dict):
        for key, value in declared.items():
            inner = f"{place}.{key}" if place else key
            if key not in answered:
                return f"{inner}: declared, but missing in the answer, which has: {', '.join(answered) or 'nothing'}"
            if found := difference(value, answered[key], inner):
                return found
    elif isinstance(declared, list) and declared:
        for number, value in enumerate(answered):
            if found := difference(declared[0], value, f"{place}[{number}]"):
                return found
    return ""


def _kind_of(value: Any) -> str:
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float)):
        return "a number"
    return {str: "a string", list: "an array", dict: "an object", type(None): "null"}[type(value)]


def _as_text(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return f", {text}" if value is not None and len(text) <= 60 else ""


class RecordedAnswer(NamedTuple):
    status: int
    body: bytes
    is_error: bool  # then `body` is a text, which is not compared

    def __str__(self) -> str:
        text = self.body.decode("utf-8", "replace")
        return f"{self.status} {text[:_MAX_SHOWN]}{'…' if len(text) > _MAX_SHOWN else ''}"


class RecordedCall(NamedTuple):
    command_id: int
    payload: bytes
    answer: RecordedAnswer


def replayed(core: Client, plugin: str, manifest: Manifest, path: str) -> tuple[int, list[str]]:
    """Returns the number of calls, and a description of each that is answered differently."""
    actions = {action.command_id: action for action in manifest.actions.values()}
    count, different = 0, []
    for call in recorded_calls((frame for frame, _ in recorded(path)), plugin):
        count += 1
        action = actions.get(call.command_id)
        if action is None:
            different.append(f"call {count}: no action has the command_id {call.command_id} any more")
        elif changed := _replay(core, plugin, action, call):
            different.append(f"call {count}, {action.name}: {changed}")
    return count, different


def recorded_calls(frames: Iterable[Monitored], plugin: str) -> Iterator[RecordedCall]:
    """Calls without an answer are dropped."""
    in_flight: defaultdict[int, deque[Monitored]] = defaultdict(deque)  # by connection
    for frame in frames:
        if frame.peer != f"plugin {plugin}" or frame.flags & Flag.SIGNAL:
            continue
        is_response = bool(frame.flags & Flag.RESPONSE)
        if frame.direction == IN and is_response and in_flight[frame.connection]:
            call = in_flight[frame.connection].popleft()
            yield RecordedCall(call.command_id, bytes(call.payload), _answer(frame))
        elif frame.direction != IN and not is_response:
            in_flight[frame.connection].append(frame._replace(payload=bytes(frame.payload)))


def _answer(frame: Monitored) -> RecordedAnswer:
    if frame.flags & Flag.ERROR:
        error = ErrorResponse.unpack(frame.payload)
        return RecordedAnswer(error.status, error.message.encode(), is_error=True)
    answer = PluginAnswer.unpack(frame.payload)
    return RecordedAnswer(answer.status, bytes(answer.body), is_error=False)


def _replay(core: Client, plugin: str, action: Action, call: RecordedCall) -> str:
    recorded_id = new_id = ""
    data: Any = call.payload
    if action.input == "snippet":
        snippet = json.loads(call.payload)
        recorded_id, new_id = snippet["id"], fixtures.recreate(core, snippet["name"], snippet["content"])
        data = new_id
    try:
        answer = core.plugin_send(plugin, action.name, data)
        body = bytes(answer.body).replace(new_id.encode(), recorded_id.encode())
        now = RecordedAnswer(answer.status, body, is_error=False)
    except CallError as error:
        now = RecordedAnswer(error.status, error.message.encode(), is_error=True)
    return "" if _is_same(now, call.answer) else f"was {call.answer}, is {now}"


def _is_same(one: RecordedAnswer, other: RecordedAnswer) -> bool:
    if one.status != other.status or one.is_error != other.is_error:
        return False
    try:
        return one.is_error or bool(json.loads(one.body) == json.loads(other.body))
    except ValueError:
        return one.body == other.body
