"""Asks the operator before a plugin gets permissions or loses its folder."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from reed.cli.output import Output, pad, width
from reed.cli.parse import Args
from reed.errors import ReedError
from reed.text import safe


def require(args: Args, output: Output, question: str) -> None:
    """Returns if the answer is yes, or --yes was given. Raises ReedError otherwise."""
    if args.has("--yes"):
        return
    require_terminal(args, output)
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise ReedError("nothing was changed")


def require_terminal(args: Args, output: Output) -> None:
    """Raises ReedError if nobody can be asked. Commands call it before they show anything."""
    if args.has("--yes") or (output.is_interactive and sys.stdin is not None and sys.stdin.isatty()):
        return
    raise ReedError("this needs consent, and there is no terminal to ask", hint="--yes gives it")


def show_lines(output: Output, lines: Sequence[tuple[str, str]], mark: str = "") -> None:
    """On a terminal: what, and what it means, in two columns."""
    wide = max((width(what) for what, _ in lines), default=0)
    for what, text in lines:
        output.info(f"  {mark}{pad(safe(what), wide)}  {safe(text)}")
