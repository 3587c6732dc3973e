"""The one exception of the SDK: what the core answered to a command, and what a handler answers to its caller."""

from __future__ import annotations

from typing import Any

from reed.errors import CallError, ErrorCode, ReedError

_DEFAULT = 422


class Error(Exception):
    """A failed call. Raised by a handler, it is the answer to its caller; raised by a function of `reed`, it is what
    the core answered. An error of the core that a handler does not catch is a failure of the handler: status 500.

    `status`: 400 to 599, by default that of `code`, without one 422. `code`: an error code (errors.md#codes), by
    default that of `status`. `hint`: what the caller can do, or "". `failed`: the failed writes of a batch, each
    {"index", "command", "status", "code", "message"}; else [].
    """

    def __init__(self, message: str, *, status: int | None = None, code: int | None = None, hint: str = "") -> None:
        if status is None and code is not None:
            status = _STATUSES.get(code, 500)
        self.status = _DEFAULT if status is None else status
        if not isinstance(self.status, int) or not 400 <= self.status <= 599:
            raise ValueError(f"status {status!r}: expected an integer from 400 to 599")
        self.code = code if code is not None else _CODES.get(self.status, int(ErrorCode.ERR_INTERNAL))
        self.message = message
        self.hint = hint
        self.failed: list[dict[str, Any]] = []
        self.is_of_core = False
        super().__init__(message)

    def __str__(self) -> str:
        return f"{self.status}: {self.text}"

    @property
    def text(self) -> str:
        """Message and hint."""
        return f"{self.message}; {self.hint}" if self.hint else self.message


def of_core(error: ReedError) -> Error:
    """What a service of the process raised, as an exception of the SDK."""
    call = error if isinstance(error, CallError) else CallError(error.message, hint=error.hint)
    found = Error(call.message, status=call.status, code=int(call.error_code), hint=call.hint)
    found.is_of_core = True
    return found


_STATUSES = {int(each.error_code): each.status for each in CallError.__subclasses__()}
_CODES = {
    400: int(ErrorCode.ERR_MALFORMED),
    403: int(ErrorCode.ERR_PERMISSION_DENIED),
    404: int(ErrorCode.ERR_NOT_FOUND),
    409: int(ErrorCode.ERR_CONFLICT),
    413: int(ErrorCode.ERR_TOO_LARGE),
    422: int(ErrorCode.ERR_INVALID),
    429: int(ErrorCode.ERR_PLUGIN_BUSY),
    504: int(ErrorCode.ERR_PLUGIN_TIMEOUT),
}
