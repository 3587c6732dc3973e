"""Texts of the command line: its error messages and one page of help, word for word."""

from __future__ import annotations

import pytest

from reed.cli import main


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["plguin"], "unknown command 'plguin'; did you mean 'plugin'?"),
        (["plugin", "stats"], "unknown command 'plugin stats'; did you mean 'status'?"),
        (["schema"], "schema: missing subcommand; one of bond, unbond, tree"),
        (
            ["plugin", "list", "--jsn"],
            "plugin list: unknown option --jsn; did you mean '--json'?\n  usage: reed plugin list [--available]",
        ),
        (
            ["schema", "bond", "home"],
            "schema bond: missing argument CHILD; usage: reed schema bond PARENT CHILD [--weight N] [--path P]",
        ),
        (["stop", "now"], "stop: unexpected argument 'now'; usage: reed stop"),
        (["snippet", "get", "$"], "REF is empty; is the shell variable set?"),
        (["snippet", "create", "page"], "exactly one of JSON, --file F and - (standard input) is required"),
        (["plugin", "signal", "x", "wak"], "unknown signal 'wak'; did you mean 'wake'?"),
        (["completion", "bsh"], "unknown shell 'bsh'; did you mean 'bash'?"),
        (["top"], "reed top requires a terminal; for programs: `reed plugin health --json`"),
    ],
)
def test_usage_errors(argv: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    assert capsys.readouterr().err == f"reed: {text}\n"


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugin", "logs", "--help"]) == 0
    assert (
        capsys.readouterr().out
        == """\
reed plugin logs NAME [--follow] [--lines N]

Print the log of a plugin.

  -f, --follow       keep printing new lines
  -n, --lines N      print the last N lines (100; 0: none)
  --json             print JSON, errors included
  --runtime-dir DIR  the core's runtime folder (REED_RUNTIME_DIR; /tmp/reed-cms)
  -h, --help         print this help
"""
    )
