"""The process of one test file: `python -m reed.python.test_process`, with the spec on stdin (test_run).

confined like the plugin ── main.py ── the test file ── for each test_*: empty core, settings of plugin.yaml, run
"""

from __future__ import annotations

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
from reed.python.asserts import explained
from reed.python.runtime import PythonRuntime
from reed.sandbox.confine import Sandbox
from reed.sandbox.rules import Profile, rules_for

_MEMORY = 256 * 1024 * 1024  # a test may use more than a call
_DONE = JobOutcome("done", ())


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
        exec(compile(explained(source, path), path, "exec", dont_inherit=True), self._module.__dict__)
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


def main() -> None:
    process = TestProcess(json.load(sys.stdin))
    process.confine()
    if process.load():
        process.run()


if __name__ == "__main__":
    main()
