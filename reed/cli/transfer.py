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
            Option("--update", help="a name that is in use: change that snippet instead of refusing the line"),
        ),
        """
Without --type the lines are what `reed export` wrote. A line that is refused is told with its number and the reason,
the others are imported, and the exit code is 1. A snippet without a name is made anew each time.

  reed import pages.jsonl --type page --name-field path""",
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
