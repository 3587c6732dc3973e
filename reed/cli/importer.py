"""One run of `reed import`: lines become requests, many under way at once, and answers are counted.

    a line of an export    its snippet has an id ── RESTORE    none, or one that is no UUID ── CREATE
    a plain content        found by its key ── changes         none ── CREATE
    its name is in use     changes: the same content is left alone, another one is written with `update`
    bonds                  after all snippets (see `bonding`)

What an answer of success has come for is on the disk. A bad line costs itself alone. With `dry_run` nothing is written:
RESTORE has a flag for that, and what would be created is tried under an id that is made up.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from typing import NamedTuple

from reed.cli import bonding
from reed.cli.bonding import Wanted
from reed.cli.import_update import Change, update
from reed.cli.plain_lines import Keys, Naming
from reed.cli.problems import Problems
from reed.cli.progress import Progress
from reed.client import Client, Request
from reed.errors import CallError, Conflict, Malformed, PermissionDenied
from reed.wire import jsonl
from reed.wire.codes import Command
from reed.wire.json_spans import exact
from reed.wire.registry import RegistryDefine
from reed.wire.snippets import Record, RestoreFlag, SnippetCreate, SnippetRestore, SnippetWritten

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_CHANGES = 256  # that are looked at together
_OUTCOMES = {201: "snippets", 204: "updated", 200: "unchanged"}  # of SNIPPET_RESTORE


class Source(NamedTuple):
    """Where a request came from."""

    number: int  # of the line
    kind: str  # "snippet", "type", "bond"
    name: str = ""
    old_id: str = ""  # in the file
    snippet_type: str = ""
    content: bytes = b""


class Import:
    """`update`: what is here otherwise becomes what the file says. `new_ids`: the file's ids only tie its bonds."""

    def __init__(
        self,
        core: Client,
        path: str,
        progress: Progress,
        *,
        update: bool = False,
        dry_run: bool = False,
        new_ids: bool = False,
    ) -> None:
        self.core = core
        self.progress = progress
        self.problems = Problems(path, progress)
        self.counts = {"snippets": 0, "updated": 0, "unchanged": 0, "types": 0, "bonds": 0}
        self.through = 0  # the line up to which all have an answer
        self._update = update
        self._dry_run = dry_run
        self._new_ids = new_ids
        self._changes: list[Change] = []
        self._bonds: list[tuple[Source, jsonl.Line]] = []
        self._refs: dict[str, str] = {}  # the ref here of an id in the file, where it is another
        self._types: dict[str, bytes] | None = None
        self._new_types: set[str] = set()  # that a dry run would define
        self._names: dict[str, int] = {}  # of a dry run: the lines that would have taken them

    def run(self, requests: Iterator[Request]) -> None:
        """Send the requests of all lines, then what had to wait for them."""
        for request, answer in self.core.pipelined(requests):
            self._take(request.tag, answer)
            self.through = request.tag.number
            if len(self._changes) >= _CHANGES:
                self._change()
        self._change()
        for request, answer in self.core.pipelined(self._bond_requests()):
            if request.command == Command.SCHEMA_BOND or isinstance(answer, CallError):
                self._take(request.tag, answer)

    def _take(self, source: Source, answer: bytes | CallError) -> None:
        if isinstance(answer, PermissionDenied) and source.kind == "snippet":
            raise answer  # the next line would hear the same
        if isinstance(answer, CallError):
            if isinstance(answer, Conflict) and source.kind == "snippet" and source.name:
                change = Change(source.number, source.name, source.snippet_type, source.content, source.old_id, answer)
                self._changes.append(change)
            else:
                self.problems.refuse(source.number, answer)
            return
        if source.kind != "snippet":
            self.counts[f"{source.kind}s"] += 1
            return
        written = SnippetWritten.unpack(answer)
        self.counts[_OUTCOMES.get(written.status, "snippets")] += 1
        if written.error:
            self.problems.warn(source.number, written.error)
        if source.old_id and source.old_id != written.snippet_id and not self._dry_run:
            self._refs[source.old_id] = written.snippet_id

    # Lines whose snippet is here.

    def _change(self) -> None:
        changes, self._changes = self._changes, []
        if changes:
            update(self.core, changes, self._note_change, self._note_met, write=self._update, dry_run=self._dry_run)

    def _note_change(self, change: Change, outcome: str | Exception) -> None:
        if isinstance(outcome, str):
            self.counts[outcome] += 1
        else:
            self.problems.refuse(change.line, outcome)

    def _note_met(self, change: Change, record: Record) -> None:
        """Bonds of the file go to the snippet that is here."""
        if change.old_id and change.old_id != record.id:
            self._refs[change.old_id] = record.id

    # Lines of an export.

    def export_requests(self, file: Iterator[tuple[int, bytes]]) -> Iterator[Request]:
        for number, line in file:
            try:
                request = self._request(number, jsonl.read(line))
            except (ValueError, Malformed, RecursionError) as error:
                self.problems.refuse(number, error)
                continue
            if request is not None:
                yield request

    def _request(self, number: int, line: jsonl.Line) -> Request | None:
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
        source = Source(number, kind, name, line.text("id", default=""), snippet_type, line.json)
        if self._new_ids or _UUID.fullmatch(source.old_id) is None:
            return self._create(source)
        return self._restore(source, jsonl.record(line), RestoreFlag.ACCEPT_UNFIT)

    def _restore(self, source: Source, record: Record, flags: int) -> Request | None:
        if self._dry_run:
            flags |= RestoreFlag.DRY_RUN
            self._claim_name(source)
            if source.snippet_type in self._new_types:  # the core cannot try it before the type is there
                self.counts["snippets"] += 1
                return None
        if self._update:
            flags |= RestoreFlag.OVERWRITE
        return Request(Command.SNIPPET_RESTORE, SnippetRestore(flags, record).pack(), source)

    def _create(self, source: Source) -> Request | None:
        if not self._dry_run:
            payload = SnippetCreate(source.snippet_type, source.name, source.content).pack()
            return Request(Command.SNIPPET_CREATE, payload, source)
        now = time.time_ns() // 1000
        record = Record(_made_up_id(), source.snippet_type, source.name, 1, now, now, source.content)
        return self._restore(source, record, 0)

    def _claim_name(self, source: Source) -> None:
        """Two lines of a file cannot have one name; in a dry run the core does not know of the first."""
        before = self._names.setdefault(source.name, source.number) if source.name else source.number
        if before != source.number:
            raise Malformed(f"line {before} has the name {source.name!r} too")

    def _type_request(self, number: int, line: jsonl.Line) -> Request | None:
        """A type that is defined alike is left alone, one that is defined otherwise is not overwritten unasked."""
        if self._types is None:
            with Client(self.core.path, self.core.timeout) as core:  # the other connection is under way
                self._types = {name: bytes(text) for name, text in core.registry_list()}
        name = line.text("name")
        here = self._types.get(name)
        if here is not None and exact(here) == exact(line.json):
            return None
        if here is not None and not self._update:
            raise Malformed(f"type {name!r} is defined otherwise here", hint="--update defines it anew")
        if self._dry_run:
            self.counts["types"] += 1
            self._new_types.add(name)
            return None
        return Request(Command.REGISTRY_DEFINE, RegistryDefine(name, line.json).pack(), Source(number, "type", name))

    def note_type(self, name: str) -> None:
        """A type that is not defined here: a dry run takes it as if it were."""
        if self._dry_run:
            self._new_types.add(name)

    def _bond_requests(self) -> Iterator[Request]:
        wanted: list[Wanted] = []
        for source, line in self._bonds:
            try:
                parent, child = (self._refs.get(line.text(end), line.text(end)) for end in ("parent", "child"))
                wanted.append(Wanted(source.number, jsonl.bond(line, parent, child)))
            except Malformed as error:
                self.problems.refuse(source.number, error)
        here = bonding.read(self.core, wanted)
        for each in wanted:
            try:
                for command, payload in bonding.requests(each, here, update=self._update):
                    if not self._dry_run:
                        yield Request(command, payload, Source(each.line, "bond"))
                    elif command == Command.SCHEMA_BOND:
                        self.counts["bonds"] += 1
            except CallError as error:
                self.problems.refuse(each.line, error)

    # Lines that are plain contents.

    def plain_requests(
        self, file: Iterator[tuple[int, bytes]], kind: str, naming: Naming, keys: Keys | None
    ) -> Iterator[Request]:
        for number, line in file:
            try:
                content = exact(line)
                found = keys.find(number, content) if keys else ""
                if found:
                    self._changes.append(Change(number, found, kind, line))
                    continue
                request = self._create(Source(number, "snippet", naming.name(number, content), "", kind, line))
            except (ValueError, Malformed, RecursionError) as error:
                self.problems.refuse(number, error)
                continue
            if request is not None:
                yield request


def _made_up_id() -> str:
    """An id as the core makes them, of a time before there was any."""
    digits = os.urandom(16).hex()
    return f"00{digits[2:8]}-{digits[8:12]}-7{digits[13:16]}-8{digits[17:20]}-{digits[20:32]}"
