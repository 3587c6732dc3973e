#!/bin/sh
# See reed at work, from nothing: sh contrib/quickstart.sh [FILE.jsonl]
#
# Installs reed into a temporary folder, starts a core there, imports pages, searches them, lets a Lua plugin judge one and
# another keep a backup. Where cargo is there it builds the two plugins in Rust, and one tells the other what it found. FILE has
# a JSON object a line with path, title, description, keywords and body; without it the pages are this project's own documents
# (contrib/docs). Needs Python 3.11 or later. Everything is removed at the end; KEEP=1 keeps it. SITE=127.0.0.1:8000 serves
# the example of a site at its end, until Ctrl-C; for that pip gets Starlette and a Markdown parser.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
pages=
if [ $# -gt 0 ]; then
    [ -f "$1" ] || { echo "contrib/quickstart.sh: no such file: $1" >&2; exit 2; }
    pages=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/reed-quickstart.XXXXXX")
REED_RUNTIME_DIR=$work/run
export REED_RUNTIME_DIR

end() {
    status=$?
    trap - EXIT INT TERM
    if [ -S "$REED_RUNTIME_DIR/core.sock" ]; then reed stop >/dev/null 2>&1 || true; fi
    if [ -n "${KEEP:-}" ]; then echo "kept: $work"; else rm -rf "$work"; fi
    exit "$status"
}
trap end EXIT
trap 'exit 130' INT TERM

say() { printf '\n== %s\n' "$*"; }
die() { printf '%s\n' "contrib/quickstart.sh: $*" >&2; exit 1; }
run() {
    printf '$'
    for word in "$@"; do
        case $word in *[!A-Za-z0-9_./:=@-]*) printf " '%s'" "$word" ;; *) printf ' %s' "$word" ;; esac
    done
    printf '\n'
    "$@"
}

find_python() {
    for name in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then command -v "$name"; return; fi
    done
}

debian_python() {
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq </dev/null && apt-get install -y -qq python3 python3-venv </dev/null >/dev/null
    fi
}

say "Install reed into a venv of its own"
python=$(find_python)
[ -n "$python" ] || { debian_python; python=$(find_python); }
[ -n "$python" ] || die "Python 3.11 or later is missing; as root: apt-get install python3 python3-venv"
"$python" -m venv "$work/venv" >/dev/null 2>&1 || { debian_python; rm -rf "$work/venv"; "$python" -m venv "$work/venv"; } ||
    die "$python cannot make a venv; as root: apt-get install python3-venv"
mkdir "$work/source"  # a copy: building leaves files behind
(cd "$root" && tar -cf - --exclude=target --exclude=__pycache__ reed contrib setup.cfg pyproject.toml README.md LICENSE) |
    (cd "$work/source" && tar -xf -)
"$work/venv/bin/pip" install --quiet --disable-pip-version-check "$work/source[schedules]"
PATH=$work/venv/bin:$PATH
unset PYTHONPATH
"$work/venv/bin/python" -c 'import reed; print("reed", reed.__version__)'

say "Make a site in an empty folder, and start its core"
mkdir "$work/site"
cd "$work/site"
run reed init
run reed start

if [ -z "$pages" ]; then
    say "Turn the documents in contrib/docs into pages, one JSON object a line"
    pages=$work/site/docs.jsonl
    "$work/venv/bin/python" - "$root/contrib/docs" >"$pages" <<'PYTHON'
import json
import re
import sys
from pathlib import Path

for file in sorted(Path(sys.argv[1]).rglob("*.md")):
    if file.stem == "README":
        continue
    title, _, body = file.read_text(encoding="utf-8").removeprefix("# ").partition("\n")
    description = " ".join(body.strip().partition("\n\n")[0].split())
    keywords = [heading.lower() for heading in re.findall(r"^## (.+)$", body, re.MULTILINE)]
    page = {"path": f"docs/{file.stem}", "title": title, "description": description, "keywords": keywords}
    print(json.dumps({**page, "body": body.strip()}, ensure_ascii=False))
PYTHON
    ls -l "$pages"
fi

say "Define what a page is: a JSON Schema, and what to search in it"
cat >page.json <<'JSON'
{
  "description": "A page of a site",
  "schema": {
    "type": "object",
    "required": ["title"],
    "properties": {
      "title": {"type": "string"},
      "description": {"type": ["string", "null"]},
      "keywords": {"type": ["array", "null"], "items": {"type": "string"}},
      "body": {"type": "string"}
    }
  },
  "searchable": {"title": 5, "keywords": 4, "description": 3, "body": 1}
}
JSON
run reed registry define page --file page.json

say "Import the pages; each gets its path as its name, where that is a sound one of at most 31 bytes"
run reed import "$pages" --type page --name-field path

# A page to look for: one with a name, a title of two words or more, and the longest body.
"$work/venv/bin/python" - "$pages" >choice <<'PYTHON'
import json
import re
import sys

named = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,30}")
found = []
for line in open(sys.argv[1], encoding="utf-8"):
    page = json.loads(line) if line.strip() else {}
    words = re.findall(r"[A-Za-z]{3,}", page.get("title") or "")
    phrase = re.search(r"\b[A-Za-z]{3,} [A-Za-z]{3,}\b", page.get("title") or "")
    if named.fullmatch(str(page.get("path", ""))) and phrase:
        found.append((len(page.get("body") or ""), page["path"], max(words, key=len), phrase[0]))
if not found:
    sys.exit("no page has both a sound path of at most 31 bytes and a title of two words")
_, path, word, phrase = max(found)
print(path, word, word[:4], phrase, sep="\n")
PYTHON
{ read -r page; read -r word; read -r prefix; read -r phrase; } <choice

say "Search: a word, a phrase, the beginning of a word"
run reed search "$word" --type page --limit 3
run reed search "\"$phrase\"" --limit 3
run reed search "$prefix" --limit 3

say "Start the Lua plugin simple-seo: a process of its own, which may read snippets and nothing else"
run reed plugin start simple-seo

say "Send it the page $page: its issues and its score"
run reed plugin send simple-seo validate "$page"

has_cargo() { command -v cargo >/dev/null && cargo --version >/dev/null 2>&1; }

say "Add backup, written in Lua too: it asks to read everything, and to write files in a folder of its own"
run reed plugin add backup --dry-run
run reed plugin add backup --yes --start

if has_cargo; then
    say "Build the native plugins, written in Rust (half a minute; quick to build, not to run): ai-core finds keywords, analytics counts"
    for name in ai-core analytics; do
        (cd "$work/source/contrib/plugins/$name" &&
            CARGO_TARGET_DIR="$work/target" cargo build --locked --quiet) || die "cargo could not build $name"
        mkdir "plugins/$name"
        cp "$work/target/debug/$name" "$work/source/contrib/plugins/$name/plugin.yaml" "plugins/$name/"
        run reed plugin add "$name" --yes
    done
    run reed plugin start analytics
    run reed plugin start ai-core

    say "ai-core finds the keywords of the page, and tells analytics through a FIFO of their own"
    run reed plugin send ai-core optimize "$page"
    say "analytics has counted them, and told backup"
    run reed plugin send analytics stats '{"top": 5}'
    say "backup has heard of a change"
    run reed plugin send backup list '{}'
else
    say "No cargo here: left out are the Rust plugins ai-core and analytics, and what they tell each other and backup"
fi

say "A backup of everything, which reed import restores"
run reed plugin send backup snapshot '{}'
run ls data/plugins/backup

say "How they do"
run reed plugin status
run reed status

say "A site: pages from Markdown, with search, a form, and a browser that follows every change (contrib/docs/guide/site.md)"
if [ -z "${SITE:-}" ]; then
    echo "left out, because it needs more packages; to see it: SITE=127.0.0.1:8000 sh contrib/quickstart.sh"
elif ! "$work/venv/bin/pip" install --quiet --disable-pip-version-check "$work/source[markdown,web]"; then
    echo "left out: pip cannot install the extras markdown and web"
else
    site=$work/source/contrib/examples/site
    run reed import "$site/content" --markdown --type help
    run reed plugin start form-validator
    echo "Ctrl-C ends it. Edit a file in $site/content and watch the page in the browser when another terminal runs"
    echo "REED_RUNTIME_DIR=$REED_RUNTIME_DIR $work/venv/bin/reed import $site/content --markdown --type help"
    run "$work/venv/bin/python" "$site/app.py" --type help --listen "$SITE" || true
fi

say "Stop the core; what was acknowledged is on the disk"
run reed stop
