"""`reed import --update`: lines whose names are in use change the snippets that have them.

    GET what is there ── the same bytes: unchanged ── else the merge patch from there to the line ── UPDATE

A merge patch takes a field away with null, so content that itself holds a null in an object cannot be written by one:
such a line is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from reed.client import Client, Request
from reed.errors import CallError, Conflict, Malformed
from reed.wire.codes import Command
from reed.wire.layouts import REF, pack_text
from reed.wire.snippets import Record, SnippetGot, SnippetUpdate


class Change(NamedTuple):
    """A line whose name is in use."""

    line: int
    name: str
    snippet_type: str
    content: bytes


Told = Callable[[Change, str | Exception], None]


def update(core: Client, changes: Sequence[Change], told: Told) -> None:
    """Change the snippets of these names; `told` hears of each: "updated", "unchanged" or why not."""
    if not changes:
        return
    for request, answer in core.pipelined(_writes(core, changes, told)):
        told(request.tag, answer if isinstance(answer, CallError) else "updated")


def _writes(core: Client, changes: Sequence[Change], told: Told) -> Iterator[Request]:
    """The updates. What is there is read over a connection of its own, as the other is under way."""
    reads = (Request(Command.SNIPPET_GET, pack_text(change.name, REF.size), change) for change in changes)
    with Client(core.path, core.timeout) as reader:
        for request, answer in reader.pipelined(reads):
            change = request.tag
            try:
                if isinstance(answer, CallError):
                    raise answer
                record = SnippetGot.unpack(answer).record
                patch = _patch_of(record, change)
            except (CallError, ValueError) as error:
                told(change, error)
                continue
            if patch is None:
                told(change, "unchanged")
            else:
                yield Request(Command.SNIPPET_UPDATE, SnippetUpdate(record.id, record.version, patch).pack(), change)


def _patch_of(record: Record, change: Change) -> bytes | None:
    """The patch, or None when there is nothing to change."""
    if record.snippet_type != change.snippet_type:
        raise Conflict(f"the name {change.name!r} is that of a {record.snippet_type}, not of a {change.snippet_type}")
    if bytes(record.content) == change.content:
        return None
    old, new = json.loads(bytes(record.content)), json.loads(change.content)
    if old == new:
        return None
    return json.dumps(merge_patch(old, new), ensure_ascii=False, separators=(",", ":")).encode()


def merge_patch(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The JSON Merge Patch (RFC 7396) that makes `new` of `old`; Malformed when there is none."""
    patch: dict[str, Any] = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if key in old and before == value:
            continue
        if isinstance(before, dict) and isinstance(value, dict):
            patch[key] = merge_patch(before, value)
        else:
            _check_writable(key, value)
            patch[key] = value
    return patch


def _check_writable(key: str, value: Any) -> None:
    if value is None:
        raise Malformed(f"{key!r} is null, which an update takes for its removal", hint="delete the snippet first")
    if isinstance(value, dict):
        for inner, each in value.items():
            _check_writable(f"{key}.{inner}", each)
