"""`reed import`: options, input file and report; `importer` has the import itself."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from reed.cli.importer import Import, problems_as_json
from reed.cli.options import connect, standard_input, without_bom
from reed.cli.output import Output
from reed.cli.parse import Args, Option, Subcommand, UsageError
from reed.cli.plain_lines import Keys, Naming, NumberedLines, define_if_missing, require_field
from reed.cli.progress import ProgressBar
from reed.client import Request
from reed.errors import ReedError

_MARKDOWN_PACKAGES = {"markdown_it", "mdit_py_plugins", "mdurl"}


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
    _report(run, naming, output, time.monotonic() - since)
    return 1 if run.problems.rejected else 0


def _import_markdown(args: Args, output: Output) -> int:
    try:
        from reed.cli.import_markdown import import_folder
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _MARKDOWN_PACKAGES:
            raise
        problem = f"--markdown requires the package {package.replace('_', '-')}"
        raise ReedError(problem, hint="pip install 'reed-cms[markdown]'") from None

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


def _report(run: Import, naming: Naming, output: Output, seconds: float) -> None:
    problems = run.problems
    problems.print_rest()
    if unnamed := naming.summary():
        problems.note(unnamed)
    warnings, rejected = problems_as_json(problems.warnings), problems_as_json(problems.rejected)
    report = {**run.counts, "warnings": warnings, "refused": rejected, **naming.as_json()}
    value = {"dry_run": True, **report} if run.dry_run else report
    counts = [*run.counts.items(), ("warnings", len(warnings)), ("refused", len(rejected))]
    output.show(value, f"{run.summary()}, in {seconds:.2f} s", counts)
    if rejected and not output.as_json and not output.is_terminal:
        problems.note(run.summary())


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
    for number, line in enumerate(file, 1):
        read += len(line)
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
        yield file, Path(path).stat().st_size


SUBCOMMANDS = {
    "import": Subcommand(
        import_file,
        "FILE",
        "Read snippets from a file of JSON lines, - is standard input; or from a folder of Markdown",
        (
            Option("--type", "T", "the lines are plain content of this type, which is defined if missing"),
            Option("--name-field", "FIELD", "the field that gives the name, if it is valid and at most 31 bytes"),
            Option("--key", "FIELD", "the field that identifies the snippet of the type, named or not"),
            Option("--update", help="change existing snippets to what the file says, instead of rejecting the line"),
            Option("--new-ids", help="lines of an export: create copies with new ids"),
            Option("--dry-run", help="report what would happen, and write nothing"),
            Option("--markdown", help="FILE is a folder: each .md in it becomes a page of --type (page)"),
            Option("--prune", help="with --markdown: delete the pages whose files have gone"),
        ),
        """
Without --type the lines are those of `reed export` and are restored: ids, versions, times and bonds. An identical
snippet stays unchanged, an older version is replaced, a newer one is kept and its line rejected (--update writes the
file's version). Content that no longer fits its type is restored with a warning. This requires the permission
snippet_restore; with --new-ids, which creates copies, snippet_write is enough.

With --type the lines are plain content. A line whose name or --key exists means that snippet; other lines create one.

Rejected lines are printed with number and reason, the others are imported, and the exit code is 1.

  reed import pages.jsonl --type page --name-field path --key path

With --markdown the front matter of each file gives the fields of its page, and the folders give the tree: index.md or
README.md is the page of its folder. Pages that changed are updated, the others stay as they are.

  reed import docs --markdown --prune""",
    ),
}
