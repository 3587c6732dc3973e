"""The selector of the loop: that of the standard library, which tells what is ready as epoll itself does.

select()  [(SelectorKey(fileobj, fd, events, data), mask), …]     a list, a key found and a mask made for each
ready()   [(fd, events), …]                                       what the kernel gave
"""

from __future__ import annotations

import select
import selectors

from reed.system_calls import needed

# An error or a hang-up is told to whoever waits: the next read or write says what it is.
READABLE = ~select.EPOLLOUT
WRITABLE = ~select.EPOLLIN

_MOST = 1024  # events at a time; more come with the next turn


class Epoll(selectors.EpollSelector):
    def __init__(self) -> None:
        with needed("epoll_create1", "the event loop"):
            super().__init__()
        self._poll = self._selector.poll  # type: ignore[attr-defined]  # the epoll object, private to selectors

    def ready(self, timeout: float | None) -> list[tuple[int, int]]:
        """Descriptors with their events; waits for `timeout` seconds at the most (None: until there is one)."""
        found: list[tuple[int, int]] = self._poll(timeout, _MOST)
        return found
