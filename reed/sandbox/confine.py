"""All layers in their order, each resting on the one before (sandbox.md#layers).

    before the fork   Sandbox.prepare(rules)     paths are opened, the filter is made: all becomes a list of steps
    after it          Prepared.confine()         mark · rlimits · descriptors · no_new_privs · capabilities
                                                 · Landlock · the own socket's seal · seccomp · the limit of memory
    in the parent     Prepared.close()

A forked process pays for every page that it is the first to touch: so it makes ready calls, and decides nothing.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator

from reed.sandbox import landlock, limits, mark
from reed.sandbox.filter import Filter, Kind, program
from reed.sandbox.kernel import Kernel, SandboxError, Step
from reed.sandbox.own_socket import OwnSocket
from reed.sandbox.probe import Layers, probe
from reed.sandbox.rules import Rules


class Prepared:
    """One plugin's confinement, to be applied in its process."""

    __slots__ = ("kernel", "own_socket", "ruleset", "steps")

    def __init__(self, kernel: Kernel, own_socket: OwnSocket | None) -> None:
        self.kernel = kernel
        self.own_socket = own_socket
        self.ruleset = -1  # the descriptor, where it was made along with this
        self.steps: list[Step] = []

    def confine(self, memory: int | None = None) -> None:
        """Confine this process, which has one thread, for good. Raises SandboxError: then it must end.

        Native: in a session of its own, between fork and exec. Lua: before the plugin's code is loaded. `memory`: its
        limit, where that was not known before the fork.
        """
        for step in self.steps:
            step.take()
        for step in limits.limit_memory(self.kernel, memory):
            step.take()

    def close(self) -> None:
        """In the parent, after the fork."""
        if self.ruleset >= 0:
            os.close(self.ruleset)
        if self.own_socket is not None:
            self.own_socket.close()


class Sandbox:
    """Made once, where plugins are launched from: it knows the kernel, and keeps the programs of its filters.

    Raises SandboxError where this process carries the mark of plugins itself.
    """

    def __init__(self, kernel: Kernel | None = None) -> None:
        mark.check_unmarked()
        self.kernel = kernel or Kernel()
        self.layers: Layers = probe(self.kernel)
        self._programs: dict[Kind, bytes] = {}

    def ruleset(self, rules: Rules) -> int:
        """The paths and ports of the rules as a descriptor; -1 where Landlock is not to be had, or not wanted.

        It may be sent to the process that prepares: what is opened is opened here.
        """
        version = self._version(rules)
        return landlock.ruleset(self.kernel, version, rules) if version else -1

    def prepare(self, rules: Rules, *, keep: Collection[int] = (), ruleset: int | None = None) -> Prepared:
        """All that can be done before the fork.

        A Lua plugin keeps the standard streams and the descriptors `keep`; a native one, through its exec, the streams.
        `ruleset` is the number that its descriptor will have in the process; without it, one is made here.
        Raises SandboxError: a rule cannot be made, or the rules are strict and this kernel lacks a layer.
        """
        self.check(rules)
        own = OwnSocket(self.kernel, rules.own_socket) if rules.own_socket is not None else None
        prepared = Prepared(self.kernel, own)
        try:
            if ruleset is None:
                ruleset = prepared.ruleset = self.ruleset(rules)
            prepared.steps += self._steps(rules, keep, ruleset, own)
        except SandboxError:
            prepared.close()
            raise
        return prepared

    def check(self, rules: Rules) -> None:
        """Raises SandboxError where the rules are strict and this kernel lacks a layer."""
        if rules.mode == "strict" and self.layers.missing:
            raise SandboxError(
                "strict",
                "missing here: " + "; ".join(self.layers.missing),
                hint="`sandbox: auto` in reed.yaml starts plugins with what there is",
            )

    def _steps(self, rules: Rules, keep: Collection[int], ruleset: int, own: OwnSocket | None) -> Iterator[Step]:
        kernel, executes, version = self.kernel, rules.executes, self._version(rules)
        yield from mark.mark(kernel)
        yield from limits.limit(kernel, rules)
        yield from limits.close_descriptors(kernel, {*keep, ruleset}, on_exec=executes)
        yield from limits.no_new_privs(kernel)
        yield from limits.drop_capabilities(kernel, every=rules.mode != "off")
        if version:
            yield from landlock.restrict(kernel, version, ruleset, executes=executes)
        if self.layers.seccomp and rules.mode != "off":
            if own is not None:
                yield from own.seal(for_good=self.layers.sealed)
            yield from self._filter(rules, own).install(kernel)
        yield from limits.limit_memory(kernel, rules.memory)

    def _version(self, rules: Rules) -> int:
        return self.layers.landlock if rules.mode != "off" else 0

    def _filter(self, rules: Rules, own: OwnSocket | None) -> Filter:
        kind = Kind(rules.executes, bool(rules.connect_tcp), own is not None)
        if kind not in self._programs:
            self._programs[kind] = program(self.kernel.machine, kind)
        return Filter(self._programs[kind], own.address if own else 0)
