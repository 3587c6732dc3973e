"""What a plugin under test and its test can ask the host: the SDK's services on a fake core, and the test's own.

    reed.snippet.…   CoreServices ──▶ FakeCore.request         core.add, core.answer, core.messages, …   "test.…"
    log, signal, message, message.request ──▶ FakeCore          (sdk/test_core.lua)

Every service takes and returns bytes, as LuaSandbox passes them.
"""

from __future__ import annotations

from collections.abc import Callable

from reed.errors import CallError
from reed.fake_core import FakeCore
from reed.lua.sandbox import Service
from reed.lua.services import CoreServices
from reed.wire import strict_json
from reed.wire.registry import RegistryDefine

_load, _dump = strict_json.loads, strict_json.dumps


def services(core: FakeCore) -> dict[bytes, Service]:
    own: list[Callable[..., bytes | None]] = [
        test_sent,
        test_add,
        test_define,
        test_get,
        test_answer,
        test_answer_error,
        test_fail,
        test_event,
    ]
    return {
        **CoreServices(core.request).table(),
        b"log": lambda level, text: core.add_log(level.decode(), text.decode("utf-8", "replace")),
        b"signal": lambda arguments: core.signal(*_load(arguments)),
        b"message": lambda arguments, payload: _send(core, arguments, payload),
        b"message.request": lambda arguments, payload: _ask(core, arguments, payload),
        **{each.__name__.replace("_", ".", 1).encode(): _bound(each, core) for each in own},
    }


def _bound(function: Callable[..., bytes | None], core: FakeCore) -> Service:
    return lambda *arguments: function(core, *arguments)


def _send(core: FakeCore, arguments: bytes, payload: bytes) -> bytes:
    core.send(*_load(arguments), payload)
    return b"true"


def _ask(core: FakeCore, arguments: bytes, payload: bytes) -> bytes | None:
    target, message_type, _seconds = _load(arguments)
    answer = core.ask(target, message_type, payload)
    return None if answer is None else _dump(answer)


def test_sent(core: FakeCore, name: bytes) -> bytes:
    return _dump(getattr(core, name.decode()))


def test_add(core: FakeCore, arguments: bytes, content: bytes) -> bytes:
    return _dump(core.add(*_load(arguments), content))


def test_define(core: FakeCore, arguments: bytes, definition: bytes) -> None:
    core.content.registry_define(RegistryDefine(*_load(arguments), definition))


def test_get(core: FakeCore, arguments: bytes) -> bytes | None:
    record = core.get(*_load(arguments))
    return record.as_json() if record else None


def test_answer(core: FakeCore, arguments: bytes, value: bytes) -> None:
    core.answer(*_load(arguments), _load(value))


def test_answer_error(core: FakeCore, arguments: bytes) -> None:
    target, message_type, status, message = _load(arguments)
    core.answer(target, message_type, CallError(message, status=status))


def test_fail(core: FakeCore, arguments: bytes) -> None:
    core.fail(*_load(arguments))


def test_event(core: FakeCore, arguments: bytes, fields: bytes) -> bytes:
    return _dump(core.event(*_load(arguments), strict_json.load_object(fields)))
