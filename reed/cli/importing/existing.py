"""Import lines whose snippet or bond already exists.

With `update` a snippet gets the merge patch from stored to imported content, and a bond is created again; otherwise a
difference is a Conflict. A merge patch cannot add a null to an object: such a line is rejected.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from reed.cli.schema import children
from reed.client import Client, Request
from reed.errors import CallError, Conflict, Malformed, NotFound
from reed.wire.codes import Command
from reed.wire.json_spans import exact, members
from reed.wire.schema import SchemaBond, SchemaUnbond
from reed.wire.snippets import Record, RestoreFlag, SnippetGot, SnippetRestore, SnippetUpdate


class ImportLine(NamedTuple):
    number: int
    kind: str
    ref: str = ""  # name, or id in the store
    old_id: str = ""  # in the file, or ""
    snippet_type: str = ""
    content: bytes = b""
    cause: CallError | None = None  # the rejected CREATE or RESTORE; None if the key matched


def existing_snippet(line: ImportLine, response: bytes | CallError) -> Record:
    """Raises the response, or the line's cause if that explains more."""
    if isinstance(response, CallError):
        is_absent = isinstance(response, (NotFound, Conflict))  # Conflict: an ambiguous id
        raise (line.cause if is_absent else None) or response
    record = SnippetGot.unpack(response).record
    if line.ref not in (record.semantic_name, record.id):  # the ref matched as the start of an id
        raise line.cause or NotFound(f"no snippet {line.ref!r}")
    return record


def update_request(record: Record, line: ImportLine, *, update: bool, dry_run: bool) -> Request | None:
    """None if the content is the same."""
    if line.old_id == record.id and line.cause is not None:
        raise line.cause  # the store has a newer version of this snippet
    if record.snippet_type != line.snippet_type:
        raise Conflict(f"{line.ref!r} exists with type {record.snippet_type}, not {line.snippet_type}")
    old, new = bytes(record.content), line.content
    if old == new or exact(old) == exact(new):
        return None
    if not update:
        problem = str(line.cause) if line.cause else f"{line.ref} exists with different content"
        raise Conflict(problem, hint="--update changes it")
    patch = merge_patch(old.decode(), new.decode()).encode()
    if dry_run:
        now = max(time.time_ns() // 1000, record.created_at)
        changed = record._replace(version=record.version + 1, updated_at=now, content=new)
        return Request(Command.SNIPPET_RESTORE, SnippetRestore(RestoreFlag.DRY_RUN, changed).pack(), line)
    return Request(Command.SNIPPET_UPDATE, SnippetUpdate(record.id, record.version, patch).pack(), line)


def merge_patch(old: str, new: str) -> str:
    """A JSON Merge Patch (RFC 7396) that has the values as they are written in `new`, unlike one of `exact_json`.
    Malformed if none leads from `old` to `new`.
    """
    before = {member.key: old[member.begin : member.end] for member in members(old)}
    parts: list[str] = []
    for member in members(new):
        text, was = new[member.begin : member.end], before.pop(member.key, None)
        if was is not None and exact(was) == exact(text):
            continue
        if was is not None and was[0] == text[0] == "{":
            text = merge_patch(was, text)
        else:
            _check_no_null(member.key, member.value)
        parts.append(f"{json.dumps(member.key)}:{text}")
    parts += [f"{json.dumps(key)}:null" for key in before]
    return f"{{{','.join(parts)}}}"


def _check_no_null(key: str, value: Any) -> None:
    if value is None:
        raise Malformed(f"{key!r} is null, which an update would remove", hint="delete the snippet first")
    if isinstance(value, dict):
        for inner, each in value.items():
            _check_no_null(f"{key}.{inner}", each)


class WantedBond(NamedTuple):
    line: int
    bond: SchemaBond  # with refs of the store


class ExistingBond(NamedTuple):
    weight: int
    path: str


ExistingBonds = Mapping[tuple[str, str], ExistingBond]  # by the parent's ref, and the child's id or name


def existing_bonds(core: Client, wanted: Sequence[WantedBond]) -> ExistingBonds:
    found: dict[tuple[str, str], ExistingBond] = {}
    parents = dict.fromkeys(each.bond.parent for each in wanted)
    with Client(core.path, core.timeout) as reader:
        for parent, child in children(reader, parents):  # creating the bond reports a parent that does not exist
            bond = ExistingBond(child["weight"], child["path"])
            found[parent, child["id"]] = bond
            if child["name"]:
                found[parent, child["name"]] = bond
    return found


def bond_requests(wanted: WantedBond, existing: ExistingBonds, *, update: bool) -> Iterator[tuple[Command, bytes]]:
    bond = wanted.bond
    found = existing.get((bond.parent, bond.child))
    if found == (bond.weight, bond.path):
        return
    if found is not None:
        if not update:
            raise Conflict(
                f"bond of {bond.parent} and {bond.child} exists with weight {found.weight} and path {found.path!r}",
                hint="--update changes it",
            )
        yield Command.SCHEMA_UNBOND, SchemaUnbond(bond.parent, bond.child).pack()
    yield Command.SCHEMA_BOND, bond.pack()
