"""Quotas: what one user or one plugin may hold of the core at a time (limits.md).

A user's connections count together, and so do those of all processes of a plugin, on any socket.
"""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from reed.config import Limits
from reed.core.calls import Caller
from reed.core.connect_rate import ConnectRates
from reed.errors import PluginBusy


class Buffered(Protocol):
    @property
    def buffered_bytes(self) -> int: ...


class Usage:
    __slots__ = ("_caller", "_limits", "_max_calls", "_quotas", "calls", "connections")

    def __init__(self, caller: Caller, limits: Limits, quotas: Quotas) -> None:
        self.connections: set[Buffered] = set()
        self.calls = 0
        self._caller = caller
        self._limits = limits
        self._max_calls = limits.plugin_calls if caller.plugin else limits.user_calls
        self._quotas = quotas

    def too_many_connections(self) -> PluginBusy | None:
        limit = self._limits.plugin_connections if self._caller.plugin else self._limits.user_connections
        if len(self.connections) <= limit:
            return None
        return self._error("connections", f"{limit} connections open", limit)

    def too_many_bytes(self) -> PluginBusy | None:
        limit = self._limits.plugin_bytes if self._caller.plugin else self._limits.user_bytes
        buffered = sum(connection.buffered_bytes for connection in self.connections)
        if buffered <= limit:
            return None
        return self._error(
            "bytes", f"{buffered} bytes buffered (requests, inputs of plugins and unread responses)", limit
        )

    def begin_call(self) -> None:
        """Raises PluginBusy."""
        if self.calls >= self._max_calls:
            raise self._error("calls", f"{self.calls} calls in flight", self._max_calls)
        self.calls += 1

    def end_call(self) -> None:
        self.calls -= 1
        if not self.calls and not self.connections:
            self._quotas.drop_unused(self._caller)

    def _error(self, kind: str, what: str, limit: int) -> PluginBusy:
        setting = f"limits.{'plugin' if self._caller.plugin else 'user'}_{kind}"
        self._quotas.refused[setting] += 1
        return PluginBusy(f"{self._caller.name} has {what}", hint=f"{setting} in reed.yaml is {limit}")


class Quotas:
    def __init__(self, limits: Limits, rates: ConnectRates) -> None:
        self.rates = rates
        self.refused: Counter[str] = Counter()  # by setting, as `ConnectRates.refused`
        self._limits = limits
        self._usages: dict[str, Usage] = {}

    def enter(self, connection: Buffered, caller: Caller) -> Usage:
        usage = self._usages.get(caller.name)
        if usage is None:
            usage = self._usages[caller.name] = Usage(caller, self._limits, self)
        usage.connections.add(connection)
        return usage

    def leave(self, connection: Buffered, caller: Caller) -> None:
        usage = self._usages.get(caller.name)
        if usage is not None:
            usage.connections.discard(connection)
            self.drop_unused(caller)

    def move(self, connection: Buffered, old: Caller, new: Caller) -> Usage:
        """Count `connection` against `new`. Raises PluginBusy if that is one too many."""
        usage = self.enter(connection, new)
        if new.name != old.name:
            if error := usage.too_many_connections():
                self.leave(connection, new)
                raise error
            self.leave(connection, old)
        return usage

    def drop_unused(self, caller: Caller) -> None:
        usage = self._usages.get(caller.name)
        if usage is not None and not usage.connections and not usage.calls:
            del self._usages[caller.name]
