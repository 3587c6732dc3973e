"""poll(2) over the connection to the core, the FIFOs to this plugin, and full pipes to others.

Where the sandbox does not let this process hold a FIFO open itself, one without a writer is always readable, and one
without a reader always writable. Such a FIFO is not polled for a moment.
"""

from __future__ import annotations

import math
import select
import time

from reed.plugin_host.core_connection import CoreConnection, CoreGone, OnFrame
from reed.plugin_host.dispatcher import HandlerDispatcher
from reed.plugin_host.messaging import Messaging

_RETRY_INTERVAL = 0.2  # seconds


class Poller:
    """`on_other_frame` handles a frame of the core during a job, if it can."""

    def __init__(
        self, connection: CoreConnection, messaging: Messaging, on_other_frame: OnFrame, dispatcher: HandlerDispatcher
    ) -> None:
        self._dispatcher = dispatcher
        self._connection = connection
        self._messaging = messaging
        self._on_other_frame = on_other_frame
        self.generation = -1  # of the FIFOs that are polled
        self._core = -1  # descriptor of the connection
        self._readers: dict[int, str] = {}
        self.paused: list[int] = []
        self._poll = select.poll()

    def wait(self, seconds: float | None) -> None:
        """Raises CoreGone."""
        self._dispatcher.disarm_timer()
        if self._turn(seconds):
            self._connection.fill()

    def is_core_alone(self, seconds: float | None) -> bool:
        """Waits, with the FIFOs of the last wait; whether only the core has sent something, which the caller receives.
        Everything else is received, as `wait` does. Raises CoreGone."""
        events = self._poll.poll(None if seconds is None else math.ceil(seconds * 1000))
        if len(events) == 1 and events[0][0] == self._core:
            return True
        self._dispatcher.disarm_timer()
        if self._receive(events):
            self._connection.fill()
        return False

    def wait_in_job(self, seconds: float) -> None:
        """If the core is gone, the next turn notices that."""
        self._connection.defer_frames(self._on_other_frame)
        with self._dispatcher.uncharged():
            core_is_readable = self._turn(seconds)
        if core_is_readable:
            try:
                self._connection.fill()
            except CoreGone:
                self._connection.close()
            self._connection.defer_frames(self._on_other_frame)

    def flush_within(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            writers, must_retry = self._messaging.writers(), self._messaging.must_retry()
            if not writers and not must_retry:
                break
            poll = select.poll()
            for fd in writers:
                poll.register(fd, select.POLLOUT)
            poll.poll(math.ceil((min(left, _RETRY_INTERVAL) if must_retry else left) * 1000))
            self._messaging.flush()
        self._messaging.log_unsent()

    def _turn(self, seconds: float | None) -> bool:
        """Returns whether the core has sent something."""
        poll, writers, must_retry = self._readers_poll(), self._messaging.writers(), self._messaging.must_retry()
        for fd in writers:
            poll.register(fd, select.POLLOUT)
        if self.paused or must_retry:
            seconds = min(_RETRY_INTERVAL, seconds) if seconds is not None else _RETRY_INTERVAL
        events = poll.poll(None if seconds is None else math.ceil(max(seconds, 0) * 1000))
        for fd in writers:
            poll.unregister(fd)
        while self.paused:
            poll.register(self.paused.pop(), select.POLLIN)
        if writers or must_retry:
            self._messaging.flush()
        return self._receive(events)

    def _receive(self, events: list[tuple[int, int]]) -> bool:
        core_is_readable = False
        for fd, _ in events:
            if fd in self._readers:
                if not self._messaging.receive(self._readers[fd]):
                    self._poll.unregister(fd)
                    self.paused.append(fd)
            elif fd == self._core:
                core_is_readable = True
        return core_is_readable

    def _readers_poll(self) -> select.poll:
        """Rebuilt only when its descriptors change."""
        generation = -1 if self._messaging.is_full() else self._messaging.generation
        core = self._connection.fileno()
        if generation < 0 or generation != self.generation or core != self._core:
            self.generation, self._core = generation, core
            self._poll = select.poll()
            if core >= 0:
                self._poll.register(core, select.POLLIN)
            self.paused = []
            self._readers = self._messaging.readers() if generation >= 0 else {}
            for fd in self._readers:
                self._poll.register(fd, select.POLLIN)
        return self._poll
