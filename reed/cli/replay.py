"""Playing recorded calls to a plugin again (`reed plugin test NAME --replay F`).

    F ── the calls that the core made to the plugin, each with its answer ── made again ── the same answer?

An action with `input: snippet` was called with the snippet itself: a snippet of that content and name is made for it,
and its new id counts as the recorded one.
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from reed.cli import fixtures
from reed.cli.monitor import read_file
from reed.client import Client
from reed.errors import CallError
from reed.supervision.manifest import Action, Manifest
from reed.wire.codes import Flag
from reed.wire.common import ErrorResponse, unpack_status
from reed.wire.monitor import IN, Monitored
from reed.wire.structs import STATUS

_WIDEST = 200  # characters of an answer in a report


class Answer(NamedTuple):
    status: int
    body: bytes
    is_error: bool  # then the body is its text, whose lines and hints may change

    def __str__(self) -> str:
        text = self.body.decode("utf-8", "replace")
        return f"{self.status} {text[:_WIDEST]}{'…' if len(text) > _WIDEST else ''}"


class Recorded(NamedTuple):
    command_id: int
    payload: bytes
    answer: Answer


def differences(core: Client, plugin: str, manifest: Manifest, path: str) -> tuple[int, list[str]]:
    """How many calls the file has, and what is different now, call by call."""
    actions = {action.command_id: action for action in manifest.actions.values()}
    count, different = 0, []
    for call in recorded_calls(read_file(path), plugin):
        count += 1
        action = actions.get(call.command_id)
        if action is None:
            different.append(f"call {count}: there is no action of command_id {call.command_id} any more")
        elif problem := _replay(core, plugin, action, call):
            different.append(f"call {count}, {action.name}: {problem}")
    return count, different


def recorded_calls(frames: Iterable[Monitored], plugin: str) -> Iterator[Recorded]:
    """The calls of a plugin's actions, with their answers; one that was never answered is left out."""
    open_calls: defaultdict[int, deque[Monitored]] = defaultdict(deque)  # by connection, in the order of the requests
    for frame in frames:
        if frame.peer != f"plugin {plugin}" or frame.flags & Flag.SIGNAL:
            continue
        is_response = bool(frame.flags & Flag.RESPONSE)
        if frame.direction == IN and is_response and open_calls[frame.connection]:
            call = open_calls[frame.connection].popleft()
            yield Recorded(call.command_id, bytes(call.payload), _answer(frame))
        elif frame.direction != IN and not is_response:
            open_calls[frame.connection].append(frame._replace(payload=bytes(frame.payload)))


def _answer(frame: Monitored) -> Answer:
    if frame.flags & Flag.ERROR:
        error = ErrorResponse.unpack(frame.payload)
        return Answer(error.status, error.message.encode(), is_error=True)
    return Answer(unpack_status(frame.payload), bytes(frame.payload[STATUS.size :]), is_error=False)


def _replay(core: Client, plugin: str, action: Action, call: Recorded) -> str:
    """Make the call again; what is different now, or ""."""
    recorded_id = new_id = ""
    data: Any = call.payload
    if action.input == "snippet":
        snippet = json.loads(call.payload)
        recorded_id, new_id = snippet["id"], fixtures.remake(core, snippet["name"], snippet["content"])
        data = new_id
    try:
        answer = core.plugin_send(plugin, action.name, data)
        now = Answer(answer.status, bytes(answer.body).replace(new_id.encode(), recorded_id.encode()), is_error=False)
    except CallError as error:
        now = Answer(error.status, error.message.encode(), is_error=True)
    return "" if _same(now, call.answer) else f"was {call.answer}, is {now}"


def _same(one: Answer, other: Answer) -> bool:
    if one.status != other.status or one.is_error != other.is_error:
        return False
    try:
        return one.is_error or bool(json.loads(one.body) == json.loads(other.body))
    except ValueError:
        return one.body == other.body
