"""One Lua runtime with its guards; the only module that imports lupa (sandbox.md#lua).

    Python ── prepare, load, call, signal, finish ──> sdk/plugin.lua ──> the plugin's handler
    Python <── host(operation, strings…) ─────────── guard.ask <─────── the SDK's functions

A Python exception in Lua would be an object, and so a way out of the sandbox: `_host` raises none. Pushing a string
beyond the memory limit would end the process: Python lifts the limit before, and the Lua side sets it again.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from reed.errors import Internal, Malformed, NotFound, ReedError
from reed.plugin_host.runtime import JobOutcome, Service, failure

_SDK = os.path.join(os.path.dirname(__file__), "sdk")
_SLACK = 65536  # bytes that Lua may need around what is pushed
_tuple = tuple.__new__  # a NamedTuple's own __new__ is a function in Python


class LuaSandbox:
    """Made in the zygote, with the SDK loaded; `start` gives it to a plugin."""

    def __init__(self, lua: str = "5.5") -> None:
        self.about = {"lua": lua}
        module = _implementation(lua)
        self._out_of_memory: type[Exception] = module.LuaMemoryError
        self._lua_error: type[Exception] = module.LuaError
        self._runtime = module.LuaRuntime(
            encoding=None,
            register_eval=False,
            register_builtins=False,
            attribute_filter=_no_attribute,
            unpack_returned_tuples=True,
            max_memory=0,
        )
        self._services: Mapping[bytes, Service] = {}
        self._memory = 0
        self._lifted = True  # the memory limit
        self.uncharged = 0.0  # processor time that the running job did not use itself
        run = self.run_sdk_file
        guard = run("guard", self._host, self._limit)
        limits = run("limits", guard)
        json = run("json", guard, run("numbers", guard))
        requests = run("requests", guard, json)
        sdk = run("reed", guard, json, requests, run("bulk", guard, json, requests))
        files = run("files", guard, json, limits)
        self._entries = run("plugin", guard, json, sdk, files, limits)
        self._call = self._entries[b"call"]
        self.modules = (guard, json, sdk)  # for sdk/testing.lua
        self._runtime.gccollect()  # makes the SDK old: the collector of a fork does not touch its pages

    def start(self, services: Mapping[bytes, Service], *, memory: int, spec: bytes) -> None:
        """`spec`: HostedSpec.for_sdk."""
        self._services = {b"source": _no_source, **services}
        self._memory = memory
        self._entries[b"prepare"](spec)
        self._limit(True)

    def load(self, name: str, source: bytes) -> JobOutcome:
        return self.enter(self._entries[b"load"], name.encode(), source)

    def call(self, command_id: int, payload: bytes) -> JobOutcome:
        """As `enter` does, without a tuple of arguments."""
        self._lift(len(payload))
        self.uncharged = 0.0
        try:
            result = self._call(command_id, payload, self._lifted)
        except self._lua_error as error:  # of memory too
            result = self._failure(error)
        return _outcome(result)

    def signal(self, signal_type: int, data: bytes) -> JobOutcome:
        return self.enter(self._entries[b"signal"], signal_type, data)

    def message(self, source: str, message_type: int, payload: bytes) -> JobOutcome:
        return self.enter(self._entries[b"message"], source.encode(), message_type, payload)

    def start_up(self) -> JobOutcome:
        """Runs the handler of on_start."""
        return self.enter(self._entries[b"start"])

    def sleep(self) -> JobOutcome:
        return self.enter(self._entries[b"sleep"])

    def finish(self) -> JobOutcome:
        """Runs main.lua from run() to its end."""
        return self.enter(self._entries[b"finish"])

    def manifest(self) -> bytes:
        return bytes(self._entries[b"manifest"]())

    def set_settings(self, text: bytes) -> None:
        self._limit(False)
        self._entries[b"settings"](text)
        self._limit(True)

    def memory_used(self) -> int:
        return int(self._runtime.get_memory_used())

    def collect(self) -> None:
        self._limit(False)
        self._runtime.gccollect()
        self._limit(True)

    def run_sdk_file(self, name: str, *arguments: Any) -> Any:
        with open(f"{_SDK}/{name}.lua", "rb") as file:
            source = file.read()
        return self._runtime.compile(source, name=f"=reed/{name}.lua".encode(), mode=b"t")(*arguments)

    def enter(self, entry: Callable[..., Any], *arguments: int | bytes) -> JobOutcome:
        """Returns a JobOutcome whatever the plugin does."""
        self._lift(sum(len(argument) for argument in arguments if isinstance(argument, bytes)))
        self.uncharged = 0.0
        try:
            result = entry(*arguments, self._lifted)
        except self._lua_error as error:  # of memory too
            result = self._failure(error)
        return _outcome(result)

    def _failure(self, error: Exception) -> Any:
        """What guard.run would return."""
        if isinstance(error, self._out_of_memory):
            self._limit(False)
            return self._entries[b"out_of_memory"]()
        return b"error", str(error).encode(), b""

    def _host(self, operation: bytes, *arguments: bytes) -> tuple[bool, bytes | None, bool, float]:
        """What `guard.ask` calls: (ok, text, whether the limit was lifted, uncharged seconds). Never raises."""
        try:
            service = self._services.get(operation)
            if service is None:
                raise Internal(f"{operation.decode(errors='replace')} is not available here")
            if not all(type(argument) is bytes for argument in arguments):  # a Lua table could have methods
                raise Malformed(f"{operation.decode(errors='replace')}: only strings can be passed to the host")
            ok, text = True, service(*arguments)
        except ReedError as error:
            ok, text = False, failure(error)
        except Exception as error:  # noqa: BLE001 - an exception of Python must not become a value in Lua
            with contextlib.suppress(BrokenPipeError):  # the core that read it is gone
                sys.excepthook(type(error), error, error.__traceback__)
            ok, text = False, failure(Internal(f"{operation.decode(errors='replace')}: {error}"))
        uncharged, self.uncharged = self.uncharged, 0.0
        return ok, text, self._lift(len(text or b"")), uncharged

    def _lift(self, size: int) -> bool:
        """If `size` more bytes might not fit; returns whether it is lifted."""
        if not self._lifted and self._runtime.get_memory_used() + size + _SLACK >= self._memory:
            self._limit(False)
        return self._lifted

    def _limit(self, on: bool) -> None:
        self._lifted = not on or not self._memory
        self._runtime.set_max_memory(0 if self._lifted else self._memory)


def _outcome(result: Any) -> JobOutcome:
    """`result`: what guard.run returned."""
    if isinstance(result, tuple):
        return _tuple(JobOutcome, (result[0].decode(), result[1:]))
    return _tuple(JobOutcome, (result.decode(), ()))


def _no_source(path: bytes) -> bytes:
    raise NotFound(f"{path.decode(errors='replace')}: no such file")


def _implementation(lua: str) -> Any:
    if lua == "5.5":
        from lupa import lua55

        return lua55
    if lua == "5.4":
        from lupa import lua54

        return lua54
    raise Malformed(f"Lua {lua} is not supported", hint="supported: 5.5, 5.4")


def _no_attribute(_object: Any, name: Any, _is_setting: bool) -> Any:
    """If Lua ever got a Python object, it would have no attributes."""
    raise AttributeError(f"{name!r}")
