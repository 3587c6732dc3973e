"""What a plugin's host sends to the core and to other plugins, answered and kept for a test.

    request   a command     ─ permission? ─ failure set by the test? ─ FakeContent ─▶ answer; a write joins `writes`
    send      a message     ─▶ `messages`
    ask       a request     ─▶ `messages`; the answer that the test has set, else PluginOffline
    signal    to the core   ─▶ `signals`
    log       a line        ─▶ `log`

`writes`, `messages`, `signals` and `log` are lists of dicts of JSON values, in the order in which they were sent.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Mapping
from typing import Any

from reed.errors import CallError, Malformed, PermissionDenied, PluginOffline, nearest
from reed.fake_core.content import FakeContent
from reed.wire import identifiers, strict_json
from reed.wire.codes import Command, Signal
from reed.wire.commands import record_of
from reed.wire.registry import RegistryDefine
from reed.wire.snippets import Record, SnippetCreate, SnippetDelete, SnippetUpdate
from reed.wire.structs import Bytes

_COMMANDS = {command.name.lower().replace("_", ".", 1): command for command in Command}
_NAMES = {"snippet_type": "type", "semantic_name": "name", "type_name": "name"}  # as the SDKs call them
_JSON_FIELDS = {"content", "patch", "definition"}
_RESULT_IDS = ("snippet_id", "bond_id")
_MAX_MESSAGE_TYPE = 255


class FakeCore:
    """`permissions`: those of the plugin; None: all."""

    def __init__(self, permissions: Collection[str] | None = None) -> None:
        self._permissions = permissions
        self.reset()

    def reset(self) -> None:
        """Forget everything: content, answers, failures, and what the plugin sent."""
        self.content = FakeContent()
        self.writes: list[dict[str, Any]] = []
        self.messages: list[dict[str, Any]] = []
        self.signals: list[dict[str, Any]] = []
        self.log: list[dict[str, Any]] = []
        self._answers: dict[tuple[str, int], Any] = {}  # JSON values and CallErrors
        self._failures: dict[Command, deque[CallError]] = {}
        self._last_event = 0

    # For the test

    def add(self, kind: str, name: str, content: Bytes) -> str:
        """Create a snippet, which is no write of the plugin; its id."""
        return self.content.snippet_create(SnippetCreate(kind, name, content)).snippet_id

    def update(self, ref: str, patch: Bytes) -> None:
        """Change a snippet, as somebody else than the plugin would."""
        self.content.snippet_update(SnippetUpdate(ref, 0, patch))

    def delete(self, ref: str) -> None:
        """Delete a snippet and its bonds, as somebody else than the plugin would."""
        self.content.snippet_delete(SnippetDelete(ref, cascade=True))

    def define(self, name: str, definition: Bytes) -> None:
        self.content.registry_define(RegistryDefine(name, definition))

    def get(self, ref: str) -> Record | None:
        return self.content.records.get(self.content.id_of(ref))

    def answer(self, target: str, message_type: int, value: Any) -> None:
        """What requests of this type to `target` get: a JSON value, or a CallError that is raised."""
        self._answers[target, message_type] = value

    def answer_error(self, target: str, message_type: int, status: int, message: str) -> None:
        self.answer(target, message_type, CallError(message, status=status))

    def fail(self, command: str, status: int, message: str) -> None:
        """The next command of that name, such as "snippet.update", fails. Several failures are used in order."""
        found = _COMMANDS.get(command)
        if found is None:
            raise Malformed(f"no command {command!r}", hint=nearest(command, _COMMANDS) or "such as snippet.update")
        self._failures.setdefault(found, deque()).append(CallError(message, status=status))

    def event(self, name: str, ref: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The event that the core would send about a snippet, which may be deleted; `fields` replace its own."""
        self._last_event += 1
        record, bonds = self.content.deleted.get(ref, (self.get(ref), []))
        event: dict[str, Any] = {"id": self._last_event, "event": name, "time": time.time_ns() // 1000}
        event |= {"type": "", "name": "", "snippet_id": "", "version": 1}
        if record is not None:
            event |= {"type": record.snippet_type, "name": record.semantic_name}
            event |= {"snippet_id": record.id, "version": record.version}
            if name == "snippet.deleted":
                event |= {"content": strict_json.loads(record.content), "bonds": bonds}
        return event | dict(fields)

    # For the plugin

    def request(self, number: int, payload: bytes) -> bytes:
        """Answer a command, as a connection to the core does: payload in, payload out. Raises CallError."""
        command = Command(number)
        self._check_permission(command)
        if failures := self._failures.get(command):
            raise failures.popleft()
        handler = getattr(self.content, command.name.lower(), None)
        if handler is None:
            raise CallError(f"{command.name} is not a part of the fake core", status=501)
        record = record_of(command.request).unpack(memoryview(payload)) if command.request else None
        answer = handler(record) if record is not None else handler()
        if command.access == "writes":
            self.writes.append(_as_write(command, record, answer))
        return bytes(answer.pack())

    def send(self, target: str, message_type: int, payload: bytes, *, is_request: bool = False) -> None:
        identifiers.check("plugin name", target)
        if isinstance(message_type, bool) or not 0 <= message_type <= _MAX_MESSAGE_TYPE:
            raise Malformed(f"message type {message_type!r}", hint=f"expected an integer from 0 to {_MAX_MESSAGE_TYPE}")
        message = {"target": target, "type": message_type, "payload": strict_json.loads(payload)}
        self.messages.append({**message, "request": is_request})

    def ask(self, target: str, message_type: int, payload: bytes) -> Any:
        """The answer that the test has set; None stands for an ACK."""
        self.send(target, message_type, payload, is_request=True)
        if (target, message_type) not in self._answers:
            hint = f"the test sets what it answers: core.answer('{target}', 0x{message_type:02X}, value)"
            raise PluginOffline(f"{target} has no answer to requests of type 0x{message_type:02X}", hint=hint)
        answer = self._answers[target, message_type]
        if isinstance(answer, CallError):
            raise CallError(f"{target}: {answer.message}", status=answer.status)
        return answer

    def signal(self, signal_type: int, data: str = "") -> None:
        try:
            known = Signal(signal_type)
        except ValueError:
            raise Malformed(f"unknown signal {signal_type!r}") from None
        if known >= Signal.SHUTDOWN_GRACEFUL:
            raise PermissionDenied(f"{known.name} can only be sent by the core")
        self.signals.append({"type": int(known), "data": data})

    def add_log(self, level: str, text: str) -> None:
        self.log.append({"level": level, "text": text})

    def _check_permission(self, command: Command) -> None:
        if self._permissions is None or (command.permission and command.permission in self._permissions):
            return
        needed = f"it needs {command.permission}" if command.permission else "only people in the group admin may"
        raise PermissionDenied(f"the plugin may not {command.name}", hint=f"{needed}; see `permissions` in plugin.yaml")


def _as_write(command: Command, record: Any, answer: Any) -> dict[str, Any]:
    fields = record._asdict()
    if isinstance(fields.get("record"), Record):  # of SNIPPET_RESTORE
        fields |= fields.pop("record")._asdict()
    write: dict[str, Any] = {"command": command.name.lower().replace("_", ".", 1)}
    for key, value in fields.items():
        write[_NAMES.get(key, key)] = strict_json.loads(value) if key in _JSON_FIELDS else value
    for key in _RESULT_IDS:
        if hasattr(answer, key):
            write["id"] = getattr(answer, key)
    return write
