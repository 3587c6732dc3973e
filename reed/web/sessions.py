"""Sessions and one-time links. Both are kept in memory, so a restart of `reed web` ends them.

    link     /sign-in/TOKEN      unused ── opened once within LINK_SECONDS ──▶ used
    session  cookie              signed in ── idle for IDLE_SECONDS, signed out, or MAX_SESSIONS newer ones ──▶ ended

Only hashes of tokens are kept: looking one up takes the same time, whatever part of it was guessed.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

IDLE_SECONDS = 12 * 3600.0
LINK_SECONDS = 24 * 3600.0
MAX_SESSIONS = 1000
_MAX_LINKS = 100
_MAX_NOTICES = 20


class User(NamedTuple):
    """Named by a proxy. The core gives a connection of it the permissions of the group (CONNECTION_ASSUME)."""

    name: str
    group: str


@dataclass(slots=True)
class Session:
    """`user` is None for the operator, who has the permissions of this process."""

    token: str
    user: User | None
    used_at: float
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    notices: list[tuple[str, str]] = field(default_factory=list)  # ("done" or "problem", text)

    def notice(self, text: str, kind: str = "done") -> None:
        """For the next page that is shown."""
        self.notices = [*self.notices, (kind, text)][-_MAX_NOTICES:]

    def take_notices(self) -> list[tuple[str, str]]:
        taken, self.notices = self.notices, []
        return taken


class Sessions:
    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._sessions: dict[bytes, Session] = {}  # by hash of the token, the longest unused first
        self._links: dict[bytes, float] = {}  # hash of the token: when it was made

    def new_link(self) -> str:
        """The token of a link that signs in once."""
        token = secrets.token_urlsafe(32)
        while len(self._links) >= _MAX_LINKS:
            del self._links[next(iter(self._links))]
        self._links[_hash(token)] = self._now()
        return token

    def use_link(self, token: str) -> Session | None:
        """A new session of the operator; None if the link was used, is too old or was never made."""
        made_at = self._links.pop(_hash(token), None)
        if made_at is None or self._now() - made_at > LINK_SECONDS:
            return None
        return self.begin(None)

    def begin(self, user: User | None) -> Session:
        session = Session(secrets.token_urlsafe(32), user, self._now())
        while len(self._sessions) >= MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        self._sessions[_hash(session.token)] = session
        return session

    def find(self, token: str) -> Session | None:
        key = _hash(token)
        session = self._sessions.pop(key, None)
        if session is None or self._now() - session.used_at > IDLE_SECONDS:
            return None
        session.used_at = self._now()
        self._sessions[key] = session
        return session

    def end(self, session: Session) -> None:
        self._sessions.pop(_hash(session.token), None)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
