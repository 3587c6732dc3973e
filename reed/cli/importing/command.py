"""The command `reed import`: options and input file."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import BinaryIO

from reed.cli.importing.plain import Keys, Naming, NumberedLines, define_if_missing, require_field
from reed.cli.importing.run import Import
from reed.cli.options import MAX_INPUT, connect, optional, standard_input, too_long, without_bom
from reed.cli.output import Output
from reed.cli.parse import Args, UsageError
from reed.cli.progress import ProgressBar
from reed.client import Request
from reed.errors import ReedError


def import_file(args: Args, output: Output) -> int:
    path, snippet_type = args.arg("FILE"), args.text("--type") or ""
    if args.has("--markdown"):
        return _import_markdown(args, output)
    _check_options(args, snippet_type)
    since = time.monotonic()
    naming = Naming(args.text("--name-field") or "")
    with connect(args) as core, _open(path) as (file, total), ProgressBar(output, "importing", total) as progress:
        run = Import(
            core,
            path,
            progress,
            update=args.has("--update"),
            dry_run=args.has("--dry-run"),
            new_ids=args.has("--new-ids"),
        )
        lines = _numbered(file, run)
        requests = _plain_requests(run, args, output, naming, lines) if snippet_type else run.export_requests(lines)
        try:
            run.run(requests)
        except (ReedError, KeyboardInterrupt):
            run.problems.print_rest()
            run.problems.note(_interrupted(run, snippet_type))
            raise
    run.problems.print_rest()
    if unnamed := naming.summary():
        run.problems.note(unnamed)
    return run.report(output, time.monotonic() - since, naming.as_json())


def _import_markdown(args: Args, output: Output) -> int:
    with optional("--markdown", "markdown", "markdown_it", "mdit_py_plugins", "mdurl"):
        from reed.cli.importing.markdown import import_folder

    for option in ("--name-field", "--key", "--update", "--new-ids"):
        if args.has(option):
            hint = "the path of a file gives its page's name and key, and pages that changed are always updated"
            raise UsageError(f"{option} cannot be combined with --markdown", hint=hint)
    return import_folder(args, output)


def _check_options(args: Args, snippet_type: str) -> None:
    for option in ("--name-field", "--key"):
        if args.text(option) and not snippet_type:
            raise UsageError(f"{option} requires --type", hint="lines of an export already have names and ids")
    if args.has("--prune"):
        raise UsageError("--prune requires --markdown", hint="lines of a file never delete snippets")
    if snippet_type and args.has("--new-ids"):
        raise UsageError("--new-ids cannot be combined with --type", hint="lines of plain content have no ids")


def _plain_requests(run: Import, args: Args, output: Output, naming: Naming, lines: NumberedLines) -> Iterator[Request]:
    snippet_type, path, key = args.text("--type") or "", run.problems.path, args.text("--key") or ""
    for field in (naming.field, key):
        if field:
            lines = require_field(lines, path, field)
    keys = Keys(run.core, snippet_type, key) if key else None
    lines, is_new = define_if_missing(run.core, snippet_type, lines, path, output, dry_run=run.dry_run)
    if is_new and run.dry_run:
        run.new_types.add(snippet_type)
    return run.plain_requests(lines, snippet_type, naming, keys)


def _interrupted(run: Import, snippet_type: str) -> str:
    hint = "to continue, run the same import again: snippets that are already the same stay unchanged"
    if snippet_type:
        hint += "; lines without a name or --key create another snippet"
    if not run.processed:
        return f"interrupted before the first response; {hint}"
    return f"interrupted after line {run.processed}; lines up to it are done: {run.summary()}; {hint}"


def _numbered(file: BinaryIO, run: Import) -> NumberedLines:
    """Skip blank lines; update the progress bar."""
    read = 0
    for number, line in enumerate(iter(partial(file.readline, MAX_INPUT + 1), b""), 1):
        read += len(line)
        if len(line) > MAX_INPUT:
            raise too_long(f"line {number}")
        run.progress.update(read, sum(run.counts.values()))
        line = (line if number > 1 else without_bom(line)).strip()  # noqa: PLW2901
        if line:
            yield number, line


@contextmanager
def _open(path: str) -> Iterator[tuple[BinaryIO, int]]:
    """Yield the file and its size, 0 if unknown."""
    if path == "-":
        yield standard_input(), 0
        return
    if os.path.isdir(path):
        raise ReedError(f"{path} is a folder", hint=f"reed import {path} --markdown reads its files of Markdown")
    with open(path, "rb") as file:
        yield file, os.fstat(file.fileno()).st_size
