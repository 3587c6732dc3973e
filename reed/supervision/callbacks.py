"""The interfaces of supervision: what it tells the core, what it tells callers, and what its parts share.

Callbacks            implemented by the core
Waiters              callers that wait until a plugin has started, stopped or reloaded
SupervisionContext   loop, configuration, log, launcher, and the processes by pid
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from reed.config import Config
from reed.errors import CallError
from reed.loop.loop import Loop
from reed.peer_log import PeerLog
from reed.supervision.launch_spec import Launcher, Specification
from reed.supervision.lifecycle import State
from reed.supervision.manifest import Manifests
from reed.wire.codes import Signal

Done = Callable[[], None]
Failed = Callable[[CallError], None]


def nothing(*_: object) -> None:
    pass


class Process(Protocol):
    """A plugin's process (plugin_process.PluginProcess), as the core sees it."""

    name: str
    spec: Specification  # what it was launched from
    dropped: bool

    @property
    def pid(self) -> int | None: ...
    @property
    def exists(self) -> bool: ...
    def stderr_tail(self) -> str: ...


class Callbacks(Protocol):
    """What the core does when plugins change. Plugins are named; processes are passed where there may be several."""

    def prepare(self, name: str) -> None:
        """Before a launch: the plugin's socket must listen. May raise ReedError or OSError."""

    def send_signal(self, process: Process, signal: Signal, data: bytes) -> bool:
        """False if the signal was not sent."""

    def on_state(self, name: str, old: State, new: State) -> None: ...

    def on_gone(self, process: Process, reason: str) -> None:
        """The process ended, or supervision has killed it."""

    def on_replaced(self, name: str) -> None:
        """Another process became active; the state is the same."""

    def when_idle(self, process: Process, done: Done) -> None:
        """Call `done` once the process has no call in flight."""

    def on_added(self, name: str) -> None:
        """The plugin's row is new, or replaces one with another type or socket."""

    def on_removed(self, name: str) -> None:
        """The plugin's row is gone, and its process has ended."""


class Waiters:
    """The list is emptied before callers are called: they may add themselves again."""

    __slots__ = ("_callers",)

    def __init__(self) -> None:
        self._callers: list[tuple[Done, Failed]] = []

    def add(self, done: Done, failed: Failed) -> None:
        self._callers.append((done, failed))

    def done(self) -> None:
        callers, self._callers = self._callers, []
        for done, _ in callers:
            done()

    def fail(self, error: CallError) -> None:
        callers, self._callers = self._callers, []
        for _, failed in callers:
            failed(error)

    def move_to(self, other: Waiters) -> None:
        other._callers += self._callers
        self._callers = []


@dataclass(frozen=True, slots=True)
class SupervisionContext:
    """What the parts of supervision share."""

    loop: Loop
    config: Config
    launcher: Launcher
    callbacks: Callbacks
    log: PeerLog
    clock: Callable[[], float]  # Unix seconds
    random: Callable[[], float]  # from 0 to 1
    on_exit: Callable[[int], None]  # the process with that pid has exited
    manifests: Manifests = field(default_factory=Manifests)
    processes: dict[int, Process] = field(default_factory=dict)  # by pid, until they are reaped
