"""The exceptions of reed.

    ReedError                    message and hint
    ├── CallError                the error response to a call: status and error_code (errors.md#codes)
    │   └── Malformed, NotFound, PluginTimeout, StoreFull, …
    ├── FileError                an invalid file of the operator: path, line and column
    │   └── RegistryError, ManifestError, ConfigError
    ├── RuntimeFolderError
    └── CoreNotRunning

A plugin may respond with a status of its own, which a client raises as a plain CallError.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum


class ErrorCode(IntEnum):
    ERR_PLUGIN_NOT_FOUND = 10001
    ERR_PLUGIN_OFFLINE = 10002
    ERR_PLUGIN_TIMEOUT = 10003
    ERR_PERMISSION_DENIED = 10004
    ERR_PLUGIN_CRASHED = 10005
    ERR_PLUGIN_BUSY = 10006
    ERR_ACTION_NOT_FOUND = 10007
    ERR_MALFORMED = 20001
    ERR_VERSION = 20002
    ERR_UNKNOWN_COMMAND = 20003
    ERR_TOO_LARGE = 20004
    ERR_NOT_FOUND = 30001
    ERR_CONFLICT = 30002
    ERR_INVALID = 30003
    ERR_CURSOR_TOO_OLD = 30004
    ERR_SLOW_READER = 30005
    ERR_STORE_FULL = 40001
    ERR_STORE = 40002
    ERR_JOB_TIMEOUT = 40003
    ERR_JOB_MEMORY = 40004
    ERR_JOB_KILLED = 40005
    ERR_STORE_UNAVAILABLE = 40006
    ERR_OUTCOME_UNKNOWN = 40007
    ERR_INTERNAL = 50000
    ERR_RESTARTING = 50001


class ReedError(Exception):
    """`message`: what happened; `hint`: what to do next, or ""."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class CallError(ReedError):
    """Travels as an ErrorResponse."""

    status: int = 500
    error_code: int = ErrorCode.ERR_INTERNAL

    def __init_subclass__(cls, *, status: int | None = None, code: ErrorCode | None = None) -> None:
        cls.status = status or cls.status
        cls.error_code = code or cls.error_code

    def __init__(
        self, message: str, *, hint: str = "", status: int | None = None, error_code: int | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        if status is not None:
            self.status = status
        if error_code is not None:
            self.error_code = error_code


class Malformed(CallError, status=400, code=ErrorCode.ERR_MALFORMED):
    """A payload that does not fit its struct, or invalid UTF-8 or JSON."""


class UnsupportedVersion(CallError, status=505, code=ErrorCode.ERR_VERSION):
    """The connection is closed."""


class UnknownCommand(CallError, status=501, code=ErrorCode.ERR_UNKNOWN_COMMAND):
    """The core has no command of this id."""


class TooLarge(CallError, status=413, code=ErrorCode.ERR_TOO_LARGE):
    """The connection is closed."""


class NotFound(CallError, status=404, code=ErrorCode.ERR_NOT_FOUND):
    """No such snippet, bond or type."""


class Conflict(CallError, status=409, code=ErrorCode.ERR_CONFLICT):
    """A name in use, another version, a bond that closes a cycle, a bonded snippet."""


class Invalid(CallError, status=422, code=ErrorCode.ERR_INVALID):
    """Content does not fit its type, or a type definition is invalid."""


class CursorTooOld(CallError, status=410, code=ErrorCode.ERR_CURSOR_TOO_OLD):
    """The store no longer has the changes after this cursor, or never had: list again, then watch from now on."""


class SlowReader(CallError, status=429, code=ErrorCode.ERR_SLOW_READER):
    """A watcher did not read for too long; it can go on from its cursor."""


class PermissionDenied(CallError, status=403, code=ErrorCode.ERR_PERMISSION_DENIED):
    """The caller lacks a permission."""


class PluginNotFound(CallError, status=404, code=ErrorCode.ERR_PLUGIN_NOT_FOUND):
    """No row in the registry has this name."""

    @classmethod
    def named(cls, name: str, known: Iterable[str], hint: str = "") -> PluginNotFound:
        hint = hint or nearest(name, known) or "`reed plugin list` shows all; `reed plugin reload` reads new rows"
        return cls(f"no plugin {name}", hint=hint)


class PluginOffline(CallError, status=503, code=ErrorCode.ERR_PLUGIN_OFFLINE):
    """It is not running, or could not be started."""


class PluginTimeout(CallError, status=504, code=ErrorCode.ERR_PLUGIN_TIMEOUT):
    """No response in time."""


class PluginCrashed(CallError, status=502, code=ErrorCode.ERR_PLUGIN_CRASHED):
    """Its process ended while the call was in flight."""


class BadAnswer(CallError, status=502):
    """A plugin's response is invalid."""


class PluginBusy(CallError, status=429, code=ErrorCode.ERR_PLUGIN_BUSY):
    """A queue is full, or a caller is over a quota."""


class ActionNotFound(CallError, status=404, code=ErrorCode.ERR_ACTION_NOT_FOUND):
    """The plugin has no such action."""


class StoreFull(CallError, status=507, code=ErrorCode.ERR_STORE_FULL):
    """Nothing was written; reads still work."""


class StoreFailed(CallError, status=500, code=ErrorCode.ERR_STORE):
    """Any failure but a full disk."""


class StoreUnavailable(CallError, status=503, code=ErrorCode.ERR_STORE_UNAVAILABLE):
    """The database cannot be reached; nothing was written."""


class OutcomeUnknown(CallError, status=504, code=ErrorCode.ERR_OUTCOME_UNKNOWN):
    """The connection to the database was lost during a COMMIT, and did not come back to say how that ended."""


class JobTimeout(CallError, status=504, code=ErrorCode.ERR_JOB_TIMEOUT):
    """A worker's job took too long; nothing was written."""


class JobMemory(CallError, status=503, code=ErrorCode.ERR_JOB_MEMORY):
    """A worker's job took too much memory; nothing was written."""


class JobKilled(CallError, status=503, code=ErrorCode.ERR_JOB_KILLED):
    """A worker could not be started or died; nothing was written."""


class Internal(CallError, status=500, code=ErrorCode.ERR_INTERNAL):
    """A bug in the core; the log has its traceback."""

    @classmethod
    def of(cls, bug: BaseException) -> Internal:
        return cls(f"a bug in the core: {type(bug).__name__}", hint="its traceback is in the log")


class Restarting(CallError, status=503, code=ErrorCode.ERR_RESTARTING):
    """The request was not processed; retry."""


class FileError(ReedError):
    """`line` and `column` count from 1; 0 means the whole file."""

    def __init__(self, path: str, message: str, *, line: int = 0, column: int = 0, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.path = path
        self.line = line
        self.column = column

    def __str__(self) -> str:
        place = self.path
        if self.line:
            place += f":{self.line}"
            if self.column:
                place += f":{self.column}"
        return f"{place}: {super().__str__()}"


class RegistryError(FileError):
    """In plugin-registry.csv."""


class ManifestError(FileError):
    """In plugin.yaml, or the plugin's folder is incomplete."""


class ConfigError(FileError):
    """In reed.yaml, a REED_ variable or a flag."""


class RuntimeFolderError(ReedError):
    """Unsafe, or held by another core (architecture.md#runtime-folder)."""


class CoreNotRunning(ReedError):
    """Nothing listens on core.sock."""


def nearest(word: str, known: Iterable[str]) -> str:
    """The hint "did you mean 'x'?", or "" if no known name is similar."""
    from difflib import get_close_matches

    found = get_close_matches(word, [str(name) for name in known], 1)
    return f"did you mean {found[0]!r}?" if found else ""
