"""What a plugin's process says: in its log, which is its stdout, and of a job that ended badly."""

from __future__ import annotations

import contextlib
import os

from reed.lua.launch_spec import LuaLaunchSpec
from reed.lua.sandbox import Outcome

_MB = 1024 * 1024
_MAX_LINE = 8192


def log(level: bytes, text: bytes) -> None:
    """One entry of the plugin's log; its further lines are indented. The core reads stdout and stderr."""
    entry = b"%b: %b" % (level, text[:_MAX_LINE].replace(b"\n", b"\n  "))
    with contextlib.suppress(BrokenPipeError):  # the core that read it is gone
        os.write(1, entry + b"\n")


def log_error(text: str, stack: str = "") -> None:
    """An error, with the plugin's own lines of a Lua stack."""
    calls = [line for line in stack.splitlines()[1:] if "\treed/" not in line and "\t[C]" not in line]
    log(b"error", "\n".join([text, *(calls if len(calls) > 1 else [])]).encode())


def explain(spec: LuaLaunchSpec, outcome: Outcome) -> str:
    """What a job ended of, with its place."""
    if outcome.kind == "fail":
        return f"{outcome.text(1)} ({outcome.results[0]})"
    if outcome.kind == "error":
        return outcome.text()
    place = f"{outcome.text()}: " if outcome.text() else ""
    if outcome.kind == "time":
        return f"{place}time limit of {spec.cpu:g} s reached"
    return f"{place}{memory_limit(spec)} reached"


def memory_limit(spec: LuaLaunchSpec) -> str:
    return f"memory limit of {spec.memory / _MB:g} MB"
