"""`reed import FOLDER --markdown`: the pages of a folder are written as lines of plain content are.

    path known         the snippet of the type with this `path` is compared, and updated
    path new           created; its name is its path, where that is a valid one
    name in use        by a snippet of the type: it becomes the page; of another type: the page has no name
    tree               a bond from the page of a folder to each page in it, with the page's place as weight
    path gone          a snippet of the type with `path` and `file` but without a page; --prune deletes it

Nothing is deleted if a file was rejected: the path of its page may not be the one that was expected.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reed.cli.importing.existing import ImportLine, WantedBond
from reed.cli.importing.markdown_pages import Folder, Page, read_folder
from reed.cli.importing.plain import infer, show_type
from reed.cli.importing.run import Import, Problems
from reed.cli.options import connect
from reed.cli.output import Output
from reed.cli.parse import Args
from reed.cli.progress import ProgressBar
from reed.client import Request
from reed.errors import CallError, Conflict, FileError, NotFound, ReedError
from reed.figures import plural
from reed.wire.codes import Command
from reed.wire.identifiers import check, is_semantic_name
from reed.wire.json_spans import exact
from reed.wire.schema import SchemaBond
from reed.wire.snippets import SnippetDelete, SnippetGot
from reed.wire.structs import REF, pack_text

DEFAULT_TYPE = "page"
_SAMPLE = 100  # pages from which the fields of a new type are inferred


def import_folder(args: Args, output: Output) -> int:
    folder, snippet_type = Path(args.arg("FILE")), check("type name", args.text("--type") or DEFAULT_TYPE)
    if not folder.is_dir():
        hint = "reed import FOLDER --markdown"
        raise ReedError(f"{folder} is {'no folder' if folder.exists() else 'not there'}", hint=hint)
    since = time.monotonic()
    with connect(args) as core, ProgressBar(output, "importing") as progress:
        problems = _FileProblems(str(folder), progress)
        run = Import(core, str(folder), progress, problems=problems, update=True, dry_run=args.has("--dry-run"))
        pages = _MarkdownImport(run, problems, snippet_type, output)
        try:
            pages.write(folder)
            gone = pages.prune(delete=args.has("--prune"))
        except (ReedError, KeyboardInterrupt):
            problems.print_rest()
            problems.note(f"interrupted; to continue, run the same import again: {run.summary()}")
            raise
    problems.print_rest()
    if unnamed := pages.unnamed:
        why = "their paths are no valid names of at most 31 bytes"
        problems.note(f"{plural(len(unnamed), 'page')} without a name, first {unnamed[0]}: {why}; find them by `path`")
    if gone:
        problems.note(f"{plural(len(gone), 'page')} without a file, first {gone[0]}; --prune deletes such pages")
    return run.report(output, time.monotonic() - since, {"unnamed": unnamed, "gone": gone}, gone=len(gone))


class _FileProblems(Problems):
    """Problems by the number of a page, from 1, instead of a line."""

    unit = "file"

    def __init__(self, path: str, progress: ProgressBar) -> None:
        super().__init__(path, progress)
        self.pages: list[Page] = []

    def located(self, number: int, text: str, column: int = 0, hint: str = "") -> FileError:  # noqa: ARG002
        return FileError(str(Path(self.path, self.pages[number - 1].file)), text, hint=hint)

    def as_json(self, problem: FileError) -> dict[str, object]:
        return {"file": problem.path, **super().as_json(problem)}

    def reject_file(self, error: FileError) -> None:
        self._add(self.rejected, error)

    def warn_file(self, error: FileError) -> None:
        self._add(self.warnings, error)


class _MarkdownImport:
    def __init__(self, run: Import, problems: _FileProblems, snippet_type: str, output: Output) -> None:
        self.unnamed: list[str] = []  # paths
        self._run = run
        self._problems = problems
        self._type = snippet_type
        self._output = output
        self._stored: dict[str, list[str]] = {}  # path -> ids; more than one only if the type was defined otherwise
        self._imported: set[str] = set()  # paths of the stored pages that came from files
        self._taken: dict[str, str] = {}  # name -> the other type that has it
        self._folder = Folder([], set())

    def write(self, folder: Path) -> None:
        run, problems = self._run, self._problems
        self._folder = read_folder(
            folder,
            problems.reject_file,
            problems.warn_file,
            lambda number: run.progress.update(number, number),
        )
        problems.pages = self._folder.pages
        if self._define():
            self._read_stored()
        self._find_names()
        run.run(self._requests())
        run.write_bonds(self._bonds())

    def prune(self, *, delete: bool) -> list[str]:
        """Returns the paths of pages whose files have gone."""
        present = {page.path for page in self._folder.pages} | self._folder.rejected
        gone = sorted(self._imported - present)
        if not gone or not delete:
            return gone
        if self._problems.rejected:
            self._problems.note("--prune deleted nothing, because files were rejected")
            return gone
        if self._run.dry_run:
            self._run.counts["deleted"] = len(gone)
            return []
        self._run.counts["deleted"] = 0
        requests = (
            Request(Command.SNIPPET_DELETE, SnippetDelete(snippet_id, cascade=True).pack(), path)
            for path in gone
            for snippet_id in self._stored[path]
        )
        for request, response in self._run.core.pipelined(requests):
            if not isinstance(response, CallError):
                self._run.counts["deleted"] += 1
            elif not isinstance(response, NotFound):  # deleted meanwhile
                self._problems.reject_file(FileError(self._problems.path, f"{request.tag}: {response}"))
        return []

    def _define(self) -> bool:
        """Define the type unless it exists; returns whether it does."""
        run = self._run
        try:
            run.core.registry_get(self._type)
        except NotFound:
            definition = infer([page.content for page in self._folder.pages[:_SAMPLE]], self._problems.path)
            definition["searchable"].pop("file", None)
            definition["unique"] = ["path"]
            run.counts["types"] += 1
            if run.dry_run:
                run.new_types.add(self._type)
                return False
            run.core.registry_define(self._type, definition)
            show_type(self._output, self._type, definition)
            return False
        return True

    def _read_stored(self) -> None:
        for record in self._run.core.snippets(self._type):
            content: Any = exact(bytes(record.content))
            path = content.get("path")
            if isinstance(path, str):
                self._stored.setdefault(path, []).append(record.id)
                if isinstance(content.get("file"), str):
                    self._imported.add(path)

    def _find_names(self) -> None:
        """The names of new pages that snippets have."""
        wanted = [page.path for page in self._folder.pages if page.path not in self._stored]
        names = [path for path in wanted if is_semantic_name(path)]
        requests = (Request(Command.SNIPPET_GET, pack_text(name, REF.size), name) for name in names)
        for request, response in self._run.core.pipelined(requests):
            if isinstance(response, (NotFound, Conflict)):  # Conflict: several ids begin so
                continue
            if isinstance(response, CallError):
                raise response
            record = SnippetGot.unpack(response).record
            if record.semantic_name == request.tag and record.snippet_type == self._type:
                self._stored[request.tag] = [record.id]
            elif record.semantic_name == request.tag:
                self._taken[request.tag] = record.snippet_type

    def _requests(self) -> Iterator[Request]:
        for number, page in enumerate(self._folder.pages, 1):
            found = self._stored.get(page.path, [])
            if len(found) > 1:
                self._problems.reject(number, Conflict(f"{len(found)} snippets have this path: {', '.join(found[:3])}"))
                continue
            name = page.path if is_semantic_name(page.path) else ""
            if not name and not found:
                self.unnamed.append(page.path)
            if name in self._taken:
                problem = f"no name, because a snippet of the type {self._taken[name]} has it: {name}"
                self._problems.warn(number, problem)
                name = ""
            source = ImportLine(number, "snippet", name, page.path, self._type, page.content)
            request = self._run.plain_request(source, found[0] if found else "")
            if request is not None:
                yield request

    def _bonds(self) -> list[WantedBond]:
        """Of the pages that were written. The parent may be an earlier page whose file was rejected now."""
        wanted = []
        places: dict[str, int] = {}
        refused = {problem.path for problem in self._problems.rejected}
        numbers = {page.path: number for number, page in enumerate(self._folder.pages, 1)}
        for page in sorted(self._folder.pages, key=lambda each: each.order):
            place = places[page.parent] = places.get(page.parent, -1) + 1
            number = numbers[page.path]
            if not page.parent or str(self._problems.located(number, "").path) in refused:
                continue
            parent, child = self._id(page.parent), self._id(page.path)
            if parent and child:
                wanted.append(WantedBond(number, SchemaBond(parent, child, place, "")))
            elif self._run.dry_run:
                self._run.counts["bonds"] += 1
            elif child:
                self._problems.warn(number, f"not in the tree, because the page {page.parent} could not be imported")
        return wanted

    def _id(self, path: str) -> str:
        return self._run.refs.get(path) or next(iter(self._stored.get(path, [])), "")
