"""An exception of a plugin as text: "main.py:12: ValueError: no body", and the calls that led there."""

from __future__ import annotations

import os
from types import TracebackType
from typing import NamedTuple

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_MAX_CALLS = 30
_MAX_TEXT = 2000


class Call(NamedTuple):
    place: str  # "main.py:12"
    function: str
    is_own: bool  # a file of the plugin's folder


class Traces:
    def __init__(self, folder: str) -> None:
        self._folder = os.path.join(folder, "")

    def place(self, error: BaseException) -> str:
        """The last place in the plugin's own code; without one, the last place at all."""
        if isinstance(error, SyntaxError) and error.filename and error.lineno:
            return f"{self._name(error.filename)}:{error.lineno}"
        calls = self._calls(error.__traceback__)
        own = [call.place for call in calls if call.is_own and not call.place.startswith("lib/")]
        return (own or [call.place for call in calls] or [""])[-1]

    def text(self, error: BaseException) -> str:
        place = self.place(error)
        return f"{place}: {_described(error)}" if place else _described(error)

    def stack(self, error: BaseException) -> str:
        """A header, then a line for each call, the innermost first."""
        lines = ["stack traceback:"]
        lines += [f"\t{call.place}: in {call.function}" for call in reversed(self._calls(error.__traceback__))]
        cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if cause is not None:
            lines.append(f"\tbecause of {self.text(cause)}")
        return "\n".join(lines)

    def _calls(self, traceback: TracebackType | None) -> list[Call]:
        calls = []
        while traceback is not None:
            code = traceback.tb_frame.f_code
            is_own = code.co_filename.startswith(self._folder)
            if is_own or not code.co_filename.startswith(_OURS):
                place = f"{self._name(code.co_filename)}:{traceback.tb_lineno}"
                calls.append(Call(place, code.co_name, is_own))
            traceback = traceback.tb_next
        return calls[:1] + calls[1:][-_MAX_CALLS:]

    def _name(self, path: str) -> str:
        return path.removeprefix(self._folder)


def _described(error: BaseException) -> str:
    kind = type(error).__name__
    try:
        text = error.msg if isinstance(error, SyntaxError) else str(error)
    except BaseException:  # noqa: BLE001 - code of the plugin
        text = "(its text cannot be read)"
    return f"{kind}: {text[:_MAX_TEXT]}" if text else kind
