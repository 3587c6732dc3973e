"""`reed import`: JSON lines into the core (see `importer`), and what came of it.

All lines that were refused are counted, the first are told at once, and the exit code is 1. It goes on over a restart
of the core (see `reed.client`); where the core died, it says how far it came.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from reed.cli.importer import Import
from reed.cli.options import connect, standard_input, without_mark
from reed.cli.output import Output, counted
from reed.cli.parse import Args, UsageError
from reed.cli.plain_lines import Keys, Naming, Numbered, require_field
from reed.cli.problems import as_json
from reed.cli.progress import Progress
from reed.client import Request
from reed.errors import ReedError


def import_file(args: Args, output: Output) -> int:
    path, kind = args.word("FILE"), args.text("--type") or ""
    _check_options(args, kind)
    since = time.monotonic()
    naming = Naming(args.text("--name-field") or "")
    dry_run = args.has("--dry-run")
    with connect(args) as core, _source(path) as (file, total):
        run = Import(
            core,
            path,
            Progress(output, "importing", total),
            update=args.has("--update"),
            dry_run=dry_run,
            new_ids=args.has("--new-ids"),
        )
        numbered = _numbered(file, run)
        if kind:
            requests = _plain_requests(run, args, output, naming, numbered, dry_run=dry_run)
        else:
            requests = run.export_requests(numbered)
        try:
            run.run(requests)
        except (ReedError, KeyboardInterrupt):
            run.problems.end()
            run.problems.note(_cut_off(run, kind))
            raise
        run.progress.clear()
    _tell(run, naming, output, time.monotonic() - since, dry_run=dry_run)
    return 1 if run.problems.refused else 0


def _check_options(args: Args, kind: str) -> None:
    for option in ("--name-field", "--key"):
        if args.text(option) and not kind:
            raise UsageError(f"{option} goes with --type", hint="lines of an export have names and ids already")
    if kind and args.has("--new-ids"):
        raise UsageError("--new-ids is for lines of an export", hint="plain contents have no ids")


def _plain_requests(
    run: Import, args: Args, output: Output, naming: Naming, numbered: Numbered, *, dry_run: bool
) -> Iterator[Request]:
    """Lines that are plain contents: their fields are looked for first, then their type is defined if it is not."""
    from reed.cli.infer_type import define_if_missing

    kind, path, key = args.text("--type") or "", run.problems.path, args.text("--key") or ""
    for field in (naming.field, key):
        if field:
            numbered = require_field(numbered, path, field)
    keys = Keys(run.core, kind, key) if key else None
    numbered, is_new = define_if_missing(run.core, kind, numbered, path, output, dry_run=dry_run)
    if is_new:
        run.note_type(kind)
    return run.plain_requests(numbered, kind, naming, keys)


def _tell(run: Import, naming: Naming, output: Output, seconds: float, *, dry_run: bool) -> None:
    problems = run.problems
    problems.end()
    unnamed = naming.told()
    if unnamed:
        problems.note(unnamed)
    if output.as_json:
        told = {"warnings": as_json(problems.warnings), "refused": as_json(problems.refused), **naming.as_json()}
        output.json({**({"dry_run": True} if dry_run else {}), **run.counts, **told})
        return
    if output.is_terminal:
        output.say(f"{_summary(run, dry_run=dry_run)}, in {seconds:.2f} s")
        return
    output.rows([*run.counts.items(), ("warnings", len(problems.warnings)), ("refused", len(problems.refused))])
    if problems.refused:
        problems.note(_summary(run, dry_run=dry_run))


def _cut_off(run: Import, kind: str) -> str:
    """What is in, and how to go on."""
    again = "import it again: what is here already is left as it is"
    if kind:
        again += " where a name or --key finds it; other lines are made once more"
    if not run.through:
        return f"cut off before the first answer; {again}"
    return f"cut off after line {run.through}, what was before it is done: {_summary(run)}. To go on, {again}"


def _summary(run: Import, *, dry_run: bool = False) -> str:
    counts, problems = run.counts, run.problems
    parts = [f"{counted(counts['snippets'], 'snippet')} imported"]
    parts += [f"{counts[what]} {what}" for what in ("updated", "unchanged") if counts[what]]
    parts += [counted(counts[f"{thing}s"], thing) for thing in ("type", "bond") if counts[f"{thing}s"]]
    if problems.warnings:
        parts.append(counted(len(problems.warnings), "warning"))
    if problems.refused:
        parts.append(f"{counted(len(problems.refused), 'line')} refused")
    return ("a dry run, nothing was written; it would be: " if dry_run else "") + ", ".join(parts)


def _numbered(file: BinaryIO, run: Import) -> Iterator[tuple[int, bytes]]:
    """The lines that hold something, with their numbers, as the progress is drawn."""
    read = 0
    for number, line in enumerate(file, 1):
        read += len(line)
        run.progress.to(read, sum(run.counts.values()))
        line = (line if number > 1 else without_mark(line)).strip()  # noqa: PLW2901
        if line:
            yield number, line


@contextmanager
def _source(path: str) -> Iterator[tuple[BinaryIO, int]]:
    """The file and its size; 0 when that is not known."""
    if path == "-":
        yield standard_input(), 0
        return
    with open(path, "rb") as file:
        yield file, Path(path).stat().st_size
