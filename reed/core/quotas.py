"""What one user, or one plugin, may have of the core at a time: the rest is for the others.

    limits in reed.yaml   of a user          of a plugin          what is counted, and what becomes of one too many
    connections           user_connections   plugin_connections   open ones: it is told so, and closed
    bytes                 user_bytes         plugin_bytes         requests not whole yet: told so, and closed;
                                                                  answers not read yet: closed, and the log says why
    calls                 user_calls         plugin_calls         of plugins' actions, not answered yet: 429
    connects      user_connects      plugin_connects      a second (connect_rate): 429, and closed

A user is a user on all of its connections, a plugin with all of its processes on whichever socket. The error says who,
how much, and which limit to set.
"""

from __future__ import annotations

from typing import Protocol

from reed.core import connect_rate
from reed.core.calls import Caller
from reed.core.connect_rate import ConnectRates
from reed.errors import PluginBusy


class Limits(connect_rate.Limits, Protocol):
    """The settings of reed.yaml that hold here."""

    @property
    def user_connections(self) -> int: ...
    @property
    def user_bytes(self) -> int: ...
    @property
    def user_calls(self) -> int: ...
    @property
    def plugin_connections(self) -> int: ...
    @property
    def plugin_bytes(self) -> int: ...
    @property
    def plugin_calls(self) -> int: ...


class Holding(Protocol):
    """A connection, as far as it counts here."""

    @property
    def held_bytes(self) -> int: ...


class Share:
    """What one of them has."""

    __slots__ = ("_caller", "_limits", "_quotas", "calls", "connections")

    def __init__(self, caller: Caller, limits: Limits, quotas: Quotas) -> None:
        self.connections: set[Holding] = set()
        self.calls = 0
        self._caller = caller
        self._limits = limits
        self._quotas = quotas

    def too_many_connections(self) -> PluginBusy | None:
        most = self._limits.plugin_connections if self._caller.plugin else self._limits.user_connections
        return self._over("connections", f"{most} connections open", most) if len(self.connections) > most else None

    def too_many_bytes(self) -> PluginBusy | None:
        most = self._limits.plugin_bytes if self._caller.plugin else self._limits.user_bytes
        held = sum(connection.held_bytes for connection in self.connections)
        what = f"{held} bytes under way, in requests that are not whole and answers that it has not read"
        return self._over("bytes", what, most) if held > most else None

    def begin_call(self) -> None:
        """Raises PluginBusy where it has too many under way; `end_call` gives it back."""
        most = self._limits.plugin_calls if self._caller.plugin else self._limits.user_calls
        if self.calls >= most:
            raise self._over("calls", f"{self.calls} calls of plugins under way", most)
        self.calls += 1

    def end_call(self) -> None:
        self.calls -= 1
        if not self.calls and not self.connections:
            self._quotas.forget(self._caller)

    def _over(self, kind: str, what: str, most: int) -> PluginBusy:
        setting = f"limits.{'plugin' if self._caller.plugin else 'user'}_{kind}"
        return PluginBusy(f"{self._caller.name} has {what}", hint=f"{setting} in reed.yaml is {most}")


class Quotas:
    """The shares of all who are there."""

    def __init__(self, limits: Limits, rates: ConnectRates) -> None:
        self.rates = rates
        self._limits = limits
        self._shares: dict[str, Share] = {}

    def share_of(self, caller: Caller) -> Share:
        share = self._shares.get(caller.name)
        if share is None:
            share = self._shares[caller.name] = Share(caller, self._limits, self)
        return share

    def enter(self, connection: Holding, caller: Caller) -> Share:
        share = self.share_of(caller)
        share.connections.add(connection)
        return share

    def leave(self, connection: Holding, caller: Caller) -> None:
        self.share_of(caller).connections.discard(connection)
        self.forget(caller)

    def forget(self, caller: Caller) -> None:
        """Keep nothing of who has nothing."""
        share = self._shares.get(caller.name)
        if share is not None and not share.connections and not share.calls:
            del self._shares[caller.name]
