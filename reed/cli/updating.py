"""`reed import --update`: lines whose names are in use change the snippets that have them.

    GET what is there ── the same bytes: unchanged ── else the merge patch from there to the line ── UPDATE

A merge patch takes a field away with null, so content that itself holds a null in an object cannot be written by one:
such a line is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from reed.client import Request
from reed.errors import CallError, Conflict, Malformed
from reed.wire.codes import Command
from reed.wire.layouts import REF, pack_text
from reed.wire.snippets import Record, SnippetGot, SnippetUpdate

if TYPE_CHECKING:
    from reed.cli.importing import Import


def update(run: Import) -> None:
    """Change the snippets whose names `run.taken` has."""
    written = run.core.pipelined(_writes(run))
    for request, answer in written:
        if isinstance(answer, CallError):
            run.refuse(request.tag.number, answer)
        else:
            run.counts["updated"] += 1


def _writes(run: Import) -> Iterator[Request]:
    """The updates. What is there is read over a connection of its own, as the other is under way."""
    from reed.client import Client

    reads = (Request(Command.SNIPPET_GET, pack_text(source.name, REF.size), source) for source in run.taken)
    with Client(run.core.path, run.core.timeout) as reader:
        for request, answer in reader.pipelined(reads):
            source = request.tag
            try:
                if isinstance(answer, CallError):
                    raise answer
                record = SnippetGot.unpack(answer).record
                patch = _patch_of(record, source.snippet_type, source.content)
            except (CallError, ValueError) as error:
                run.refuse(source.number, error)
                continue
            if patch is None:
                run.counts["unchanged"] += 1
            else:
                payload = SnippetUpdate(record.id, record.version, patch).pack()
                yield Request(Command.SNIPPET_UPDATE, payload, source)


def _patch_of(record: Record, snippet_type: str, content: bytes) -> bytes | None:
    """The patch, or None when there is nothing to change."""
    if record.snippet_type != snippet_type:
        raise Conflict(f"the name {record.semantic_name!r} is that of a {record.snippet_type}, not of a {snippet_type}")
    if bytes(record.content) == content:
        return None
    old, new = json.loads(bytes(record.content)), json.loads(content)
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
