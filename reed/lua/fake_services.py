"""What a plugin under test and its test can ask the host: the SDK's services on a fake core, and the test's own.

    reed.snippet.…, log, messages     reed.plugin_host.fake_services
    core.add, core.messages, …        "test.…" (sdk/test_core.lua)

Every service takes and returns bytes, as LuaSandbox passes them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from reed.fake_core import FakeCore
from reed.plugin_host.fake_services import sdk_services
from reed.plugin_host.launch_spec import MEMORY
from reed.plugin_host.runtime import Service
from reed.wire import strict_json

_dump = strict_json.dumps


def services(core: FakeCore) -> dict[bytes, Service]:
    return {
        **sdk_services(core, MEMORY),
        b"test.sent": lambda name: _dump(getattr(core, name.decode())),
        b"test.add": _service(core.add),
        b"test.update": _service(core.update),
        b"test.delete": _service(core.delete),
        b"test.define": _service(core.define),
        b"test.get": partial(_get, core),
        b"test.answer": partial(_answer, core),
        b"test.answer_error": _service(core.answer_error),
        b"test.fail": _service(core.fail),
        b"test.event": partial(_event, core),
    }


def _service(function: Callable[..., Any]) -> Service:
    """Its first arguments are a JSON array, as the SDK encodes those of a Lua function; the others are JSON texts."""

    def service(arguments: bytes, *texts: bytes) -> bytes | None:
        result = function(*strict_json.loads(arguments), *texts)
        return None if result is None else _dump(result)

    return service


def _get(core: FakeCore, arguments: bytes) -> bytes | None:
    record = core.get(*strict_json.loads(arguments))
    return record.as_json() if record else None


def _answer(core: FakeCore, arguments: bytes, value: bytes) -> None:
    target, message_type = strict_json.loads(arguments)
    core.answer(target, message_type, strict_json.loads(value))


def _event(core: FakeCore, arguments: bytes, fields: bytes) -> bytes:
    name, ref = strict_json.loads(arguments)
    return _dump(core.event(name, ref, strict_json.load_object(fields)))
