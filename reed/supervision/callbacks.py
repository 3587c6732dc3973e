"""The interfaces of supervision: what it tells the core and its callers, and what its parts share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from reed.config import Config
from reed.errors import CallError, ReedError
from reed.loop.loop import Loop
from reed.peer_log import PeerLog
from reed.supervision.launch_spec import Launcher, Specification
from reed.supervision.lifecycle import State
from reed.supervision.manifest import Manifests
from reed.wire.codes import Signal

Done = Callable[[], None]
Failed = Callable[[CallError], None]
Error = TypeVar("Error", bound=ReedError)


def nothing(*_: object) -> None:
    pass


class Process(Protocol):
    """A PluginProcess as the core sees it."""

    name: str
    spec: Specification
    dropped: bool

    @property
    def pid(self) -> int | None: ...
    @property
    def exists(self) -> bool: ...
    def stderr_tail(self) -> str: ...


class Callbacks(Protocol):
    def prepare(self, name: str) -> None:
        """Before a launch: the plugin's socket must listen. May raise ReedError or OSError."""

    def send_signal(self, process: Process, signal: Signal, data: bytes) -> bool:
        """False if the signal was not sent."""

    def on_state(self, name: str, old: State, new: State) -> None: ...

    def on_gone(self, process: Process, reason: str) -> None: ...

    def on_replaced(self, name: str) -> None:
        """Another process became active; the state is the same."""

    def when_idle(self, process: Process, done: Done) -> None:
        """Call `done` once the process has no call in flight."""

    def on_adding(self, name: str) -> Iterator[None]:
        """Before `on_added`: what takes long beside hundreds of plugins, in steps."""

    def on_added(self, name: str) -> None:
        """The plugin's row is new, or replaces one with another type or socket."""

    def on_removed(self, name: str) -> None: ...


class Waiters(Generic[Error]):
    """The list is emptied before callers are called: they may add themselves again."""

    __slots__ = ("_callers",)

    def __init__(self) -> None:
        self._callers: list[tuple[Done, Callable[[Error], None]]] = []

    def __bool__(self) -> bool:
        return bool(self._callers)

    def add(self, done: Done, failed: Callable[[Error], None]) -> None:
        self._callers.append((done, failed))

    def done(self) -> None:
        callers, self._callers = self._callers, []
        for done, _ in callers:
            done()

    def fail(self, error: Error) -> None:
        callers, self._callers = self._callers, []
        for _, failed in callers:
            failed(error)

    def move_to(self, other: Waiters[Error]) -> None:
        other._callers += self._callers
        self._callers = []


@dataclass(frozen=True, slots=True)
class SupervisionContext:
    loop: Loop
    config: Config
    launcher: Launcher
    callbacks: Callbacks
    log: PeerLog
    clock: Callable[[], float]  # Unix seconds
    random: Callable[[], float]  # from 0 to 1
    on_exit: Callable[[int, bool], None]  # gets the pid, and whether the process may have forked
    manifests: Manifests = field(default_factory=Manifests)
    processes: dict[int, Process] = field(default_factory=dict)  # by pid, until they are reaped
