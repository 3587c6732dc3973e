"""What supervision tells the core, and what every plugin works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from reed.config import Config
from reed.loop.loop import Loop
from reed.peer_log import PeerLog
from reed.supervision.launch_spec import Launcher, Specification
from reed.supervision.lifecycle import State
from reed.supervision.manifest import Manifests
from reed.wire.codes import Signal


def nothing(*_: object) -> None:
    pass


class Process(Protocol):
    """A plugin's process (plugin_process), as the core knows it."""

    name: str
    spec: Specification  # what it was launched from
    dropped: bool

    @property
    def pid(self) -> int | None: ...
    @property
    def is_there(self) -> bool: ...
    def stderr_tail(self) -> str: ...


def _at_once(_process: Process, done: Callable[[], None]) -> None:
    done()


@dataclass(frozen=True, slots=True)
class Callbacks:
    """What supervision tells the core, mostly by a plugin's name; the daemon connects them."""

    prepare: Callable[[str], None]  # before a launch: its socket must listen. May raise ReedError or OSError
    send_signal: Callable[[Process, Signal, bytes], bool]  # to that process; False: it was not sent
    on_state: Callable[[str, State, State], None]  # old, new
    on_gone: Callable[[Process, str], None] = nothing  # this process is gone or given up, and why
    on_replaced: Callable[[str], None] = nothing  # another process is active, without a change of state
    when_idle: Callable[[Process, Callable[[], None]], None] = _at_once  # call back when it holds no call any more
    on_removed: Callable[[str], None] = nothing  # its row is gone, and so is its process
    on_added: Callable[[str], None] = nothing  # a row is new, or new again with other contents


@dataclass(frozen=True, slots=True)
class Tools:
    """What every plugin works with."""

    loop: Loop
    config: Config
    launcher: Launcher
    callbacks: Callbacks
    log: PeerLog
    clock: Callable[[], float]  # Unix seconds
    random: Callable[[], float]  # from 0 to 1
    manifests: Manifests
    processes: dict[int, Process]  # every one that was not waited for yet, by pid
    on_exit: Callable[[int], None]  # the process of that pid exited
