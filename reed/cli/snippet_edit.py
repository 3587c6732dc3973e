"""`reed snippet edit`: a snippet in the editor.

    get ── file ── editor ──┬─ unchanged ───────────────────────────── nothing is written, the file is removed
             ▲              ├─ invalid: the errors with their lines ── again? ─┬─ yes ─┐
             └──────────────┼──────────────────────────────────────────────────┼───────┘
                            │                                                  └─ no: the file is kept and named
                            ├─ another version by now: the differences ─────── the file is kept and named
                            └─ update ──────────────────────────────────────── written, the file is removed

Only the members that differ are sent, as a merge patch, so that all others stay byte for byte.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from difflib import unified_diff

from reed.cli.options import connect, ref, without_bom
from reed.cli.output import Output, print_error
from reed.cli.parse import Args
from reed.errors import Conflict, Invalid, Malformed, ReedError
from reed.text import safe_lines
from reed.wire.exact_json import dumps, load_object, patch
from reed.wire.json_spans import members
from reed.wire.snippets import Record

_INDENT = 2  # of the text in the editor
_DEFAULT_EDITORS = ("editor", "nano", "vi")
_PLACE = re.compile(r"\$((?:\.[^\s.\[\]:]+|\[\d+\])*): ")
_BEFORE_ITEM = re.compile(r"[ \t\n\r,]*")
_SCAN = json.JSONDecoder().raw_decode


def edit(args: Args, output: Output) -> None:
    snippet, editor = ref(args.arg("REF")), _editor()
    with connect(args) as core:
        draft = _Draft(core.snippet_get(snippet))
    try:
        version = _edit(args, draft, editor, may_ask=not output.as_json)
    except (ReedError, OSError, KeyboardInterrupt) as error:
        raise draft.kept(error) from None
    draft.remove()
    old = draft.record
    text = f"{old.id}  version {version}" if version != old.version else "unchanged"
    output.show({"id": old.id, "version": version, "changed": version != old.version}, text, [[old.id]])


class _Draft:
    """The file that the editor gets."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.base = load_object(bytes(record.content))
        name = (record.semantic_name or record.id).replace("/", "-")
        fd, self.path = tempfile.mkstemp(prefix=f"reed-{name}-", suffix=".json")  # mode 0600
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(dumps(self.base, _INDENT) + "\n")
        self.begun = self.read()

    def read(self) -> bytes:
        """By its path: an editor may replace the file."""
        with open(self.path, "rb") as file:
            return file.read()

    def remove(self) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self.path)

    def kept(self, error: ReedError | OSError | KeyboardInterrupt) -> BaseException:
        """The error, with the place of the text; if nothing was typed the file is removed."""
        with suppress(OSError):
            if self.read() == self.begun:
                self.remove()
                return error
        place = f"your text is in {self.path}"
        if isinstance(error, ReedError):
            error.hint = f"{error.hint}; {place}" if error.hint else place
        else:
            print_error(place)
        return error


def _edit(args: Args, draft: _Draft, editor: list[str], *, may_ask: bool) -> int:
    """Returns the version; that of the record if nothing was written."""
    record, refused = draft.record, draft.begun
    while True:
        _run(editor, draft.path)
        text = draft.read()
        if text == refused:
            if text == draft.begun:
                return record.version
            raise ReedError("nothing was written: the text is the same as before")
        try:
            changed = patch(draft.base, load_object(without_bom(text)))
            if changed:
                with connect(args) as core:
                    core.snippet_update(record.id, dumps(changed).encode(), record.version)
            return record.version + bool(changed)
        except (Malformed, Invalid, Conflict) as error:
            if isinstance(error, Conflict):
                _check_version(args, draft, text, error)
            elif isinstance(error, Invalid):
                error.message = with_lines(error.message, str(text, "utf-8-sig"))
            if not (may_ask and sys.stdin is not None and sys.stdin.isatty()):
                raise
            print_error(str(error))
            if not _again():
                raise ReedError("nothing was written") from None
        refused = text


def _check_version(args: Args, draft: _Draft, text: bytes, conflict: Conflict) -> None:
    """Prints what changed and raises the conflict if the snippet has another version by now. Otherwise it is about
    something in the text, such as a unique field."""
    old = draft.record
    with connect(args) as core:
        now = core.snippet_get(old.id)
    if now.version == old.version:
        return
    theirs = dumps(load_object(bytes(now.content)), _INDENT)
    _print_difference(dumps(draft.base, _INDENT), theirs, f"version {old.version}", f"version {now.version}")
    _print_difference(theirs, str(text, "utf-8-sig"), f"version {now.version}", "your text")
    name = old.semantic_name or old.id
    raise Conflict(
        f"{name} has version {now.version} by now, and you edited version {old.version}",
        hint=f"the differences are above; `reed snippet edit {name}` begins with the new version",
    ) from conflict


def _print_difference(before: str, after: str, before_name: str, after_name: str) -> None:
    lines = unified_diff(before.splitlines(), after.splitlines(), before_name, after_name, lineterm="")
    print(safe_lines("\n".join(lines)), file=sys.stderr)


def _again() -> bool:
    print("edit again? [Y/n] ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline()
    return bool(answer) and answer.strip().lower() not in {"n", "no"}


def _editor() -> list[str]:
    """$VISUAL, $EDITOR, or one that is installed. Raises ReedError."""
    given = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if given:
        try:
            return shlex.split(given)
        except ValueError as error:
            raise ReedError(
                f"cannot read $VISUAL or $EDITOR: {error}", hint="for example: EDITOR='code --wait'"
            ) from None
    found = next((each for each in _DEFAULT_EDITORS if shutil.which(each)), None)
    if found is None:
        raise ReedError("no editor", hint="set EDITOR, for example: EDITOR=nano reed snippet edit REF")
    return [found]


def _run(editor: list[str], path: str) -> None:
    try:
        status = subprocess.run([*editor, path], check=False).returncode
    except OSError as error:
        raise ReedError(f"cannot run the editor {editor[0]}: {error.strerror}", hint="set VISUAL or EDITOR") from None
    if status:
        raise ReedError(f"the editor {editor[0]} ended with status {status}; nothing was written")


def with_lines(message: str, text: str) -> str:
    """A message of the core about the text, with the lines of the places that it names.

    $.tags[1]: 5 is not of type "string"    ->    $.tags[1] (line 7): 5 is not of type "string"
    """
    lines = {place: text.count("\n", 0, at) + 1 for place, at in _places(text, 0, "")}

    def with_line(found: re.Match[str]) -> str:
        line = lines.get(found[1])
        return f"${found[1]} (line {line}): " if line else found[0]

    return _PLACE.sub(with_line, message)


def _places(text: str, at: int, place: str) -> Iterator[tuple[str, int]]:
    """Each value at `at` and below, with its offset. The text must be valid JSON."""
    at = _after(text, at)
    yield place, at
    if text[at] == "{":
        for member in members(text, at):
            inner = _places(text, member.begin, f"{place}.{member.key}")
            next(inner)
            yield f"{place}.{member.key}", member.start
            yield from inner
    elif text[at] == "[":
        at = _after(text, at + 1)
        number = 0
        while text[at] != "]":
            yield from _places(text, at, f"{place}[{number}]")
            at = _after(text, _SCAN(text, at)[1])
            number += 1


def _after(text: str, at: int) -> int:
    found = _BEFORE_ITEM.match(text, at)
    return found.end() if found else at
