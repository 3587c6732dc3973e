"""All layers in order; each depends on the one before (sandbox.md#layers).

The child only makes prepared calls: every page that it is the first to touch has to be copied.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator

from reed.sandbox import landlock, limits, mark
from reed.sandbox.filter import Kind, SeccompFilter, program
from reed.sandbox.kernel import Kernel, SandboxError, Step
from reed.sandbox.own_socket import OwnSocket
from reed.sandbox.probe import Layers, probe
from reed.sandbox.rules import Rules


class Confinement:
    __slots__ = ("kernel", "own_socket", "ruleset", "steps")

    def __init__(self, kernel: Kernel, own_socket: OwnSocket | None) -> None:
        self.kernel = kernel
        self.own_socket = own_socket
        self.ruleset = -1  # a descriptor, if `prepare` created the ruleset
        self.steps: list[Step] = []

    def apply(self, memory: int | None = None) -> None:
        """Confines this process, which must have one thread, permanently. On SandboxError it must exit.

        It must lead a session if it will execute a program. `memory` is a limit in bytes that was not known before.
        """
        for step in self.steps:
            step.run()
        for step in limits.limit_memory(self.kernel, memory):
            step.run()

    def close(self) -> None:
        if self.ruleset >= 0:
            os.close(self.ruleset)
        if self.own_socket is not None:
            self.own_socket.close()


class Sandbox:
    """Raises SandboxError when this process carries the mark of plugins itself."""

    def __init__(self, kernel: Kernel | None = None) -> None:
        mark.check_unmarked()
        self.kernel = kernel or Kernel()
        self.layers: Layers = probe(self.kernel)
        self._programs: dict[Kind, bytes] = {}

    def ruleset(self, rules: Rules) -> int:
        """A descriptor, which may be sent to another process; -1 if Landlock is missing or off."""
        version = self._version(rules)
        return landlock.ruleset(self.kernel, version, rules) if version else -1

    def prepare(self, rules: Rules, *, keep: Collection[int] = (), ruleset: int | None = None) -> Confinement:
        """Does everything that can be done before the fork. Raises SandboxError.

        The process keeps the standard streams and, until an exec, the descriptors `keep`. `ruleset` is the number that
        the ruleset's descriptor will have in the process; None creates one here.
        """
        self.check(rules)
        own = OwnSocket(self.kernel, rules.own_socket) if rules.own_socket is not None else None
        confinement = Confinement(self.kernel, own)
        try:
            if ruleset is None:
                ruleset = confinement.ruleset = self.ruleset(rules)
            confinement.steps += self._steps(rules, keep, ruleset, own)
        except SandboxError:
            confinement.close()
            raise
        return confinement

    def check(self, rules: Rules) -> None:
        """Raises SandboxError when the rules are strict and this kernel lacks a layer."""
        if rules.mode == "strict" and self.layers.missing:
            raise SandboxError(
                "strict",
                "missing here: " + "; ".join(self.layers.missing),
                hint="`sandbox: auto` in reed.yaml starts plugins without the missing layers",
            )

    def may_fork(self, *, executes: bool, mode: str) -> bool:
        """Can a process with such rules leave others behind?"""
        return executes or mode == "off" or not self.layers.seccomp

    def _steps(self, rules: Rules, keep: Collection[int], ruleset: int, own: OwnSocket | None) -> Iterator[Step]:
        kernel, executes, version = self.kernel, rules.executes, self._version(rules)
        yield from mark.mark(kernel)
        yield from limits.limit(kernel, rules)
        yield from limits.close_descriptors(kernel, {*keep, ruleset}, on_exec=executes)
        yield from limits.no_new_privs(kernel)
        yield from limits.drop_capabilities(kernel, every=rules.mode != "off")
        if version:
            yield from landlock.restrict(kernel, version, ruleset, executes=executes, own_proc=rules.own_proc)
        if self.layers.seccomp and rules.mode != "off":
            if own is not None:
                yield from own.seal(mseal=self.layers.sealed)
            yield from self._filter(rules, own).install(kernel)
        yield from limits.limit_memory(kernel, rules.memory)

    def _version(self, rules: Rules) -> int:
        return self.layers.landlock if rules.mode != "off" else 0

    def _filter(self, rules: Rules, own: OwnSocket | None) -> SeccompFilter:
        kind = Kind(rules.executes, bool(rules.connect_tcp), own is not None)
        if kind not in self._programs:
            self._programs[kind] = program(self.kernel.machine, kind)
        return SeccompFilter(self._programs[kind], own.address if own else 0)
