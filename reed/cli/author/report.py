"""`reed plugin test`, and how its checks and those of `reed plugin dev` are printed as they finish.

    terminal   a line for each check and each test; below a failed one what was expected, and what the plugin logged
    pipe       rows of result, name and detail; a file of tests has a row for each test, and one of its own
    --json     one object at the end

Only a failure is red. What a plugin logs in a test that passes is not shown.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from reed.cli.author.checks import FAILED, OK, SKIPPED, Check, PluginTest
from reed.cli.author.project import folder_of
from reed.cli.options import config
from reed.cli.output import Output, paint
from reed.cli.parse import Args
from reed.figures import plural
from reed.own_tests import Case
from reed.text import safe_lines

_NAME_WIDTH = 20
_SLOW = 0.1  # seconds; a faster test has no time


def test(args: Args, output: Output) -> int:
    report = CheckReport(output)
    name, site = args.arg("NAME"), config(args)
    if os.path.isdir(name):
        folder = folder_of(name, site)
        name, site = folder.name, replace(site, plugin_dirs=(folder.parent, *site.plugin_dirs))
    with tempfile.TemporaryDirectory(prefix="reed-test-", ignore_cleanup_errors=True) as work:
        run = PluginTest(name, site, Path(work), output.info, args.text("--replay") or "")
        with closing(run.checks()) as found:  # before its folder is removed
            for check in found:
                report.add(check)
    return report.end({"plugin": run.name, "version": run.version, "type": run.kind})


class CheckReport:
    def __init__(self, output: Output) -> None:
        self._output = output
        self._since = time.monotonic()
        self._checks: list[Check] = []

    @property
    def passed(self) -> bool:
        return all(check.result != FAILED for check in self._checks)

    def add(self, check: Check) -> None:
        self._checks.append(check)
        if self._output.as_json:
            return
        if self._output.is_terminal:
            self._show(check)
        else:
            rows = [(_result(case), f"{check.name}: {case.title}", _detail(case)) for case in check.cases]
            self._output.rows([*rows, (check.result, check.name, check.detail)])
        self._output.stream.flush()

    def end(self, about: Mapping[str, Any]) -> int:
        """Print the summary; the exit code. `about`: {"plugin": name, …}, the beginning of the JSON object."""
        counts = {result: sum(check.result == result for check in self._checks) for result in (OK, FAILED, SKIPPED)}
        if self._output.as_json:
            checks = [_as_json(check) for check in self._checks]
            self._output.json({**about, "passed": self.passed, **counts, "checks": checks})
        if self._output.is_interactive:
            self._output.stream.write(f"\n{self._summary(about['plugin'], counts)}\n")
        return 0 if self.passed else 1

    def _summary(self, plugin: str, counts: Mapping[str, int]) -> str:
        cases = [case for check in self._checks for case in check.cases]
        parts = [", ".join(f"{count} {result}" for result, count in counts.items() if count)]
        if cases:
            failed = sum(bool(case.failure) for case in cases)
            parts.append(f"{plural(len(cases), 'test')}, " + (f"{failed} failed" if failed else "all passed"))
        verdict = paint(self._output.stream, *(("passed", "green") if self.passed else ("FAILED", "red")))
        took = time.monotonic() - self._since
        return f"{plugin} {verdict}: {'; '.join(parts)}; {took:.1f} s"

    def _show(self, check: Check) -> None:
        if not check.cases:
            self._line(check.result, f"{check.name:{_NAME_WIDTH}} ", check.detail)
            return
        self._output.stream.write(f"{safe_lines(check.name)}\n")
        for case in check.cases:
            took = f" ({case.seconds:.1f} s)" if case.seconds is not None and case.seconds >= _SLOW else ""
            self._line(_result(case), f"  {case.title}{took}", "")
            if case.failure:
                log = ["log:", *(f"  {line}" for line in case.log)] if case.log else []
                for line in "\n".join([case.failure, *log]).splitlines():
                    self._output.stream.write(f"{'':13}{safe_lines(line)}\n")

    def _line(self, result: str, name: str, detail: str) -> None:
        first, *more = safe_lines(detail).split("\n")
        text = f"{safe_lines(name)}{first}".rstrip()
        self._output.stream.write(f"{paint(self._output.stream, f'{result:9}')}{text}\n")
        for line in more:
            self._output.stream.write(f"{'':{9 + _NAME_WIDTH + 1}}{line}\n")


def _result(case: Case) -> str:
    return FAILED if case.failure else SKIPPED if case.skipped else OK


def _detail(case: Case) -> str:
    return "\n".join([case.failure, *(f"    {line}" for line in case.log)]) if case.failure else ""


def _as_json(check: Check) -> dict[str, Any]:
    found: dict[str, Any] = {"name": check.name, "result": check.result, "detail": check.detail}
    if check.cases:
        found["cases"] = [
            {
                "title": case.title,
                "result": _result(case),
                "failure": case.failure,
                "seconds": None if case.seconds is None else round(case.seconds, 4),
                "log": list(case.log),
            }
            for case in check.cases
        ]
    return found
