"""`plugin`: decorators that set handlers, messages to other plugins, and signals to the core.

@plugin.action("count")              of plugin.yaml   fn(payload, decoded) -> body
@plugin.on_event("snippet.updated")  an action too: the one that plugin.yaml names for the event
@plugin.on_message(0x20)                              fn(data, source, message_type) -> answer
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from reed.errors import Malformed
from reed.plugin import services
from reed.plugin.core import Reed
from reed.plugin.failure import Error
from reed.plugin.services import ask, ask_json, encode, text_of
from reed.wire import strict_json

if TYPE_CHECKING:
    from pathlib import Path

ActionHandler = Callable[[bytes, Any], object]
DataHandler = Callable[[dict[str, Any]], object]
MessageHandler = Callable[[Any, str, int], object]
SignalHandler = Callable[[int, str], object]
Nullary = Callable[[], object]

Action = TypeVar("Action", bound=ActionHandler)
Data = TypeVar("Data", bound=DataHandler)
Message = TypeVar("Message", bound=MessageHandler)
OnSignal = TypeVar("OnSignal", bound=SignalHandler)
Hook = TypeVar("Hook", bound=Nullary)

_PARAMETERS = 0x0C  # of co_flags: *args, **kwargs


class Answer(NamedTuple):
    """What an action returns to answer with a status of its own, 200 to 599."""

    body: object
    status: int = 200


class Spec(NamedTuple):
    """What plugin.yaml says. `hooks`: {"events": {"snippet.updated": action}}. None: a test accepts any action."""

    actions: Mapping[str, int] | None = None
    hooks: Mapping[str, Mapping[str, str]] | None = None


class Plugin:
    """One process has one: `from reed.plugin import plugin`."""

    Error = Error
    Answer = Answer

    def __init__(self, reed: Reed) -> None:
        self.name = ""
        self.version = ""
        self.folders: tuple[str, str | None] = "", None
        self.settings = reed.settings
        self.log = reed.log
        self.snippet = reed.snippet
        self.schema = reed.schema
        self.registry = reed.registry
        self.search = reed.search
        self.batch = reed.batch
        self.fail = reed.fail
        self.spec = Spec()
        self.byte_actions: set[int] = set()  # those with `input: bytes`
        self.actions: dict[str, int] = {}  # those that have a handler
        self.handlers: dict[int, ActionHandler] = {}
        self.message_handlers: dict[int, MessageHandler] = {}
        self.signal_handler: SignalHandler | None = None
        self.start_handler: Nullary | None = None
        self.sleep_handler: Nullary | None = None
        self._given: dict[str, object] = {}  # action -> the function that was decorated

    @property
    def plugin_dir(self) -> Path:
        """The plugin's own folder, which it can read."""
        from pathlib import Path  # slow to import

        return Path(self.folders[0])

    @property
    def data_dir(self) -> Path | None:
        """The folder that it can write to, with the permission file_write."""
        from pathlib import Path

        return Path(self.folders[1]) if self.folders[1] else None

    # Handlers

    def action(self, name: str) -> Callable[[Action], Action]:
        """The handler of an action of plugin.yaml: `fn(payload, decoded)` returns a body, or an Answer.

        `payload` is bytes; `decoded` is its JSON value, None if it is no JSON or the action has `input: bytes`. A body
        of str or bytes is sent as it is, any other value as JSON.
        """

        def set_handler(fn: Action) -> Action:
            _check_parameters(fn, 2, f"the action {name!r}", "(payload, decoded)")
            self._set(name, fn, fn)
            return fn

        return set_handler

    def register_command(self, command_id: int) -> Callable[[Action], Action]:
        """As `action`, by the command_id, 1 to 239."""
        if not 1 <= command_id <= 239:
            raise ValueError(f"command_id {command_id!r}: expected an integer from 1 to 239")
        names = [name for name, known in (self.spec.actions or {}).items() if known == command_id]
        name = names[0] if names else f"command-{command_id}"

        def set_handler(fn: Action) -> Action:
            _check_parameters(fn, 2, f"the command {command_id}", "(payload, decoded)")
            self.actions[name], self.handlers[command_id] = command_id, fn
            return fn

        return set_handler

    def on_event(self, event: str) -> Callable[[Data], Data]:
        """`fn(event)` is called after a change, such as "snippet.updated" (events.md#events)."""
        return self._on("events", event)

    def on_filter(self, event: str) -> Callable[[Data], Data]:
        """`fn(event)` is called before a write, such as "snippet.create"; it returns None, {"content": …} or
        {"refuse": […]} (events.md#filters)."""
        return self._on("filters", event)

    def on_schedule(self, name: str) -> Callable[[Data], Data]:
        """`fn({"schedule", "due"})` is called when the schedule `name` of plugin.yaml is due."""
        return self._on("schedules", name)

    def on_message(self, message_type: int) -> Callable[[Message], Message]:
        """`fn(data, source, message_type)` returns the answer: a value is sent as DATA, None as an ACK, an exception as
        ERROR. The type is 0 to 255."""
        if not 0 <= message_type <= 255:
            raise ValueError(f"message type {message_type!r}: expected an integer from 0 to 255")

        def set_handler(fn: Message) -> Message:
            _check_parameters(fn, 3, f"messages of type {message_type}", "(data, source, message_type)")
            self.message_handlers[message_type] = fn
            return fn

        return set_handler

    def on_start(self, fn: Hook) -> Hook:
        """`fn()` is called once, after READY and before the first call."""
        _check_parameters(fn, 0, "on_start", "()")
        self.start_handler = fn
        return fn

    def on_signal(self, fn: OnSignal) -> OnSignal:
        """`fn(signal_type, data)` is called for each signal of the core, before the SDK answers it."""
        _check_parameters(fn, 2, "on_signal", "(signal_type, data)")
        self.signal_handler = fn
        return fn

    def on_sleep(self, fn: Hook) -> Hook:
        """`fn()` is called before the plugin goes to sleep."""
        _check_parameters(fn, 0, "on_sleep", "()")
        self.sleep_handler = fn
        return fn

    # To other plugins and to the core

    def send_message(self, target: str, message_type: int, payload: object = None) -> bool:
        """True if the FIFO has the message, False if it is queued. Raises Error; 429: the queue is full."""
        arguments = encode([target, message_type]), text_of({} if payload is None else payload)
        return bool(ask_json("message", *arguments))

    def request(self, target: str, message_type: int, payload: object = None, seconds: float = 5) -> Any:
        """What the other plugin's handler returned; None for an ACK. Raises Error; 504: no answer within `seconds`."""
        arguments = encode([target, message_type, seconds]), text_of({} if payload is None else payload)
        return ask_json("message.request", *arguments)

    def send_signal(self, signal_type: int, data: str = "") -> None:
        """Such as reed.signals.BUSY. Raises Error."""
        ask("signal", encode([signal_type, data]))

    # For reed.python

    def call(self, command_id: int, payload: bytes) -> tuple[int, bytes]:
        """Status and body that the handler of an action answers."""
        decoded = None
        if command_id not in self.byte_actions:
            with suppress(Malformed):
                decoded = strict_json.loads(payload, services.DEPTH)
        return _answer_of(self.handlers[command_id](payload, decoded))

    def manifest(self) -> bytes:
        """protocol.md#plugin-connections"""
        actions = {name: {"command_id": number} for name, number in self.actions.items()}
        return services.encode({"actions": actions, "messages": sorted(self.message_handlers)})

    def _on(self, section: str, key: str) -> Callable[[Data], Data]:
        def set_handler(fn: Data) -> Data:
            _check_parameters(fn, 1, f"{key} of {section}", "(data)")
            self._set(self.action_of(section, key), fn, lambda _payload, data: fn(data))
            return fn

        return set_handler

    def action_of(self, section: str, key: str) -> str:
        if self.spec.hooks is None:
            return f"{section}-{key}"
        declared = self.spec.hooks.get(section, {})
        name = declared.get(key)
        if name is None:
            known = ", ".join(declared) or "none"
            raise ValueError(f"plugin.yaml has no {key!r} in {section}; there: {known}")
        return name

    def _set(self, name: str, given: object, handler: ActionHandler) -> None:
        if self._given.setdefault(name, given) is not given:
            raise ValueError(f"the action {name!r} has a handler already")
        if self.spec.actions is None:
            command_id = self.actions.get(name, len(self.actions) + 1)
        elif name in self.spec.actions:
            command_id = self.spec.actions[name]
        else:
            known = ", ".join(sorted(self.spec.actions)) or "none"
            raise ValueError(f"plugin.yaml has no action {name!r}; its actions: {known}")
        self.actions[name], self.handlers[command_id] = command_id, handler


def _answer_of(value: object) -> tuple[int, bytes]:
    """Status and body of what a handler of an action returned."""
    body, status = value if isinstance(value, Answer) else (value, 200)
    if isinstance(status, bool) or not isinstance(status, int) or not 200 <= status <= 599:
        raise TypeError(f"status {status!r} of an Answer: expected an integer from 200 to 599")
    if isinstance(body, (bytes, bytearray, memoryview)):
        return status, bytes(body)
    if isinstance(body, str):
        return status, body.encode("utf-8", "replace")
    try:
        return status, strict_json.dumps(body)
    except Malformed as error:
        raise TypeError(f"what the handler returned is not JSON: {error.message}") from None


def _check_parameters(fn: object, expected: int, of: str, shape: str) -> None:
    """Of a plain function; other callables are called as they are."""
    code = getattr(fn, "__code__", None)
    if code is None or code.co_flags & _PARAMETERS:
        return
    optional = len(getattr(fn, "__defaults__", None) or ())
    if not code.co_argcount - optional <= expected <= code.co_argcount:
        raise TypeError(f"the handler of {of} takes {code.co_argcount} arguments; it is called with {shape}")
