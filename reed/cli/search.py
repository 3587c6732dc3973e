"""`reed search` and `reed index`."""

from __future__ import annotations

from reed.cli.options import connect, ref
from reed.cli.output import Column, Output
from reed.cli.parse import U32, Args, Option, Subcommand
from reed.figures import plural


def search(args: Args, output: Output) -> None:
    words = args.arg_list("WORD")
    # Among several arguments one with spaces was quoted in the shell: a phrase.
    query = " ".join(words) if len(words) == 1 else " ".join(f'"{word}"' if " " in word else word for word in words)
    with connect(args) as core:
        page = core.search(query, args.text("--type") or "", args.number("--limit"), args.number("--offset"))
    hits = [
        dict(zip(("id", "type", "name", "score", "excerpt"), hit, strict=True)) | {"score": float(f"{hit.score:.4g}")}
        for hit in page.hits
    ]
    if output.as_json:
        output.json({"total": page.total, "hits": hits})
        return
    output.table(_HITS, hits, ("score", "name", "type", "id", "excerpt"))
    if not hits:
        output.info(f"no hits for {query}")
    elif page.total > len(hits):
        output.info(f"\n{len(hits)} of {page.total} hits; --limit N prints more")


def index(args: Args, output: Output) -> None:
    from reed.cli.progress import elapsed

    one = ref(args.arg("REF")) if args.arg_list("REF") else ""
    with connect(args, timeout=None) as core, elapsed(output, "indexing"):
        count = core.search_index(one)
    output.show({"indexed": count}, f"{plural(count, 'snippet')} indexed", [[count]])


_HITS = (
    Column("REF", "name|id", whole=True),
    Column("TYPE", "type"),
    Column("EXCERPT", "excerpt", shrink=1),
)
SUBCOMMANDS = {
    "search": Subcommand(
        search,
        "WORD…",
        "Find snippets by words, the best match first",
        (
            Option("--type", "T", "only snippets of this type"),
            Option("--limit", "N", "at most N hits (0: 20, the default)", number=U32),
            Option("--offset", "N", "skip the first N hits", number=U32),
        ),
        """
All words must match; the last may be the beginning of one. Words in quotation marks are a phrase. Case, accents,
ligatures, width, Hebrew and Arabic points do not matter: strasse finds Straße, 展望台 a part of 東京都庁の展望台から.
Hits in fields of a higher weight come first.

  reed search hugo templ
  reed search '"static site"' generator --type page

Into a pipe, separated by tabs: score, name, type, id, excerpt.""",
    ),
    "index": Subcommand(index, "[REF]", "Rebuild the search index of one snippet, or of everything"),
}
