"""Launches Lua plugins for the registry: the nursery as a `registry.processes.Launcher`, and kept alive.

    launch ── nursery.request ── ticket ── … readable … ── on_launched(pid) | on_failed(reason)
    the nursery died ── those who wait are told ── the next launch starts another one
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from reed.errors import ReedError
from reed.lua.nursery import Nursery

Callback = Callable[[], None]


class Spec(Protocol):
    """What the registry knows of a plugin (registry.processes.LaunchSpec), as far as it is needed here."""

    @property
    def folder(self) -> Path: ...
    @property
    def entry(self) -> Path: ...
    def as_json(self) -> dict[str, Any]: ...


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


def _fields(spec: Spec) -> Mapping[str, Any]:
    """The launch spec as `launch.LaunchSpec` has it."""
    fields = spec.as_json()
    limits = fields.pop("limits")
    fields["entry"] = os.path.relpath(spec.entry, spec.folder)
    fields["memory"] = limits["memory"]
    if limits["cpu"] is not None:
        fields["cpu"] = limits["cpu"]
    return fields
