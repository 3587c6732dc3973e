"""How the registry tells the core, and what every plugin of it works with."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from reed.config import Config
from reed.loop.loop import Loop
from reed.registry.lifecycle import State
from reed.registry.manifest import Manifests
from reed.registry.processes import Launcher
from reed.registry.run import Run
from reed.wire.codes import Signal


def _nothing(_name: str) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Hooks:
    """How the registry tells the core, by a plugin's name; the daemon connects them."""

    prepare: Callable[[str], None]  # before a launch: its socket must listen. May raise ReedError or OSError
    send_signal: Callable[[str, Signal, bytes], bool]  # False: it was not sent
    on_state: Callable[[str, State, State], None]  # old, new
    on_removed: Callable[[str], None] = _nothing  # its row is gone, and so is its process
    on_added: Callable[[str], None] = _nothing  # a row is new, or new again with other contents


@dataclass(frozen=True, slots=True)
class Tools:
    """What every plugin works with."""

    loop: Loop
    config: Config
    launcher: Launcher
    hooks: Hooks
    log: logging.Logger
    clock: Callable[[], float]  # Unix seconds
    random: Callable[[], float]  # from 0 to 1
    manifests: Manifests
    runs: dict[int, Run]  # every process that was not waited for yet, by pid
    on_end: Callable[[], None]  # one of them ended
