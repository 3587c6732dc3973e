"""What a plugin's process waits for: the core, the FIFOs to it, and pipes that were full (fifos.md).

    Poller.wait(seconds)      between two jobs: reads what came
    Poller.meanwhile(seconds) inside a job that waits for another plugin: frames of the core are set aside

A FIFO that has no writer at all (where the sandbox does not let this process hold it open itself) is always readable,
one that has no reader always writable: it is left alone for a moment.
"""

from __future__ import annotations

import math
import select
import time
from collections.abc import Callable

from reed.lua.core_connection import CoreConnection, CoreGone
from reed.lua.dispatcher import Dispatcher
from reed.lua.messaging import Messaging
from reed.wire import frames

_PAUSE = 0.2  # seconds


class Poller:
    """One process's waiting. `alive` deals with a frame of the core while a job runs, if it can.

    What is read here is others' doing, of any amount: it is charged to no job.
    """

    def __init__(
        self, link: CoreConnection, mailbox: Messaging, alive: Callable[[frames.Frame], bool], handlers: Dispatcher
    ) -> None:
        self._handlers = handlers
        self._link = link
        self._mailbox = mailbox
        self._alive = alive
        self._generation = -1
        self._core = -1  # the descriptor of the link; -1 when it is closed
        self._readers: dict[int, str] = {}
        self._paused: list[int] = []
        self._poll = select.poll()

    def wait(self, seconds: float | None) -> None:
        """Waits until something comes, or for so long. Raises CoreGone."""
        self._handlers.disarm()
        if self._turn(seconds):
            self._link.fill()

    def meanwhile(self, seconds: float) -> None:
        """As `wait`, while a job is under way. A core that is gone is the next turn's business."""
        self._link.defer_frames(self._alive)
        with self._handlers.aside():
            core_has_sent = self._turn(seconds)
        if core_has_sent:
            try:
                self._link.fill()
            except CoreGone:
                self._link.close()
            self._link.defer_frames(self._alive)

    def flush_within(self, seconds: float) -> None:
        """Before the end: waits a little for full pipes."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            blocked, is_stuck = self._mailbox.blocked(), self._mailbox.is_stuck()
            if not blocked and not is_stuck:
                break
            poll = select.poll()
            for fd in blocked:
                poll.register(fd, select.POLLOUT)
            poll.poll(math.ceil((min(left, _PAUSE) if is_stuck else left) * 1000))
            self._mailbox.flush()
        self._mailbox.give_up()

    def _turn(self, seconds: float | None) -> bool:
        """Waits, reads FIFOs and writes to them; True when the core has sent something."""
        poll, blocked, is_stuck = self._prepared(), self._mailbox.blocked(), self._mailbox.is_stuck()
        for fd in blocked:
            poll.register(fd, select.POLLOUT)
        if self._paused or is_stuck:
            seconds = min(_PAUSE, seconds) if seconds is not None else _PAUSE
        events = poll.poll(None if seconds is None else math.ceil(max(seconds, 0) * 1000))
        for fd in blocked:
            poll.unregister(fd)
        while self._paused:
            poll.register(self._paused.pop(), select.POLLIN)
        if blocked or is_stuck:
            self._mailbox.flush()
        core_has_sent = False
        for fd, _ in events:
            if fd in self._readers:
                if not self._mailbox.receive(self._readers[fd]):
                    poll.unregister(fd)
                    self._paused.append(fd)
            elif fd == self._core:
                core_has_sent = True
        return core_has_sent

    def _prepared(self) -> select.poll:
        """What to wait for reads on: kept while it is the same."""
        generation = -1 if self._mailbox.is_full() else self._mailbox.generation
        core = self._link.fileno()
        if generation < 0 or generation != self._generation or core != self._core:
            self._generation, self._core = generation, core
            self._poll = select.poll()
            if core >= 0:
                self._poll.register(core, select.POLLIN)
            self._paused = []
            self._readers = self._mailbox.readers() if generation >= 0 else {}
            for fd in self._readers:
                self._poll.register(fd, select.POLLIN)
        return self._poll
