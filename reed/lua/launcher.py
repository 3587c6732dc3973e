"""Launches Lua plugins for the registry: the nursery as a `registry.processes.Launcher`, and kept alive.

launch ── nursery.request ── ticket ── … readable … ── on_launched(pid) | on_failed(reason)
the nursery died ── those who wait are told ── the next launch starts another one
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from reed.errors import ReedError
from reed.lua.nursery import Nursery

Callback = Callable[[], None]


class Limits(Protocol):
    @property
    def memory(self) -> int | None: ...
    @property
    def cpu(self) -> float | None: ...


class Spec(Protocol):
    """What the registry knows of a plugin (registry.processes.LaunchSpec)."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def folder(self) -> Path: ...
    @property
    def entry(self) -> Path: ...
    @property
    def socket_path(self) -> Path: ...
    @property
    def runtime_dir(self) -> Path: ...
    @property
    def data_dir(self) -> Path | None: ...
    @property
    def settings(self) -> Mapping[str, Any]: ...
    @property
    def limits(self) -> Limits: ...
    @property
    def actions(self) -> Mapping[str, int]: ...
    @property
    def lua(self) -> str: ...


class _Waiting(NamedTuple):
    on_launched: Callable[[int], None]
    on_failed: Callable[[str], None]


class LuaLauncher:
    """The core's nursery. `watch` and `unwatch` are those of its loop."""

    def __init__(
        self, watch: Callable[[int, Callback], None], unwatch: Callable[[int], None], log: logging.Logger
    ) -> None:
        self._watch = watch
        self._unwatch = unwatch
        self._log = log
        self._nursery = Nursery()
        self._waiting: dict[int, _Waiting] = {}

    def start(self) -> None:
        """Start the nursery; launches may be asked for at once, and wait until it is ready."""
        self._nursery.start()
        self._watch(self._nursery.fileno(), self._read)

    def launch(
        self, spec: Spec, output_fd: int, on_launched: Callable[[int], None], on_failed: Callable[[str], None]
    ) -> None:
        try:
            if not self._nursery.alive:
                self.start()
            ticket = self._nursery.request(_fields(spec), output_fd)
        except (OSError, ReedError) as error:
            on_failed(f"the nursery cannot launch it: {error}")
            return
        self._waiting[ticket] = _Waiting(on_launched, on_failed)

    def close(self) -> None:
        if self._nursery.alive:
            self._unwatch(self._nursery.fileno())
            self._nursery.stop()

    def _read(self) -> None:
        fd = self._nursery.fileno()
        answers = self._nursery.read()
        if not self._nursery.alive:
            self._unwatch(fd)
            self._log.error("the nursery died; the next launch starts another one")
        for ticket, result in answers:
            waiting = self._waiting.pop(ticket)
            if isinstance(result, int):
                waiting.on_launched(result)
            else:
                waiting.on_failed(result)


def _fields(spec: Spec) -> dict[str, Any]:
    """The same as JSON, as `launch.LaunchSpec.of` reads it."""
    return {
        "name": spec.name,
        "version": spec.version,
        "folder": str(spec.folder),
        "entry": str(spec.entry),
        "socket_path": str(spec.socket_path),
        "runtime_dir": str(spec.runtime_dir),
        "data_dir": str(spec.data_dir) if spec.data_dir else None,
        "settings": dict(spec.settings),
        "actions": dict(spec.actions),
        "limits": {"memory": spec.limits.memory, "cpu": spec.limits.cpu},
        "lua": spec.lua,
    }
