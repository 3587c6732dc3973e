"""The services of the SDK on a fake core, for the tests of a plugin in any language.

reed.snippet.…   CoreServices, Batch ──▶ FakeCore.request
log, signal, message, message.request ──▶ FakeCore
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from reed.errors import CallError
from reed.fake_core import FakeCore
from reed.plugin_host.batch import Batch
from reed.plugin_host.runtime import Service
from reed.plugin_host.services import CoreServices
from reed.wire import strict_json

_dump = strict_json.dumps


def sdk_services(core: FakeCore, memory: int) -> dict[bytes, Service]:
    """`memory`: bytes that the writes of a batch may take."""
    commands = CoreServices(core.request)
    batch = Batch(commands, partial(_request_all, core))
    batch.max_bytes = memory
    return {
        **commands.table(),
        **batch.table(),
        b"log": lambda level, text: core.add_log(level.decode(), text.decode("utf-8", "replace")),
        b"signal": lambda arguments: core.signal(*_load(arguments)),
        b"message": partial(_send, core),
        b"message.request": partial(_ask, core),
    }


def _load(arguments: bytes) -> list[Any]:
    """The arguments of a Lua function, as the SDK encodes them."""
    given: list[Any] = strict_json.loads(arguments)
    return given


def _request_all(core: FakeCore, requests: Sequence[tuple[int, bytes]]) -> list[bytes | CallError]:
    answers: list[bytes | CallError] = []
    for command, payload in requests:
        try:
            answers.append(core.request(command, payload))
        except CallError as error:
            answers.append(error)
    return answers


def _send(core: FakeCore, arguments: bytes, payload: bytes) -> bytes:
    target, message_type = _load(arguments)
    core.send(target, message_type, payload)
    return b"true"


def _ask(core: FakeCore, arguments: bytes, payload: bytes) -> bytes | None:
    target, message_type, _seconds = _load(arguments)
    answer = core.ask(target, message_type, payload)
    return None if answer is None else _dump(answer)
