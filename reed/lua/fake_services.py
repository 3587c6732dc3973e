"""What a plugin under test and its test can ask the host: the SDK's services on a fake core, and the test's own.

    reed.snippet.…, log, messages     reed.plugin_host.fake_services
    core.add, core.messages, …        "test.…" (sdk/test_core.lua)

Every service takes and returns bytes, as LuaSandbox passes them.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from reed.errors import CallError
from reed.fake_core import FakeCore
from reed.plugin_host.fake_services import sdk_services
from reed.plugin_host.launch_spec import MEMORY
from reed.plugin_host.runtime import Service
from reed.wire import strict_json
from reed.wire.registry import RegistryDefine

_dump = strict_json.dumps


def services(core: FakeCore) -> dict[bytes, Service]:
    return {
        **sdk_services(core, MEMORY),
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


def _load(arguments: bytes) -> list[Any]:
    """The arguments of a Lua function, as the SDK encodes them."""
    given: list[Any] = strict_json.loads(arguments)
    return given


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
