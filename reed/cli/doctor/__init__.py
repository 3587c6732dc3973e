"""`reed doctor`: is everything here that a core needs? It changes nothing, and works with and without a core.

    machine   kernel, container, limits, sandbox, versions
    site      settings, core, folders, store, registry    (folders)
    report    makes the checks, and prints what they find

A check is a generator of findings.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from reed.cli.parse import CONFIG, PLUGIN_DIR, REGISTRY, Option, Subcommand

Level = Literal["ok", "warning", "error"]


class Finding(NamedTuple):
    level: Level
    what: str
    meaning: str = ""  # of a warning or error
    fix: str = ""


def ok(what: str) -> Finding:
    return Finding("ok", what)


def warning(what: str, meaning: str, fix: str) -> Finding:
    return Finding("warning", what, meaning, fix)


def error(what: str, meaning: str, fix: str) -> Finding:
    return Finding("error", what, meaning, fix)


SUBCOMMANDS = {
    "doctor": Subcommand(
        "doctor.report.doctor",
        "",
        "Check kernel, container, limits, sandbox, versions, settings, folders, store and registry",
        (
            Option("--data-dir", "DIR", "content and logs (REED_DATA_DIR; ./data)"),
            Option("--store", "S", "sqlite, or postgres:CONNINFO without a password (REED_STORE)"),
            REGISTRY,
            PLUGIN_DIR,
            CONFIG,
        ),
        """
Each line is ok, a warning or an error; below a warning or error the command prints what it means and what to do. The
exit code is 1 if there is an error. Nothing is changed, and the core may run or not.

  reed doctor
  reed doctor --json | jq '.checks[] | select(.level != "ok")'

Into a pipe, separated by tabs: section, level, what, meaning, fix.""",
    ),
}
