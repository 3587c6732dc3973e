"""The process of one test file: `python -m reed.python.test_process`, with the spec on stdin (test_run).

confined like the plugin ── main.py ── the test file ── for each test_*: empty core, settings of plugin.yaml, run

`assert found == expected` in a test shows both values when it fails:

    assert L == R       left = L; right = R; assert left == right, f"{left!r} == {right!r}"
    assert X            assert X, "X"
"""

from __future__ import annotations

import ast
import json
import os
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

from reed.fake_core import FakeCore
from reed.plugin import reed
from reed.plugin.testing import core
from reed.plugin_host.fake_services import sdk_services
from reed.plugin_host.launch_spec import CPU
from reed.plugin_host.runtime import JobOutcome
from reed.python.runtime import PythonRuntime
from reed.sandbox.confine import Sandbox
from reed.sandbox.rules import Profile, rules_for

_MEMORY = 256 * 1024 * 1024  # a test may use more than a call
_DONE = JobOutcome("done", ())
_LEFT, _RIGHT = "@left", "@right"  # names that no test can have
_SIGNS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.In: "in",
    ast.NotIn: "not in",
    ast.Is: "is",
    ast.IsNot: "is not",
}


class TestProcess:
    def __init__(self, spec: dict[str, Any]) -> None:
        self._spec = spec
        self._results = os.dup(1)
        os.dup2(2, 1)  # what the plugin prints
        self._runtime = PythonRuntime()
        self._module = ModuleType("test")

    def confine(self) -> None:
        spec = self._spec
        profile = Profile(executes=False, read_paths=tuple(spec["read_paths"]), own_proc=True)
        permissions = spec["permissions"] or ()
        rules = rules_for(profile, spec["folder"], spec["data_dir"], "/nonexistent", spec["name"], permissions)
        Sandbox().prepare(rules, keep=(self._results,)).apply()

    def load(self) -> bool:
        spec = self._spec
        core.fake = FakeCore(None if spec["permissions"] is None else frozenset(spec["permissions"]))
        offered = sdk_services(core.fake, _MEMORY)
        for_sdk = {
            **{name: spec[name] for name in ("name", "folder", "data_dir", "settings", "actions", "hooks")},
            "version": "",
            "cpu": CPU,
            "byte_actions": [],
            "network": False,
        }
        began = time.monotonic()
        self._runtime.start(offered, memory=_MEMORY, spec=json.dumps(for_sdk).encode())
        for path, load in ((spec["entry"], self._runtime.load), (spec["file"], self._load_tests)):
            with open(os.path.join(spec["folder"], path), "rb") as file:
                source = file.read()
            if failure := _failure(load(path, source)):
                self._report("loading", failure, began)
                return False
        return True

    def _load_tests(self, path: str, source: bytes) -> JobOutcome:
        return self._runtime.run(self._execute, os.path.join(self._spec["folder"], path), source)

    def _execute(self, path: str, source: bytes) -> JobOutcome:
        self._module.__file__ = path
        exec(compile(_explained(source, path), path, "exec", dont_inherit=True), self._module.__dict__)
        return _DONE

    def run(self) -> None:
        for title, test in list(vars(self._module).items()):
            if title.startswith("test_") and callable(test):
                core.fake.reset()
                reed.settings.clear()
                reed.settings.update(self._spec["settings"])
                began = time.monotonic()
                self._report(title, _failure(self._runtime.run(_test, test)), began)

    def _report(self, title: str, failure: str, began: float) -> None:
        log = [f"{line['level']}: {line['text']}" for line in core.log]
        fields = {"title": title, "failure": failure, "seconds": time.monotonic() - began, "log": log}
        os.write(self._results, json.dumps(fields).encode() + b"\n")


def _test(test: Callable[[], object]) -> JobOutcome:
    test()
    return _DONE


def _failure(outcome: JobOutcome) -> str:
    match outcome.kind:
        case "done":
            return ""
        case "time":
            return f"{outcome.text()}: time limit of {CPU:g} s reached"
        case "memory":
            return f"{outcome.text()}: memory limit of {_MEMORY >> 20} MB reached"
        case "fail":
            return f"{outcome.text(1)} ({outcome.results[0]})"
    calls = outcome.text(1).splitlines()[1:]
    return "\n".join([outcome.text(), *(calls if len(calls) > 1 else [])])


def _explained(source: bytes, path: str) -> ast.Module:
    """Raises SyntaxError."""
    tree = _Asserts().visit(ast.parse(source, path))
    return ast.fix_missing_locations(tree)  # type: ignore[no-any-return]


class _Asserts(ast.NodeTransformer):
    def visit_Assert(self, node: ast.Assert) -> ast.AST | list[ast.AST]:
        if node.msg is not None:
            return node
        if not isinstance(node.test, ast.Compare) or len(node.test.ops) != 1:
            node.msg = ast.Constant(f"it does not hold: {ast.unparse(node.test)}")
            return node
        operator = node.test.ops[0]
        message = ast.JoinedStr([_repr(_LEFT), ast.Constant(f" {_SIGNS[type(operator)]} "), _repr(_RIGHT)])
        sides = [_set(_LEFT, node.test.left), _set(_RIGHT, node.test.comparators[0])]
        test = ast.Compare(_get(_LEFT), [operator], [_get(_RIGHT)])
        return [ast.copy_location(each, node) for each in (*sides, ast.Assert(test, message))]


def _get(name: str) -> ast.expr:
    return ast.Name(name, ast.Load())


def _set(name: str, value: ast.expr) -> ast.stmt:
    return ast.Assign([ast.Name(name, ast.Store())], value)


def _repr(name: str) -> ast.expr:
    return ast.FormattedValue(_get(name), ord("r"))


def main() -> None:
    process = TestProcess(json.load(sys.stdin))
    process.confine()
    if process.load():
        process.run()


if __name__ == "__main__":
    main()
