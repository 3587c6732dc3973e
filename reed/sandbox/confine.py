"""All layers in their order, each resting on the one before (SECURITY.md, Processes).

    before the fork   Sandbox.prepare(rules)     the paths are opened into a ruleset, the filter is made
    after it          Prepared.confine()         rlimits · descriptors · user · no_new_privs · capabilities · Landlock
                                                 · seccomp · the limit of memory
    in the parent     Prepared.close()

A forked process pays for every page that it touches first: what can be done before is done before.
"""

from __future__ import annotations

import os
from collections.abc import Collection

from reed.sandbox import landlock, limits
from reed.sandbox.filter import Filter, Kind, program
from reed.sandbox.kernel import Kernel, SandboxError
from reed.sandbox.own_socket import OwnSocket
from reed.sandbox.probe import Layers, probe
from reed.sandbox.rules import Rules


class Sandbox:
    """Made once, where plugins are launched from: it knows the kernel and keeps the filters that it has made."""

    def __init__(self, kernel: Kernel | None = None) -> None:
        self.kernel = kernel or Kernel()
        self.layers: Layers = probe(self.kernel)
        self._filters: dict[Kind, Filter] = {}

    def prepare(self, rules: Rules) -> Prepared:
        """All that can be done before the fork.

        Raises SandboxError: a rule cannot be made, or the rules are strict and this kernel lacks a layer.
        """
        self.check(rules)
        version, seccomp = (self.layers.landlock, self.layers.seccomp) if rules.mode != "off" else (0, False)
        kind = Kind(rules.is_lua, bool(rules.connect_tcp), rules.own_socket is not None)
        return Prepared(
            self.kernel,
            rules,
            version,
            landlock.ruleset(self.kernel, version, rules) if version else -1,
            self._filter(kind) if seccomp else None,
            OwnSocket(self.kernel, rules.own_socket) if rules.own_socket is not None else None,
            self.layers.sealed,
        )

    def check(self, rules: Rules) -> None:
        """Raises SandboxError where the rules are strict and this kernel lacks a layer."""
        if rules.mode == "strict" and self.layers.missing:
            raise SandboxError(
                "strict",
                "this kernel lacks " + "; ".join(self.layers.missing),
                hint="`sandbox: auto` in reed.yaml starts plugins with what there is",
            )

    def _filter(self, kind: Kind) -> Filter:
        if kind not in self._filters:
            self._filters[kind] = Filter(program(self.kernel.machine, kind))
        return self._filters[kind]


class Prepared:
    """One plugin's confinement, to be applied in its process."""

    __slots__ = ("_filter", "_kernel", "_rules", "_ruleset", "_seals", "_version", "own_socket")

    def __init__(
        self,
        kernel: Kernel,
        rules: Rules,
        version: int,
        ruleset: int,
        seccomp: Filter | None,
        own_socket: OwnSocket | None,
        seals: bool,
    ) -> None:
        self.own_socket = own_socket
        self._kernel = kernel
        self._rules = rules
        self._version = version
        self._ruleset = ruleset
        self._filter = seccomp
        self._seals = seals

    def confine(self, *, keep: Collection[int] = ()) -> None:
        """Confine this process, which has one thread, for good. Raises SandboxError: then it must end.

        Native: in a session of its own, between fork and exec; all descriptors but the standard streams end there.
        Lua: before the plugin's code is loaded; they are closed now, but for `keep`.
        """
        kernel, rules = self._kernel, self._rules
        limits.set_limits(rules)
        limits.close_descriptors(kernel, {*keep, self._ruleset}, on_exec=not rules.is_lua)
        if self._ruleset >= 0 and not rules.is_lua:
            landlock.add_self(kernel, self._version, self._ruleset)
        if rules.user is not None:
            limits.become(rules.user)
        limits.no_new_privs(kernel)
        if rules.mode != "off":
            limits.drop_capabilities(kernel)
        if self._ruleset >= 0:
            landlock.restrict(kernel, self._version, self._ruleset, executes=not rules.is_lua)
        if self._filter is not None:
            self._install(self._filter)
        limits.set_memory_limit(rules)

    def close(self) -> None:
        """In the parent, after the fork."""
        if self._ruleset >= 0:
            os.close(self._ruleset)
        if self.own_socket is not None:
            self.own_socket.close()

    def _install(self, seccomp: Filter) -> None:
        own = self.own_socket
        if own is not None and self._seals:
            own.seal()
        seccomp.fill(os.getpid(), own.address if own else 0, own.length if own else 0)
        seccomp.install(self._kernel)


def confine(rules: Rules) -> None:
    """Confine this process, with nothing prepared."""
    Sandbox().prepare(rules).confine()
