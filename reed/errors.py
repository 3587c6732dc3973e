"""The exceptions of reed.

    ReedError                    a message, and a hint that says what to do next
    ├── CallError                the error response to a call: has a status and an error_code (errors.md#codes)
    │   ├── Malformed, UnsupportedVersion, UnknownCommand, TooLarge      an invalid frame
    │   ├── NotFound, Conflict, Invalid                                  a conflict with the content
    │   ├── PluginNotFound … PluginBusy, ActionNotFound                  no response from a plugin
    │   ├── PermissionDenied
    │   ├── StoreFull, StoreFailed                                       a failed write
    │   ├── StoreUnavailable, OutcomeUnknown                             a database that cannot be reached
    │   ├── JobTimeout, JobMemory, JobKilled                             a stopped or crashed worker
    │   └── Internal                                                     a bug in the core
    ├── FileError                an invalid file of the operator: has path, line and column
    ├── RuntimeFolderError       the runtime folder is unsafe, or another core holds it
    └── CoreNotRunning           nothing listens on core.sock

A plugin may respond with any status of its own, which a client raises as a plain CallError.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum


class ErrorCode(IntEnum):
    """ReedCMS error codes (errors.md#codes)."""

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
    """`message` says what happened; `hint` says what to do next and may be empty."""

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
    """A payload that does not fit its struct, or contains invalid UTF-8 or JSON."""


class UnsupportedVersion(CallError, status=505, code=ErrorCode.ERR_VERSION):
    """A frame of another protocol version; the connection is closed."""


class UnknownCommand(CallError, status=501, code=ErrorCode.ERR_UNKNOWN_COMMAND):
    """A command id that the core does not have."""


class TooLarge(CallError, status=413, code=ErrorCode.ERR_TOO_LARGE):
    """A payload over the limit; the connection is closed."""


class NotFound(CallError, status=404, code=ErrorCode.ERR_NOT_FOUND):
    """No such snippet, bond or type."""


class Conflict(CallError, status=409, code=ErrorCode.ERR_CONFLICT):
    """A name in use, another version, a bond that would close a cycle, a bonded snippet."""


class Invalid(CallError, status=422, code=ErrorCode.ERR_INVALID):
    """Content that does not fit its type, or an invalid type definition."""


class PermissionDenied(CallError, status=403, code=ErrorCode.ERR_PERMISSION_DENIED):
    """The caller lacks the permission for this command."""


class PluginNotFound(CallError, status=404, code=ErrorCode.ERR_PLUGIN_NOT_FOUND):
    """No row in the registry has this name."""


class PluginOffline(CallError, status=503, code=ErrorCode.ERR_PLUGIN_OFFLINE):
    """The plugin is not running, or could not be started."""


class PluginTimeout(CallError, status=504, code=ErrorCode.ERR_PLUGIN_TIMEOUT):
    """The plugin did not respond in time."""


class PluginCrashed(CallError, status=502, code=ErrorCode.ERR_PLUGIN_CRASHED):
    """The plugin's process exited while the call was in flight."""


class BadAnswer(CallError, status=502):
    """A plugin's response violates the protocol."""


class PluginBusy(CallError, status=429, code=ErrorCode.ERR_PLUGIN_BUSY):
    """A queue is full, or a caller is over a quota."""


class ActionNotFound(CallError, status=404, code=ErrorCode.ERR_ACTION_NOT_FOUND):
    """The plugin has no action of this name."""


class StoreFull(CallError, status=507, code=ErrorCode.ERR_STORE_FULL):
    """The disk is full; nothing was written, and reads work."""


class StoreFailed(CallError, status=500, code=ErrorCode.ERR_STORE):
    """The store failed for another reason than a full disk."""


class StoreUnavailable(CallError, status=503, code=ErrorCode.ERR_STORE_UNAVAILABLE):
    """The database cannot be reached; nothing was written."""


class OutcomeUnknown(CallError, status=504, code=ErrorCode.ERR_OUTCOME_UNKNOWN):
    """The connection to the database was lost during a COMMIT, and did not come back to say how that ended."""


class JobTimeout(CallError, status=504, code=ErrorCode.ERR_JOB_TIMEOUT):
    """A worker was stopped because its job took too long; a write was not carried out."""


class JobMemory(CallError, status=503, code=ErrorCode.ERR_JOB_MEMORY):
    """A worker was stopped because its job took too much memory; a write was not carried out."""


class JobKilled(CallError, status=503, code=ErrorCode.ERR_JOB_KILLED):
    """A worker could not be started, or died during the job; a write was not carried out."""


class Internal(CallError, status=500, code=ErrorCode.ERR_INTERNAL):
    """A bug in the core: its traceback is in the log."""


class Restarting(CallError, status=503, code=ErrorCode.ERR_RESTARTING):
    """The core is restarting and did not process this request; retry."""


class FileError(ReedError):
    """An invalid registry, manifest, reed.yaml or import. `line` and `column` count from 1; 0 means the whole file."""

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
    """plugin-registry.csv is invalid."""


class ManifestError(FileError):
    """plugin.yaml is invalid, or the plugin's folder is incomplete."""


class ConfigError(FileError):
    """reed.yaml, a REED_ variable or a flag is invalid."""


class RuntimeFolderError(ReedError):
    """The runtime folder is unsafe, or another core holds it (architecture.md#runtime-folder)."""


class CoreNotRunning(ReedError):
    """Nothing listens on core.sock."""


def nearest(word: str, known: Iterable[str]) -> str:
    """The hint for a mistyped name: "did you mean 'x'?", or "" if no known name is similar."""
    from difflib import get_close_matches

    found = get_close_matches(word, [str(name) for name in known], 1)
    return f"did you mean {found[0]!r}?" if found else ""
