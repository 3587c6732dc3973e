"""`reed import`: lines of an export, lines of plain content, and folders of Markdown.

command ── plain                     names, keys and the type of plain content
   │  └─── markdown ── markdown_pages ── front_matter
   └────────┴───────── run           lines become pipelined requests; problems, counts, report
                        └─ existing  what is in the store already: compared, updated
"""

from __future__ import annotations

from reed.cli.parse import Option, Subcommand

SUBCOMMANDS = {
    "import": Subcommand(
        "importing.command.import_file",
        "FILE",
        "Read snippets from a file of JSON lines, - is standard input; or from a folder of Markdown",
        (
            Option("--type", "T", "the lines are plain content of this type, which is defined if missing"),
            Option("--name-field", "FIELD", "the field that gives the name, if it is valid and at most 31 bytes"),
            Option("--key", "FIELD", "the field that identifies the snippet of the type, named or not"),
            Option("--update", help="change existing snippets to what the file says, instead of rejecting the line"),
            Option("--new-ids", help="lines of an export: create copies with new ids"),
            Option("--dry-run", help="report what would happen, and write nothing"),
            Option("--markdown", help="FILE is a folder: each .md in it becomes a page of --type (page)"),
            Option("--prune", help="with --markdown: delete the pages whose files have gone"),
        ),
        """
Without --type the lines are those of `reed export` and are restored: ids, versions, times and bonds. An identical
snippet stays unchanged, an older version is replaced, a newer one is kept and its line rejected (--update writes the
file's version). Content that no longer fits its type is restored with a warning. This requires the permission
snippet_restore; with --new-ids, which creates copies, snippet_write is enough.

With --type the lines are plain content. A line whose name or --key exists means that snippet; other lines create one.

Rejected lines are printed with number and reason, the others are imported, and the exit code is 1.

  reed import pages.jsonl --type page --name-field path --key path

With --markdown the front matter of each file gives the fields of its page, and the folders give the tree: index.md or
README.md is the page of its folder. Pages that changed are updated, the others stay as they are.

  reed import docs --markdown --prune""",
    ),
}
