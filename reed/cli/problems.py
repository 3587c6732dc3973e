"""What an import says about single lines: refused ones and warnings, with file, line and column.

The first twenty of each kind are printed at once, the rest is counted in the end; `--json` has all of them.
"""

from __future__ import annotations

import json

from reed.cli.output import complain, counted
from reed.cli.progress import Progress
from reed.errors import FileError

SHOWN = 20


class Problems:
    def __init__(self, path: str, progress: Progress) -> None:
        self.path = path
        self.refused: list[FileError] = []
        self.warnings: list[FileError] = []
        self._progress = progress

    def refuse(self, number: int, error: Exception) -> None:
        """A line that was not imported."""
        if isinstance(error, json.JSONDecodeError):
            is_cut = error.pos >= len(error.doc)  # a value that goes on in the next line
            hint = "expected a whole JSON object in each line" if is_cut else ""
            found = FileError(self.path, f"not JSON: {error.msg}", line=number, column=error.colno, hint=hint)
        elif isinstance(error, UnicodeDecodeError):
            found = FileError(self.path, "not UTF-8", line=number, column=error.start + 1)
        elif isinstance(error, RecursionError):
            found = FileError(self.path, "JSON: nested far too deep", line=number)
        else:
            found = FileError(self.path, str(error), line=number)
        self.refused.append(found)
        self._show(self.refused)

    def warn(self, number: int, text: str) -> None:
        """A line that was imported, and something about it that a person should know."""
        self.warnings.append(FileError(self.path, f"warning: {text}", line=number))
        self._show(self.warnings)

    def note(self, text: str) -> None:
        """Something about the whole file."""
        self._print(f"{self.path}: {text}")

    def end(self) -> None:
        """Say how many were not shown."""
        for problems, what in ((self.refused, "refused line"), (self.warnings, "warning")):
            if len(problems) > SHOWN:
                self.note(f"and {counted(len(problems) - SHOWN, f'more {what}')}; --json has all of them")

    def _show(self, problems: list[FileError]) -> None:
        if len(problems) <= SHOWN:
            self._print(str(problems[-1]))

    def _print(self, text: str) -> None:
        self._progress.clear()
        complain(text)


def as_json(problems: list[FileError]) -> list[dict[str, object]]:
    return [{"line": each.line, "column": each.column, "error": each.message} for each in problems]
