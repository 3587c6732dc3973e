"""The states of a connection and what leads from one to another; `connection` enters them."""

from __future__ import annotations

from enum import Enum


class ConnectionState(Enum):
    OPEN = "open"
    BACKLOG = "backlog"  # whole frames wait in the buffer for the next turn
    WAITING = "waiting"  # the next frame reads the store, and writes of this connection are in flight
    PAUSED = "paused"  # nothing is read (back-pressure)
    DRAINING = "draining"  # the input has ended; closes after the last reply
    CLOSING = "closing"


_OPEN, _BACKLOG, _WAITING, _PAUSED, _DRAINING, _CLOSING = ConnectionState

TRANSITIONS = {
    (_OPEN, _BACKLOG),  # the frame limit or the budget of the turn is spent
    (_OPEN, _WAITING),  # a read follows a write
    (_OPEN, _PAUSED),  # `_is_full`
    (_OPEN, _DRAINING),  # the peer has ended its side or sent an invalid frame
    (_BACKLOG, _BACKLOG),
    (_BACKLOG, _OPEN),  # no whole frame is left
    (_BACKLOG, _WAITING),
    (_BACKLOG, _PAUSED),
    (_BACKLOG, _DRAINING),
    (_WAITING, _BACKLOG),  # the writes are answered
    (_PAUSED, _BACKLOG),  # replies have left or calls have ended
    (_PAUSED, _DRAINING),  # its watch has ended
    *((state, _CLOSING) for state in (_OPEN, _BACKLOG, _WAITING, _PAUSED, _DRAINING)),
}
