"""`reed search` and `reed index` (protocol.md#search)."""

from __future__ import annotations

from reed.cli.options import connect, ref
from reed.cli.output import Column, Output, counted
from reed.cli.parse import COUNT, Args, Form, Option


def search(args: Args, output: Output) -> int:
    """Several words are one query: a word of several words was quoted in the shell, and is looked for as a phrase."""
    words = args.words("WORD")
    query = " ".join(words) if len(words) == 1 else " ".join(f'"{word}"' if " " in word else word for word in words)
    with connect(args) as core:
        page = core.search(query, args.text("--type") or "", args.number("--limit"), args.number("--offset"))
    hits = [
        dict(zip(("id", "type", "name", "score", "excerpt"), hit, strict=True)) | {"score": float(f"{hit.score:.4g}")}
        for hit in page.hits
    ]
    if output.as_json:
        output.json({"total": page.total, "hits": hits})
        return 0
    output.table(_HITS, hits, ("score", "name", "type", "id", "excerpt"))
    if not hits:
        output.say(f"nothing is found for {query}")
    elif page.total > len(hits):
        output.say(f"\n{len(hits)} of {page.total}; --limit N shows more")
    return 0


_HITS = (
    Column("REF", "name|id", whole=True),
    Column("TYPE", "type"),
    Column("EXCERPT", "excerpt", shrink=1),
)


def index(args: Args, output: Output) -> int:
    one = ref(args.word("REF")) if args.words("REF") else ""
    with connect(args, timeout=None) as core:
        from reed.cli.progress import waiting

        with waiting(output, "indexing"):
            count = core.search_index(one)
    if output.as_json:
        output.json({"indexed": count})
    elif output.is_terminal:
        output.say(f"{counted(count, 'snippet')} indexed")
    else:
        output.rows([[count]])
    return 0


FORMS = {
    "search": Form(
        search,
        "WORD…",
        "Find snippets by words, the best first",
        (
            Option("--type", "T", "of this type alone"),
            Option("--limit", "N", "at most N hits (0: 20, the default)", number=COUNT),
            Option("--offset", "N", "leave out the first N", number=COUNT),
        ),
        """
All words must be there; the last may be the beginning of one. Words in quotation marks must follow each other. Case,
accents, ligatures and width do not matter, nor Hebrew and Arabic points: strasse finds Straße, 展望台 a part of
東京都庁の展望台から. Hits in fields of a higher weight come first.

  reed search hugo templ
  reed search '"static site"' generator --type page

Into a pipe, by tabs: score, name, type, id, excerpt.""",
    ),
    "index": Form(index, "[REF]", "Index one snippet, or everything, again"),
}
