"""`reed import` and `reed export`: content in and out, as JSON lines (see `lines`)."""

from __future__ import annotations

from reed.cli.exporting import export
from reed.cli.importing import import_file
from reed.cli.parse import Form, Option

FORMS = {
    "import": Form(
        import_file,
        "FILE",
        "Read snippets from a file of JSON lines; - is standard input",
        (
            Option("--type", "T", "the lines are plain contents of this type; it is defined if it is not"),
            Option("--name-field", "FIELD", "a field that gives the name, where it is a sound one of at most 31 bytes"),
            Option("--key", "FIELD", "a field that tells which snippet of the type a line is, named or not"),
            Option("--update", help="what is here otherwise is changed to what the file says, instead of refused"),
            Option("--new-ids", help="lines of an export: make new snippets, with ids of their own"),
            Option("--dry-run", help="say what would happen, and write nothing"),
        ),
        """
Without --type the lines are what `reed export` wrote, and are restored: ids, versions, times and bonds. What is here
alike is left alone, an older version is replaced, a newer one is left alone and the line refused (--update goes back to
the file's). Content that does not fit its type any more is restored with a warning. Takes the permission
snippet_restore; with --new-ids copies are made, by who may write.

With --type the lines are plain contents. A line is found again by its name, or by --key; others are made once more.

A line that is refused is told with its number and the reason, the others are imported, and the exit code is 1.

  reed import pages.jsonl --type page --name-field path --key path""",
    ),
    "export": Form(
        export,
        "FILE",
        "Write all types, snippets and bonds to a file of JSON lines; - is standard output",
        (Option("--type", "T", "the snippets of this type alone, and the bonds between them"),),
        """
The file appears under its name when it is whole. `reed import FILE` reads it back, in this core or another.

  {"kind":"type","name":"page","definition":{…}}
  {"kind":"snippet","id":"…","type":"page","name":"blog/intro","version":1,"created_at":…,"updated_at":…,"content":{…}}
  {"kind":"bond","parent":"…","child":"…","weight":0,"path":""}

Content that is laid out in several lines is written as a string, under "content_text".""",
    ),
}
