"""Lines that mean a snippet that is here: the same content is left alone, with `--update` another one is written.

    GET what is there ── the same: unchanged ── else, with --update, the merge patch from there to the line ── UPDATE

A merge patch takes a field away with null, so content that itself holds a null in an object cannot be written by one:
such a line is refused.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from reed.client import Client, Request
from reed.errors import CallError, Conflict, Malformed, NotFound
from reed.wire.codes import Command
from reed.wire.json_spans import exact, members
from reed.wire.snippets import Record, RestoreFlag, SnippetGot, SnippetRestore, SnippetUpdate
from reed.wire.structs import REF, pack_text


class Change(NamedTuple):
    """A line whose snippet is here."""

    line: int
    ref: str  # its name or id
    snippet_type: str
    content: bytes
    old_id: str = ""  # in the file
    why: CallError | None = None  # what the core said to the line; None: it was not asked


Told = Callable[[Change, str | Exception], None]
Met = Callable[[Change, Record], None]


def update(core: Client, changes: Sequence[Change], told: Told, met: Met, *, write: bool, dry_run: bool) -> None:
    """`told` hears of each change: "updated", "unchanged" or why not; `met` of each snippet that was there.

    Connections of its own are used: the caller's may be in the middle of a pipeline.
    """
    with Client(core.path, core.timeout) as reader, Client(core.path, core.timeout) as writer:
        writes = _writes(reader, changes, told, met, write=write, dry_run=dry_run)
        for request, answer in writer.pipelined(writes):
            told(request.tag, answer if isinstance(answer, CallError) else "updated")


def _writes(
    reader: Client, changes: Sequence[Change], told: Told, met: Met, *, write: bool, dry_run: bool
) -> Iterator[Request]:
    reads = (Request(Command.SNIPPET_GET, pack_text(change.ref, REF.size), change) for change in changes)
    for request, answer in reader.pipelined(reads):
        change = request.tag
        try:
            if isinstance(answer, CallError):
                is_none = isinstance(answer, (NotFound, Conflict))  # Conflict: ids of several begin so
                raise (change.why if is_none else None) or answer
            record = SnippetGot.unpack(answer).record
            if change.ref not in (record.semantic_name, record.id):  # its id only begins so
                raise change.why or NotFound(f"no snippet {change.ref!r}")
            met(change, record)
            yield from _write(record, change, told, write=write, dry_run=dry_run)
        except (CallError, ValueError) as error:
            told(change, error)


def _write(record: Record, change: Change, told: Told, *, write: bool, dry_run: bool) -> Iterator[Request]:
    if change.old_id == record.id and change.why is not None:
        raise change.why  # it is that very snippet, in a newer version
    if record.snippet_type != change.snippet_type:
        raise Conflict(f"{change.ref!r} is here as a {record.snippet_type}, not as a {change.snippet_type}")
    if _is_same(bytes(record.content), change.content):
        told(change, "unchanged")
        return
    if not write:
        what = str(change.why) if change.why else f"{change.ref} is here with another content"
        raise Conflict(what, hint="--update changes it")
    patch = merge_patch(bytes(record.content).decode(), change.content.decode()).encode()
    if dry_run:
        now = max(time.time_ns() // 1000, record.created_at)
        then = record._replace(version=record.version + 1, updated_at=now, content=change.content)
        yield Request(Command.SNIPPET_RESTORE, SnippetRestore(RestoreFlag.DRY_RUN, then).pack(), change)
    else:
        yield Request(Command.SNIPPET_UPDATE, SnippetUpdate(record.id, record.version, patch).pack(), change)


def _is_same(old: bytes, new: bytes) -> bool:
    """Alike but for spaces and the order of keys: numbers digit by digit."""
    return old == new or bool(exact(old) == exact(new))


def merge_patch(old: str, new: str) -> str:
    """The JSON Merge Patch (RFC 7396) that makes the object `new` of `old`, its values as `new` writes them; Malformed
    when there is none."""
    before = {member.key: old[member.begin : member.end] for member in members(old)}
    parts: list[str] = []
    for member in members(new):
        text, was = new[member.begin : member.end], before.pop(member.key, None)
        if was is not None and exact(was) == exact(text):
            continue
        if was is not None and was[0] == text[0] == "{":
            text = merge_patch(was, text)
        else:
            _check_writable(member.key, member.value)
        parts.append(f"{json.dumps(member.key)}:{text}")
    parts += [f"{json.dumps(key)}:null" for key in before]
    return f"{{{','.join(parts)}}}"


def _check_writable(key: str, value: Any) -> None:
    if value is None:
        raise Malformed(f"{key!r} is null, which an update takes for its removal", hint="delete the snippet first")
    if isinstance(value, dict):
        for inner, each in value.items():
            _check_writable(f"{key}.{inner}", each)
