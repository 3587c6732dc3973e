"""One run of `reed import`: lines become pipelined requests.

    line of an export      RESTORE if its id is a UUID, otherwise CREATE
    line of plain content  CREATE, unless a snippet has its key
    name or key in use     compared with that snippet (`existing`)
    bonds                  after all snippets

A dry run uses RESTORE with the flag DRY_RUN, with a synthetic id for a line that would be created.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

from reed.cli.importing.existing import (
    ImportLine,
    WantedBond,
    bond_requests,
    existing_bonds,
    existing_snippet,
    update_request,
)
from reed.cli.importing.plain import Keys, Naming, NumberedLines
from reed.cli.output import Output, print_error
from reed.cli.progress import ProgressBar
from reed.client import Client, Request
from reed.errors import CallError, Conflict, FileError, Malformed, PermissionDenied
from reed.figures import plural
from reed.wire import jsonl
from reed.wire.codes import Command
from reed.wire.json_spans import exact
from reed.wire.registry import RegistryDefine
from reed.wire.snippets import Record, RestoreFlag, SnippetCreate, SnippetRestore, SnippetWritten
from reed.wire.structs import REF, pack_text

MAX_PRINTED = 20  # of each kind
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_BATCH = 256
_OUTCOMES = {201: "snippets", 204: "updated", 200: "unchanged"}  # of SNIPPET_RESTORE


class Problems:
    """Rejected lines and warnings; the first of each are printed at once."""

    unit = "line"

    def __init__(self, path: str, progress: ProgressBar) -> None:
        self.path = path
        self.rejected: list[FileError] = []
        self.warnings: list[FileError] = []
        self._progress = progress

    def reject(self, number: int, error: Exception) -> None:
        column, hint = 0, ""
        if isinstance(error, json.JSONDecodeError):
            text, column = f"not JSON: {error.msg}", error.colno
            if error.pos >= len(error.doc):  # ends within the value
                hint = "expected a whole JSON object in each line"
        elif isinstance(error, UnicodeDecodeError):
            text, column = "not UTF-8", error.start + 1
        elif isinstance(error, RecursionError):
            text = "JSON: nested too deeply"
        else:
            text = str(error)
        self._add(self.rejected, self.located(number, text, column, hint))

    def warn(self, number: int, text: str) -> None:
        self._add(self.warnings, self.located(number, f"warning: {text}"))

    def located(self, number: int, text: str, column: int = 0, hint: str = "") -> FileError:
        return FileError(self.path, text, line=number, column=column, hint=hint)

    def as_json(self, problem: FileError) -> dict[str, object]:
        return {"line": problem.line, "column": problem.column, "error": problem.message}

    def note(self, text: str) -> None:
        self._print(f"{self.path}: {text}")

    def print_rest(self) -> None:
        for problems, what in ((self.rejected, f"rejected {self.unit}"), (self.warnings, "warning")):
            if len(problems) > MAX_PRINTED:
                self.note(f"{plural(len(problems) - MAX_PRINTED, f'more {what}')}; --json lists all")

    def _add(self, problems: list[FileError], problem: FileError) -> None:
        problems.append(problem)
        if len(problems) <= MAX_PRINTED:
            self._print(str(problem))

    def _print(self, text: str) -> None:
        self._progress.clear()
        print_error(text)


class Import:
    """`new_ids`: create copies; the file's ids only connect its bonds."""

    def __init__(
        self,
        core: Client,
        path: str,
        progress: ProgressBar,
        *,
        problems: Problems | None = None,
        update: bool = False,
        dry_run: bool = False,
        new_ids: bool = False,
    ) -> None:
        self.core = core
        self.progress = progress
        self.problems = problems or Problems(path, progress)
        self.counts = {"snippets": 0, "updated": 0, "unchanged": 0, "types": 0, "bonds": 0}
        self.processed = 0  # the last line with a response
        self.dry_run = dry_run
        self.new_types: set[str] = set()  # that a dry run does not define
        self._update = update
        self._new_ids = new_ids
        self._existing: list[ImportLine] = []
        self._bonds: list[tuple[int, jsonl.Line]] = []
        self.refs: dict[str, str] = {}  # id in the file -> ref in the store, where they differ
        self._types: dict[str, bytes] | None = None
        self._claimed_names: dict[str, int] = {}  # dry run: name -> line

    def run(self, requests: Iterator[Request]) -> None:
        for request, response in self.core.pipelined(requests):
            self._handle(request.tag, response)
            self.processed = request.tag.number
            if len(self._existing) >= _BATCH:
                self._update_existing()
        self._update_existing()
        self.write_bonds(self._bonds_of_lines())

    def write_bonds(self, wanted: list[WantedBond]) -> None:
        for request, response in self.core.pipelined(self._bond_requests(wanted)):
            if request.command == Command.SCHEMA_BOND or isinstance(response, CallError):
                self._handle(request.tag, response)

    def _handle(self, source: ImportLine, response: bytes | CallError) -> None:
        if isinstance(response, PermissionDenied) and source.kind == "snippet":
            raise response  # every further line would fail too
        if isinstance(response, CallError):
            if isinstance(response, Conflict) and source.kind == "snippet" and source.ref:
                self._existing.append(source._replace(cause=response))
            else:
                self.problems.reject(source.number, response)
            return
        if source.kind != "snippet":
            self.counts[f"{source.kind}s"] += 1
            return
        written = SnippetWritten.unpack(response)
        self.counts[_OUTCOMES.get(written.status, "snippets")] += 1
        if written.error:
            self.problems.warn(source.number, written.error)
        if source.old_id and source.old_id != written.snippet_id and not self.dry_run:
            self.refs[source.old_id] = written.snippet_id

    def _update_existing(self) -> None:
        """On new connections, because self.core is within a pipeline."""
        lines, self._existing = self._existing, []
        if not lines:
            return
        path, timeout = self.core.path, self.core.timeout
        with Client(path, timeout) as reader, Client(path, timeout) as writer:
            for request, response in writer.pipelined(self._update_requests(reader, lines)):
                if isinstance(response, CallError):
                    self.problems.reject(request.tag.number, response)
                else:
                    self.counts["updated"] += 1

    def _update_requests(self, reader: Client, lines: list[ImportLine]) -> Iterator[Request]:
        reads = (Request(Command.SNIPPET_GET, pack_text(line.ref, REF.size), line) for line in lines)
        for read, response in reader.pipelined(reads):
            line = read.tag
            try:
                record = existing_snippet(line, response)
                if line.old_id and line.old_id != record.id:
                    self.refs[line.old_id] = record.id
                request = update_request(record, line, update=self._update, dry_run=self.dry_run)
            except (CallError, ValueError) as error:
                self.problems.reject(line.number, error)
                continue
            if request is None:
                self.counts["unchanged"] += 1
            else:
                yield request

    def export_requests(self, lines: NumberedLines) -> Iterator[Request]:
        for number, line in lines:
            try:
                request = self._request(number, jsonl.read(line))
            except (ValueError, Malformed, RecursionError) as error:
                self.problems.reject(number, error)
                continue
            if request is not None:
                yield request

    def _request(self, number: int, line: jsonl.Line) -> Request | None:
        kind = line.text("kind", default="snippet" if line.json else "?")
        if kind == "bond":
            self._bonds.append((number, line))
            return None
        if kind == "type":
            return self._type_request(number, line)
        if kind != "snippet":
            raise Malformed(
                f"unknown kind {kind!r}, expected type, snippet or bond", hint="--type NAME imports plain content"
            )
        name, snippet_type = line.text("name", default=""), line.text("type")
        source = ImportLine(number, kind, name, line.text("id", default=""), snippet_type, line.json)
        if self._new_ids or _UUID.fullmatch(source.old_id) is None:
            return self._create(source)
        return self._restore(source, jsonl.record(line), RestoreFlag.ACCEPT_UNFIT)

    def _restore(self, source: ImportLine, record: Record, flags: int) -> Request | None:
        if self.dry_run:
            flags |= RestoreFlag.DRY_RUN
            self._claim_name(source)
            if source.snippet_type in self.new_types:  # the core cannot check it
                self.counts["snippets"] += 1
                return None
        if self._update:
            flags |= RestoreFlag.OVERWRITE
        return Request(Command.SNIPPET_RESTORE, SnippetRestore(flags, record).pack(), source)

    def _create(self, source: ImportLine) -> Request | None:
        if not self.dry_run:
            payload = SnippetCreate(source.snippet_type, source.ref, source.content).pack()
            return Request(Command.SNIPPET_CREATE, payload, source)
        now = time.time_ns() // 1000
        record = Record(_synthetic_id(), source.snippet_type, source.ref, 1, now, now, source.content)
        return self._restore(source, record, 0)

    def _claim_name(self, source: ImportLine) -> None:
        """Detect duplicate names, which in a dry run the core cannot."""
        before = self._claimed_names.setdefault(source.ref, source.number) if source.ref else source.number
        if before != source.number:
            raise Malformed(f"duplicate name {source.ref!r}: line {before} has it too")

    def _type_request(self, number: int, line: jsonl.Line) -> Request | None:
        if self._types is None:
            with Client(self.core.path, self.core.timeout) as core:  # self.core is within a pipeline
                self._types = {name: bytes(text) for name, text in core.registry_list()}
        name = line.text("name")
        existing = self._types.get(name)
        if existing is not None and exact(existing) == exact(line.json):
            return None
        if existing is not None and not self._update:
            raise Malformed(f"type {name!r} exists with another definition", hint="--update redefines it")
        if self.dry_run:
            self.counts["types"] += 1
            self.new_types.add(name)
            return None
        return Request(
            Command.REGISTRY_DEFINE, RegistryDefine(name, line.json).pack(), ImportLine(number, "type", name)
        )

    def _bonds_of_lines(self) -> list[WantedBond]:
        wanted: list[WantedBond] = []
        for number, line in self._bonds:
            try:
                parent, child = (self.refs.get(line.text(end), line.text(end)) for end in ("parent", "child"))
                wanted.append(WantedBond(number, jsonl.bond(line, parent, child)))
            except Malformed as error:
                self.problems.reject(number, error)
        return wanted

    def _bond_requests(self, wanted: list[WantedBond]) -> Iterator[Request]:
        existing = existing_bonds(self.core, wanted)
        for each in wanted:
            try:
                for command, payload in bond_requests(each, existing, update=self._update):
                    if not self.dry_run:
                        yield Request(command, payload, ImportLine(each.line, "bond"))
                    elif command == Command.SCHEMA_BOND:
                        self.counts["bonds"] += 1
            except CallError as error:
                self.problems.reject(each.line, error)

    def plain_requests(
        self, lines: NumberedLines, snippet_type: str, naming: Naming, keys: Keys | None
    ) -> Iterator[Request]:
        for number, line in lines:
            try:
                content = exact(line)
                found = keys.find(number, content) if keys else ""
                name = "" if found else naming.name(number, content)
                request = self.plain_request(ImportLine(number, "snippet", name, "", snippet_type, line), found)
            except (ValueError, Malformed, RecursionError) as error:
                self.problems.reject(number, error)
                continue
            if request is not None:
                yield request

    def plain_request(self, source: ImportLine, found: str) -> Request | None:
        """None for an existing snippet, whose id is `found`: it is compared after the requests."""
        if not found:
            return self._create(source)
        self._existing.append(source._replace(ref=found))
        return None

    def summary(self) -> str:
        counts, problems = self.counts, self.problems
        parts = [f"{plural(counts['snippets'], 'snippet')} imported"]
        parts += [f"{counts[what]} {what}" for what in ("updated", "unchanged", "deleted") if counts.get(what)]
        parts += [plural(counts[f"{thing}s"], thing) for thing in ("type", "bond") if counts[f"{thing}s"]]
        if problems.warnings:
            parts.append(plural(len(problems.warnings), "warning"))
        if problems.rejected:
            parts.append(f"{plural(len(problems.rejected), problems.unit)} rejected")
        return ("dry run, nothing written; expected: " if self.dry_run else "") + ", ".join(parts)

    def report(self, output: Output, seconds: float, more: Mapping[str, Any], **counts: int) -> int:
        """Print what was done; the exit code. `more`: further members of the JSON object; `counts`: further rows."""
        problems = self.problems
        warnings, rejected = ([*map(problems.as_json, each)] for each in (problems.warnings, problems.rejected))
        value = {**self.counts, "warnings": warnings, "refused": rejected, **more}
        value = {"dry_run": True, **value} if self.dry_run else value
        rows = {**self.counts, "warnings": len(warnings), "refused": len(rejected), **counts}
        output.show(value, f"{self.summary()}, in {seconds:.2f} s", rows.items())
        if rejected and not output.as_json and not output.is_terminal:
            problems.note(self.summary())
        return 1 if rejected else 0


def _synthetic_id() -> str:
    """A UUIDv7 older than any real one."""
    digits = os.urandom(16).hex()
    return f"00{digits[2:8]}-{digits[8:12]}-7{digits[13:16]}-8{digits[17:20]}-{digits[20:32]}"
