"""`reed import`: JSON lines into the core, many under way at once.

    file ── lines ── requests ──┬── pipeline ── answers: counted, or refused with file, line and column
                                │
    a name that is in use ──────┴── refused; with --update it is changed after the others (see `updating`)
    bonds ── after all snippets, when the new ids are known

What an answer of success has come for is on the disk. A bad line costs itself alone: the rest goes on, all that were
refused are told, and the exit code is 1. It goes on over a restart of the core (see `reed.client`); where the core
died, it says how far it came.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from reed.cli import lines
from reed.cli.output import Output, counted
from reed.cli.parse import Args, UsageError
from reed.cli.progress import Progress
from reed.cli.site import connect, standard_input, without_mark
from reed.cli.updating import Change, update
from reed.client import Client, Request
from reed.errors import CallError, Conflict, FileError, Malformed, ReedError
from reed.text import safe_lines
from reed.wire.codes import Command
from reed.wire.names import is_semantic_name
from reed.wire.registry import RegistryDefine
from reed.wire.schema import SchemaBond
from reed.wire.snippets import SnippetCreate, SnippetWritten


class Source(NamedTuple):
    """Where a request came from."""

    number: int  # of the line
    kind: str  # "snippet", "type", "bond"
    name: str = ""
    old_id: str = ""  # in the file
    snippet_type: str = ""
    content: bytes = b""


class Import:
    """One run of `reed import`."""

    def __init__(self, core: Client, path: str, progress: Progress, *, update: bool) -> None:
        self.core = core
        self.path = path
        self.progress = progress
        self.update = update
        self.counts = {"snippets": 0, "updated": 0, "unchanged": 0, "types": 0, "bonds": 0}
        self.refused: list[FileError] = []
        self.through = 0  # the line up to which all have an answer
        self.taken: list[Change] = []  # with --update: their names are in use
        self._bonds: list[tuple[Source, lines.Line]] = []
        self._refs: dict[str, str] = {}  # the ref here of an id in the file
        self._types: dict[str, bytes] | None = None

    def refuse(self, number: int, error: Exception) -> None:
        """Note a line that was not imported, and say so at once."""
        if isinstance(error, json.JSONDecodeError):
            is_cut = error.pos >= len(error.doc)  # a value that goes on in the next line
            hint = "expected a whole JSON object in each line" if is_cut else ""
            found = FileError(self.path, f"not JSON: {error.msg}", line=number, column=error.colno, hint=hint)
        elif isinstance(error, UnicodeDecodeError):
            found = FileError(self.path, "not UTF-8", line=number, column=error.start + 1)
        else:
            found = FileError(self.path, str(error), line=number)
        self.refused.append(found)
        self.progress.clear()
        print(f"reed: {safe_lines(str(found), indent='  ')}", file=sys.stderr)

    def run(self, requests: Iterator[Request]) -> None:
        """Send the requests of all lines, then what had to wait for them."""
        for request, answer in self.core.pipelined(requests):
            self._take(request.tag, answer)
            self.through = request.tag.number
        update(self.core, self.taken, self._note_update)
        for request, answer in self.core.pipelined(self._bond_requests()):
            self._take(request.tag, answer)

    def _take(self, source: Source, answer: bytes | CallError) -> None:
        if isinstance(answer, CallError):
            if isinstance(answer, Conflict) and source.kind == "snippet" and source.name:
                self._refs[source.old_id] = source.name  # bonds of the file may go to the one that is there
                if self.update:
                    self.taken.append(Change(source.number, source.name, source.snippet_type, source.content))
                    return
            self.refuse(source.number, answer)
            return
        self.counts[f"{source.kind}s"] += 1
        if source.old_id:
            self._refs[source.old_id] = SnippetWritten.unpack(answer).snippet_id

    def _note_update(self, change: Change, outcome: str | Exception) -> None:
        if isinstance(outcome, str):
            self.counts[outcome] += 1
        else:
            self.refuse(change.line, outcome)

    # Lines of an export.

    def export_requests(self, file: Iterator[tuple[int, bytes]]) -> Iterator[Request]:
        for number, line in file:
            try:
                request = self._request(number, lines.read(line))
            except (ValueError, Malformed) as error:
                self.refuse(number, error)
                continue
            if request is not None:
                yield request

    def _request(self, number: int, line: lines.Line) -> Request | None:
        kind = line.text("kind", default="snippet" if line.json else "?")
        if kind == "bond":
            self._bonds.append((Source(number, kind), line))
            return None
        if kind == "type":
            return self._type_request(number, line)
        if kind != "snippet":
            raise Malformed(
                f"kind {kind!r}, expected type, snippet or bond",
                hint="of lines that are plain contents, name the --type",
            )
        name, snippet_type = line.text("name", default=""), line.text("type")
        source = Source(
            number, kind, name, line.text("id", default=""), snippet_type, line.json if self.update else b""
        )
        return Request(Command.SNIPPET_CREATE, SnippetCreate(snippet_type, name, line.json).pack(), source)

    def _type_request(self, number: int, line: lines.Line) -> Request | None:
        """A type that is defined alike is left alone, one that is defined otherwise is not overwritten unasked."""
        if self._types is None:
            self._types = {name: bytes(text) for name, text in self.core_types()}
        name = line.text("name")
        here = self._types.get(name)
        if here == line.json:
            return None
        if here is not None and not self.update:
            raise Malformed(f"type {name!r} is defined otherwise here", hint="--update defines it anew")
        return Request(Command.REGISTRY_DEFINE, RegistryDefine(name, line.json).pack(), Source(number, "type", name))

    def core_types(self) -> list[Any]:
        """The types that are defined; over a connection of its own, as the other is under way."""
        with Client(self.core.path, self.core.timeout) as core:
            return list(core.registry_list())

    def _bond_requests(self) -> Iterator[Request]:
        for source, line in self._bonds:
            try:
                parent, child = (self._refs.get(line.text(end), line.text(end)) for end in ("parent", "child"))
                weight = line.about.get("weight", 0)
                bond = SchemaBond(parent, child, weight, line.text("path", default=""))
                yield Request(Command.SCHEMA_BOND, bond.pack(), source)
            except Malformed as error:
                self.refuse(source.number, error)

    # Lines that are plain contents.

    def plain_requests(self, file: Iterator[tuple[int, bytes]], kind: str, name_field: str) -> Iterator[Request]:
        for number, line in file:
            try:
                name = _name(json.loads(line), name_field)
                source = Source(number, "snippet", name, "", kind, line if self.update else b"")
                yield Request(Command.SNIPPET_CREATE, SnippetCreate(kind, name, line).pack(), source)
            except (ValueError, Malformed) as error:
                self.refuse(number, error)


def _name(content: Any, field: str) -> str:
    """The semantic name that a field gives, where it is a sound one."""
    found = content.get(field) if field and isinstance(content, dict) else None
    return found if isinstance(found, str) and is_semantic_name(found) else ""


def import_file(args: Args, output: Output) -> int:
    path, kind = args.word("FILE"), args.text("--type") or ""
    name_field = args.text("--name-field") or ""
    if name_field and not kind:
        raise UsageError("--name-field goes with --type", hint="the lines of an export have their names already")
    since = time.monotonic()
    with connect(args) as core, _source(path) as (file, total):
        run = Import(core, path, Progress(output, "importing", total), update=args.has("--update"))
        numbered = _numbered(file, run)
        if kind:
            from reed.cli.inferring import define_if_missing

            numbered = define_if_missing(core, kind, numbered, path, output)
        requests = run.plain_requests(numbered, kind, name_field) if kind else run.export_requests(numbered)
        try:
            run.run(requests)
        except (ReedError, KeyboardInterrupt):
            run.progress.clear()
            print(f"reed: {path}: {_cut_off(run)}", file=sys.stderr)
            raise
        run.progress.clear()
    _tell(run, output, time.monotonic() - since)
    return 1 if run.refused else 0


def _tell(run: Import, output: Output, seconds: float) -> None:
    if output.as_json:
        refused = [{"line": each.line, "column": each.column, "error": each.message} for each in run.refused]
        output.json({**run.counts, "refused": refused})
    elif output.is_terminal:
        output.say(f"{_summary(run)}, in {seconds:.2f} s")
    else:
        output.rows([*run.counts.items(), ("refused", len(run.refused))])
        if run.refused:
            print(f"reed: {run.path}: {_summary(run)}", file=sys.stderr)


def _cut_off(run: Import) -> str:
    """What is in, and how to go on."""
    if not run.through:
        return "cut off before the first answer: import it again with --update"
    return (
        f"cut off after line {run.through}, what was before it is done: {_summary(run)}. To go on, import it again "
        "with --update: that takes names in use for what they are, but makes lines without a name once more"
    )


def _summary(run: Import) -> str:
    counts = run.counts
    parts = [f"{counted(counts['snippets'], 'snippet')} imported"]
    parts += [f"{counts[what]} {what}" for what in ("updated", "unchanged") if counts[what]]
    parts += [counted(counts[f"{thing}s"], thing) for thing in ("type", "bond") if counts[f"{thing}s"]]
    if run.refused:
        parts.append(f"{counted(len(run.refused), 'line')} refused")
    return ", ".join(parts)


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
