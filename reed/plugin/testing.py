"""For a plugin's own tests, tests/test_*.py (python-api.md#tests): the test plays the core and the other plugins.

    test ── call, core.message, core.event, … ──▶ the plugin's handlers
         ◀── core.writes, core.messages, core.signals, core.log ── what the plugin sent

`reed plugin test` runs each file in the plugin's sandbox; `core` is a reed.fake_core, empty before each test.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from reed.errors import Malformed
from reed.fake_core import FakeCore
from reed.plugin import Error, Snippet, plugin, reed, signals
from reed.plugin.services import DEPTH, text_of
from reed.wire import strict_json

__all__ = ["Core", "call", "core", "fails"]


def call(action: str, payload: object = None) -> Any:
    """The body of the answer, decoded if it is JSON, else str or bytes; `core.status` is its status. Raises Error."""
    if action not in plugin.actions:
        raise AssertionError(f"the plugin has no action {action!r}; it has: {', '.join(sorted(plugin.actions))}")
    core.status, body = plugin.call(plugin.actions[action], text_of(payload))
    try:
        return strict_json.loads(body, DEPTH)
    except Malformed:
        pass
    try:
        return body.decode()
    except UnicodeDecodeError:
        return body


class Core:
    """`core`: what the core and other plugins send to the plugin, what they have and answer, and what it sent to them.

    `status` is the status of the last call. `writes`, `messages`, `signals` and `log` are lists of dicts.
    """

    status = 200

    def __init__(self) -> None:
        self.fake = FakeCore()

    # What the core and other plugins send

    def start(self) -> None:
        """As after READY: calls the handler of on_start."""
        if plugin.start_handler is not None:
            plugin.start_handler()

    def message(self, source: str, message_type: int, payload: object = None) -> Any:
        """The answer; None for an ACK."""
        handler = plugin.message_handlers.get(message_type)
        if handler is None:
            raise Error(f"{plugin.name} has no handler for messages of type 0x{message_type:02X}", status=404)
        return handler(strict_json.loads(text_of({} if payload is None else payload)), source, message_type)

    def signal(self, signal_type: int, data: object = "") -> None:
        """`data`: a text or an object; with RELOAD_CONFIG it replaces the settings."""
        text = text_of(data).decode()
        if signal_type == signals.RELOAD_CONFIG and text:
            settings = strict_json.load_object(text.encode())
            reed.settings.clear()
            reed.settings.update(settings)
        if plugin.signal_handler is not None:
            plugin.signal_handler(signal_type, text)

    def sleep(self) -> None:
        if plugin.sleep_handler is not None:
            plugin.sleep_handler()

    def wake(self) -> None:
        self.signal(signals.WAKE_UP)

    def event(self, name: str, about: str = "", **fields: Any) -> Any:
        """`about`: the name or id of a snippet of the test; `fields` replace those of the event."""
        return call(plugin.action_of("events", name), self.fake.event(name, about, fields))

    def filter(self, event: str, content: Mapping[str, Any], *, type: str = "", name: str = "") -> Any:
        """The content that the core would write. Raises Error 422 with the reasons of a refusal."""
        asked = {"event": event, "type": type, "name": name, "id": None, "content": dict(content)}
        answer = call(plugin.action_of("filters", event), asked)
        if answer is None:
            return dict(content)
        if not isinstance(answer, dict) or answer.keys() - {"content", "refuse"}:
            expected = "expected None, {'content': …} or {'refuse': […]}"
            raise AssertionError(f"the filter answered {answer!r}; {expected}")
        if answer.get("refuse"):
            raise Error("; ".join(answer["refuse"]), status=422)
        return answer.get("content", dict(content))

    def schedule(self, name: str, due: str = "") -> Any:
        """`due`: a time with offset, now by default."""
        now = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
        return call(plugin.action_of("schedules", name), {"schedule": name, "due": due or now})

    # What they have and answer

    def add(self, type: str, name: str, content: object) -> str:
        """A snippet of the test; its id."""
        return self.fake.add(type, name, text_of(content))

    def update(self, ref: str, patch: object) -> None:
        """Changes a snippet, which is no write of the plugin."""
        self.fake.update(ref, text_of(patch))

    def delete(self, ref: str) -> None:
        self.fake.delete(ref)

    def define(self, name: str, definition: object) -> None:
        self.fake.define(name, text_of(definition))

    def get(self, ref: str) -> Snippet | None:
        record = self.fake.get(ref)
        return Snippet.of(strict_json.loads(record.as_json(), DEPTH)) if record else None

    def answer(self, target: str, message_type: int, value: Any) -> None:
        """What requests of this type to `target` get."""
        self.fake.answer(target, message_type, value)

    def answer_error(self, target: str, message_type: int, status: int, message: str) -> None:
        self.fake.answer_error(target, message_type, status, message)

    def fail(self, command: str, status: int, message: str = "failed") -> None:
        """The next command of that name, such as "snippet.update", fails."""
        self.fake.fail(command, status, message)

    # What the plugin sent

    @property
    def writes(self) -> list[dict[str, Any]]:
        return self.fake.writes

    @property
    def messages(self) -> list[dict[str, Any]]:
        return self.fake.messages

    @property
    def signals(self) -> list[dict[str, Any]]:
        return self.fake.signals

    @property
    def log(self) -> list[dict[str, Any]]:
        return self.fake.log


core = Core()


class fails:
    """The block must raise an Error whose text matches the pattern; `failure.error` is that error afterwards."""

    error: Error

    def __init__(self, pattern: str = "") -> None:
        self._pattern = pattern

    def __enter__(self) -> fails:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if error is None:
            raise AssertionError("no Error was raised")
        if not isinstance(error, Error):
            return False
        if not re.search(self._pattern, str(error)):
            raise AssertionError(f"the error is {str(error)!r}, which does not match {self._pattern!r}")
        self.error = error
        return True
