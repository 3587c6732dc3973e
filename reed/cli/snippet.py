"""`reed snippet`."""

from __future__ import annotations

from reed.cli.options import connect, json_input, ref
from reed.cli.output import Output
from reed.cli.parse import U32, Args, Option, Subcommand
from reed.cli.snippet_list import as_json, list_snippets
from reed.client import Client
from reed.errors import Conflict, PermissionDenied
from reed.figures import timestamp

_MAX_ATTEMPTS = 5


def create(args: Args, output: Output) -> None:
    snippet_type, name = args.arg("TYPE"), (args.text("--name") or "").removeprefix("$")
    content = json_input(args, "JSON")
    with connect(args) as core:
        snippet_id = core.snippet_create(snippet_type, name, content)
    _print_id(output, snippet_id)


def update(args: Args, output: Output) -> None:
    snippet, patch = ref(args.arg("REF")), json_input(args, "JSON")
    if_version = args.number("--if-version")
    with connect(args) as core:
        if output.as_json or output.is_terminal:
            snippet_id, version = _update_versioned(core, snippet, patch, if_version)
        else:
            snippet_id, version = core.snippet_update(snippet, patch, if_version), 0
    text = f"{snippet_id}  version {version}" if version else snippet_id
    output.show({"id": snippet_id, "version": version or None}, text, [[snippet_id]])


def _update_versioned(core: Client, snippet: str, patch: bytes, if_version: int) -> tuple[str, int]:
    """Returns id and new version, 0 if unknown. The version is read first: afterwards it could be that of a later
    update.
    """
    if if_version:
        return core.snippet_update(snippet, patch, if_version), if_version + 1
    conflict: tuple[int, Conflict] | None = None  # with the required version
    for _ in range(_MAX_ATTEMPTS):
        try:
            seen = core.snippet_get(snippet)
        except PermissionDenied:  # the caller may write but not read
            break
        if conflict is not None and conflict[0] == seen.version:
            raise conflict[1]  # about something else, such as a unique field
        try:
            return core.snippet_update(seen.id, patch, seen.version), seen.version + 1
        except Conflict as error:
            conflict = seen.version, error
    return core.snippet_update(snippet, patch), 0


def rename(args: Args, output: Output) -> None:
    snippet, name = ref(args.arg("REF")), args.arg("NAME").removeprefix("$")
    with connect(args) as core:
        snippet_id = core.snippet_rename(snippet, name)
    _print_id(output, snippet_id)


def delete(args: Args, output: Output) -> None:
    snippet = ref(args.arg("REF"))
    with connect(args) as core:
        snippet_id = core.snippet_delete(snippet, cascade=args.has("--cascade"))
    _print_id(output, snippet_id)


def _print_id(output: Output, snippet_id: str) -> None:
    output.show({"id": snippet_id}, snippet_id, [[snippet_id]])


def get(args: Args, output: Output) -> None:
    snippet = ref(args.arg("REF"))
    with connect(args) as core:
        record = core.snippet_get(snippet)
    if output.as_json:
        output.json(as_json(record))
        return
    if output.is_terminal:
        output.info(f"{record.id}  {record.snippet_type}  {record.semantic_name or '-'}  version {record.version}")
        output.info(f"created {timestamp(record.created_at)}, updated {timestamp(record.updated_at)}\n")
    output.text(bytes(record.content))


_FILE = Option("--file", "F", "read the JSON from a file (.yaml too)")
SUBCOMMANDS = {
    "snippet create": Subcommand(
        create,
        "TYPE [JSON]",
        "Create a snippet and print its id",
        (Option("--name", "N", "its semantic name, at most 31 bytes"), _FILE),
        """
JSON is an object; - reads it from standard input. It is stored byte for byte.

  reed snippet create page --name blog/intro '{"title": "Intro"}'
  snippet_id=$(reed snippet create page --file intro.json)""",
    ),
    "snippet get": Subcommand(
        get,
        "REF",
        "Print a snippet",
        details="""
REF is its name, '$NAME', its id, or at least 8 characters that only its id starts with. Into a pipe only the content is
printed, byte for byte; --json prints the whole record.""",
    ),
    "snippet update": Subcommand(
        update,
        "REF [JSON]",
        "Apply a JSON Merge Patch to a snippet and print its id",
        (Option("--if-version", "N", "only if it still has this version (0: any)", number=U32), _FILE),
        """
Fields in the patch change, null removes a field, the others stay.

  reed snippet update blog/intro '{"title": "Introduction", "draft": null}' --if-version 2""",
    ),
    "snippet edit": Subcommand(
        "snippet_edit.edit",
        "REF",
        "Edit the content of a snippet in your editor",
        details="""
$VISUAL, else $EDITOR, gets the content as formatted JSON. Only the fields that you change are written, if the snippet
still has the same version; nothing is written if you change nothing. If the core refuses the text, the command prints
why, with the lines, and asks whether to edit again. The file with your text is removed only after it was written.

  EDITOR=nano reed snippet edit blog/intro""",
    ),
    "snippet rename": Subcommand(
        rename,
        "REF NAME",
        "Rename a snippet and print its id",
        details="""
NAME has at most 31 bytes; '' removes the name. Bonds stay; the version is incremented, as by an update.

  reed snippet rename blog/intro blog/introduction""",
    ),
    "snippet delete": Subcommand(
        delete, "REF", "Delete a snippet and print its id", (Option("--cascade", help="delete its bonds too"),)
    ),
    "snippet list": Subcommand(
        list_snippets,
        "",
        "List snippets in creation order",
        (
            Option("--type", "T", "only snippets of this type"),
            Option("--where", "FIELD=VALUE", "only those whose field has this value; all must hold", many=True),
            Option("--sort", "FIELD", "sort by created, updated, name or a field; FIELD:desc is the other way round"),
            Option("--fields", "F,…", "print these: id, type, name, version, created, updated, content, or its fields"),
            Option("--limit", "N", "at most N (0, the default: all)", number=U32),
        ),
        """
--where compares a top-level field. VALUE is parsed as JSON (a number, true, null, an array, …), else taken as a string;
JSON quotes make it a string in any case. Fields that the type declares indexed or unique use an index.

  reed snippet list --type page --where path=commands/hugo_completion_powershell
  reed snippet list --type page --where draft=false --where 'section="404"'

--sort and --fields name a top-level field, as title; content.name is the field of the content that is called name.
Numbers come before strings, and snippets without the field last. The core lists in creation order, so any other order
is made here from the whole list: up to 100,000 snippets and 512 MB, or any number with --limit.

  reed snippet list --type page --sort updated:desc --limit 10
  reed snippet list --type page --sort weight --fields name,title,weight

Into a pipe, separated by tabs: the --fields, or id, type, name, version, created, updated (Unix microseconds),
content.""",
    ),
}
