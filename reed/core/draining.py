"""Where the frames of a connection go when the core begins nothing any more: each request gets the same error."""

from __future__ import annotations

from reed.core.calls import Call, Caller
from reed.errors import CallError


class Refusing:
    """A dispatcher that begins nothing."""

    def __init__(self, error: CallError) -> None:
        self._error = error

    def must_defer(self, _command_id: int) -> bool:
        return False

    def answers(self, _caller: Caller, _data: memoryview, _room: int) -> tuple[list[bytes], int]:
        return [], 0

    def dispatch(self, call: Call, _payload: memoryview) -> None:
        call.fail(self._error)
