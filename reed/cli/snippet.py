"""`reed snippet …`: making, reading, finding and changing content."""

from __future__ import annotations

import os
from typing import Any

from reed.cli.json_content import JsonContent
from reed.cli.options import connect, json_input, ref
from reed.cli.output import Column, JsonText, Output, moment
from reed.cli.parse import COUNT, Args, Form, Option, UsageError
from reed.client import Client
from reed.errors import Conflict, Malformed, PermissionDenied
from reed.wire.snippets import Record

_MAX_ROUNDS = 5  # of an update that others overtake


def create(args: Args, output: Output) -> int:
    kind, name = args.word("TYPE"), (args.text("--name") or "").removeprefix("$")
    content = json_input(args, "JSON")
    with connect(args) as core:
        snippet_id = core.snippet_create(kind, name, content)
    return _written(output, snippet_id)


def update(args: Args, output: Output) -> int:
    wanted, patch = ref(args.word("REF")), json_input(args, "JSON")
    if_version = args.number("--if-version")
    with connect(args) as core:
        if output.as_json or output.is_terminal:
            snippet_id, version = _update_counted(core, wanted, patch, if_version)
        else:
            snippet_id, version = core.snippet_update(wanted, patch, if_version), 0
    if output.as_json:
        output.json({"id": snippet_id, "version": version or None})
    else:
        output.rows([[f"{snippet_id}  version {version}" if version else snippet_id]])
    return 0


def _update_counted(core: Client, wanted: str, patch: bytes, if_version: int) -> tuple[str, int]:
    """The id and the new version, which is one more than the version that the update was bound to; 0: not known.

    Reading it afterwards could give the version of somebody else's later update.
    """
    if if_version:
        return core.snippet_update(wanted, patch, if_version), if_version + 1
    conflict: tuple[int, Conflict] | None = None  # the version that it was about
    for _ in range(_MAX_ROUNDS):
        try:
            seen = core.snippet_get(wanted)
        except PermissionDenied:  # the caller may write and not read
            break
        if conflict is not None and conflict[0] == seen.version:
            raise conflict[1]  # not because somebody else was first
        try:
            return core.snippet_update(seen.id, patch, seen.version), seen.version + 1
        except Conflict as error:
            conflict = seen.version, error
    return core.snippet_update(wanted, patch), 0


def rename(args: Args, output: Output) -> int:
    wanted, name = ref(args.word("REF")), args.word("NAME").removeprefix("$")
    with connect(args) as core:
        snippet_id = core.snippet_rename(wanted, name)
    return _written(output, snippet_id)


def delete(args: Args, output: Output) -> int:
    wanted = ref(args.word("REF"))
    with connect(args) as core:
        snippet_id = core.snippet_delete(wanted, cascade=args.has("--cascade"))
    return _written(output, snippet_id)


def _written(output: Output, snippet_id: str) -> int:
    """The id alone, so that `id=$(reed snippet create …)` works."""
    if output.as_json:
        output.json({"id": snippet_id})
    else:
        output.rows([[snippet_id]])
    return 0


def get(args: Args, output: Output) -> int:
    wanted = ref(args.word("REF"))
    with connect(args) as core:
        record = core.snippet_get(wanted)
    if output.as_json:
        output.json(as_json(record))
        return 0
    if output.is_terminal:
        output.say(f"{record.id}  {record.snippet_type}  {record.semantic_name or '-'}  version {record.version}")
        output.say(f"created {moment(record.created_at)}, updated {moment(record.updated_at)}\n")
    output.text(bytes(record.content))
    return 0


def list_snippets(args: Args, output: Output) -> int:
    limit, kind = args.number("--limit"), args.text("--type") or ""
    where = _conditions(args.texts("--where"))
    if where is not None and not kind:
        raise UsageError("--where needs --type", hint="`reed registry list` shows the types")
    rows: list[dict[str, Any]] = []
    with connect(args) as core:
        for record in core.snippets(kind, min(limit or 100, 100), where):
            if output.as_json or output.is_terminal:
                rows.append(_row(record, with_content=output.as_json))
            else:
                output.rows([[*record[:6], JsonText(str(record.content, "utf-8"))]])
            limit -= 1
            if limit == 0:
                break
    if output.as_json or output.is_terminal:
        output.table(_LIST, rows)
    return 0


def _conditions(given: list[str]) -> bytes | None:
    """The JSON object of `FIELD=VALUE` words; None when there is none. Values travel as they are written."""
    from reed.wire import strict_json

    conditions: dict[str, bytes] = {}
    for word in given:
        field, equals, value = word.partition("=")
        if not field or not equals:
            raise UsageError(f"--where {word}: expected FIELD=VALUE")
        if field in conditions:
            raise UsageError(f"--where names {field} twice", hint="every condition must hold: a field has one value")
        conditions[field] = os.fsencode(value)
        try:
            strict_json.loads(conditions[field])
        except Malformed:
            conditions[field] = strict_json.dumps(value)
    pairs = [strict_json.dumps(field) + b":" + value for field, value in conditions.items()]
    return b"{%b}" % b",".join(pairs) if pairs else None


def as_json(record: Record) -> dict[str, Any]:
    """A record as `--json` prints it."""
    about = dict(zip(("id", "type", "name", "version", "created_at", "updated_at"), record[:6], strict=True))
    return {**about, "content": JsonContent(bytes(record.content))}


def _row(record: Record, *, with_content: bool) -> dict[str, Any]:
    if with_content:
        return as_json(record)
    about = dict(zip(("id", "type", "name", "version", "created_at", "updated_at"), record[:6], strict=True))
    return {**about, "content": bytes(record.content[:200]).decode("utf-8", "ignore")}


_LIST = (
    Column("REF", "name|id", whole=True),
    Column("TYPE", "type"),
    Column("VERSION", "version", right=True),
    Column("UPDATED", "updated_at", moment, shrink=2),
    Column("CONTENT", "content", shrink=1),
)
_FILE = Option("--file", "F", "read the JSON from a file (.yaml too)")
FORMS = {
    "snippet create": Form(
        create,
        "TYPE [JSON]",
        "Make a snippet of a type; prints its id",
        (Option("--name", "N", "its semantic name, at most 31 bytes"), _FILE),
        """
JSON is an object; - reads it from standard input. It is kept exactly as it was written.

  reed snippet create page --name blog/intro '{"title": "Intro"}'
  snippet_id=$(reed snippet create page --file intro.json)""",
    ),
    "snippet get": Form(
        get,
        "REF",
        "Show a snippet",
        details="""
REF is its name, '$NAME', its id, or the beginning of its id (8 characters at least) if no other id begins so. Into a
pipe goes the content, byte for byte; --json has everything about it.""",
    ),
    "snippet update": Form(
        update,
        "REF [JSON]",
        "Change a snippet by a JSON Merge Patch; prints its id",
        (Option("--if-version", "N", "only if it is still at this version (0: at any)", number=COUNT), _FILE),
        """
What the patch names is changed, null takes a field away, the rest stays.

  reed snippet update blog/intro '{"title": "Introduction", "draft": null}' --if-version 2""",
    ),
    "snippet rename": Form(
        rename,
        "REF NAME",
        "Give a snippet another name; prints its id",
        details="""
NAME has at most 31 bytes; '' takes the name away. Bonds stay, and the version goes up by one, as by an update.

  reed snippet rename blog/intro blog/introduction""",
    ),
    "snippet delete": Form(
        delete, "REF", "Delete a snippet; prints its id", (Option("--cascade", help="and its bonds, if it has some"),)
    ),
    "snippet list": Form(
        list_snippets,
        "",
        "All snippets in creation order",
        (
            Option("--type", "T", "only snippets of this type"),
            Option("--where", "FIELD=VALUE", "only those with this value in a field; all must hold", many=True),
            Option("--limit", "N", "at most N (0, the default: all)", number=COUNT),
        ),
        """
--where compares a top-level field. VALUE is JSON (a number, true, null, an array, …) if it can be read as JSON, else a
string; JSON quotes make it a string in any case. Fields that the type names as indexed or unique are found at once.

  reed snippet list --type page --where path=commands/hugo_completion_powershell
  reed snippet list --type page --where draft=false --where 'section="404"'

Into a pipe, by tabs: id, type, name, version, created, updated (microseconds since 1970), content.""",
    ),
}
