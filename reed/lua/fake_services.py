"""What a plugin under test and its test can ask the host: the SDK's services on a fake core, and the test's own.

    reed.snippet.…   CoreServices ──▶ FakeCore.request         core.add, core.answer, core.messages, …   "test.…"
    log, signal, message, message.request ──▶ FakeCore          (sdk/test_core.lua)

Every service takes and returns bytes, as LuaSandbox passes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from reed.errors import CallError
from reed.fake_core import FakeCore
from reed.plugin_host.batch import Batch
from reed.plugin_host.launch_spec import MEMORY
from reed.plugin_host.runtime import Service
from reed.plugin_host.services import CoreServices
from reed.wire import strict_json
from reed.wire.registry import RegistryDefine

_dump = strict_json.dumps


def services(core: FakeCore) -> dict[bytes, Service]:
    commands = CoreServices(core.request)
    batch = Batch(commands, partial(_request_all, core))
    batch.max_bytes = MEMORY
    return {
        **commands.table(),
        **batch.table(),
        b"log": lambda level, text: core.add_log(level.decode(), text.decode("utf-8", "replace")),
        b"signal": lambda arguments: core.signal(*_load(arguments)),
        b"message": partial(_send, core),
        b"message.request": partial(_ask, core),
        b"test.sent": partial(_sent, core),
        b"test.add": partial(_add, core),
        b"test.update": partial(_update, core),
        b"test.delete": lambda arguments: core.delete(*_load(arguments)),
        b"test.define": partial(_define, core),
        b"test.get": partial(_get, core),
        b"test.answer": partial(_answer, core),
        b"test.answer_error": partial(_answer_error, core),
        b"test.fail": lambda arguments: core.fail(*_load(arguments)),
        b"test.event": partial(_event, core),
    }


def _request_all(core: FakeCore, requests: Sequence[tuple[int, bytes]]) -> list[bytes | CallError]:
    answers: list[bytes | CallError] = []
    for command, payload in requests:
        try:
            answers.append(core.request(command, payload))
        except CallError as error:
            answers.append(error)
    return answers


def _load(arguments: bytes) -> list[Any]:
    """The arguments of a Lua function, as the SDK encodes them."""
    given: list[Any] = strict_json.loads(arguments)
    return given


def _send(core: FakeCore, arguments: bytes, payload: bytes) -> bytes:
    target, message_type = _load(arguments)
    core.send(target, message_type, payload)
    return b"true"


def _ask(core: FakeCore, arguments: bytes, payload: bytes) -> bytes | None:
    target, message_type, _seconds = _load(arguments)
    answer = core.ask(target, message_type, payload)
    return None if answer is None else _dump(answer)


def _sent(core: FakeCore, name: bytes) -> bytes:
    return _dump(getattr(core, name.decode()))


def _add(core: FakeCore, arguments: bytes, content: bytes) -> bytes:
    kind, name = _load(arguments)
    return _dump(core.add(kind, name, content))


def _update(core: FakeCore, arguments: bytes, patch: bytes) -> None:
    (ref,) = _load(arguments)
    core.update(ref, patch)


def _define(core: FakeCore, arguments: bytes, definition: bytes) -> None:
    (name,) = _load(arguments)
    core.content.registry_define(RegistryDefine(name, definition))


def _get(core: FakeCore, arguments: bytes) -> bytes | None:
    record = core.get(*_load(arguments))
    return record.as_json() if record else None


def _answer(core: FakeCore, arguments: bytes, value: bytes) -> None:
    target, message_type = _load(arguments)
    core.answer(target, message_type, strict_json.loads(value))


def _answer_error(core: FakeCore, arguments: bytes) -> None:
    target, message_type, status, message = _load(arguments)
    core.answer(target, message_type, CallError(message, status=status))


def _event(core: FakeCore, arguments: bytes, fields: bytes) -> bytes:
    name, ref = _load(arguments)
    return _dump(core.event(name, ref, strict_json.load_object(fields)))
