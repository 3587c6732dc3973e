"""Nothing is cited that is not there: every document, heading, link and source file that text or code names exists.

protocol.md#frames       in code, comments and documents: the one document of that name, and its heading
[title](path#heading)    in documents: relative to the document
reed/loop/loop.py        in documents: a file of the package
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import reed

ROOT = Path(__file__).parents[2]
PACKAGE = Path(reed.__file__).parent
DOCS = ROOT / "contrib" / "docs"
HAS_BENCH = (ROOT / "bench").is_dir()  # an installation that is tested does not have it

SUFFIXES = {".py", ".lua", ".rs", ".c", ".sh", ".md", ".yaml", ".toml", ".cfg", ".csv"}
LEFT_OUT = {"target", "__pycache__", ".hypothesis", "results"}
EXAMPLES = {"index.md", "guide.md", "guide/index.md", "guide/start.md"}  # file names that an example invents
# Files that invent others: those of a folder to be imported.
INVENTING = {"site.md", "test_site_examples.py", "test_import_markdown.py", "markdown_pages.py"}
CITATION = re.compile(r"(?<![\w/.-])(?<!\]\()((?:[\w.-]+/)*[\w-]+\.md)(#[\w-]+)?")
SECTION_IN_WORDS = re.compile(r"\.md(?:, | \()(?:rules? |[A-Z0-9](?![\w-]*\.)(?!\d+\b))")
LINK = re.compile(r"\]\(([^)\s]+)\)")
SOURCE_FILE = re.compile(r"\b((?:reed|bench|tests|contrib)/[\w/.-]*\w\.(?:py|lua|rs|sh|json|c))\b")
THE_SOURCE = re.compile(r"\bthe source(?:'s|\b(?! (?:code|of|file|text)))", re.IGNORECASE)


class Citation(NamedTuple):
    file: Path
    line: int
    target: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.target}"


def text_files() -> Iterator[Path]:
    """The project's own text: what is checked out around these tests, and the package that they test."""
    tops = [ROOT / "contrib", ROOT / "tests", ROOT / "bench", PACKAGE]
    files = [path for top in tops for path in top.rglob("*") if not LEFT_OUT.intersection(path.relative_to(top).parts)]
    for path in [*files, *ROOT.glob("*")]:
        if path.suffix in SUFFIXES and path.is_file():
            yield path


@cache
def documents_by_name() -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in [*DOCS.rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "bench").glob("*.md")]:
        found.setdefault(path.name, []).append(path)
    return found


@cache
def headings(document: Path) -> frozenset[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    found = set()
    for title in re.findall(r"^#+ (.+?)\s*$", without_blocks(document.read_text(encoding="utf-8")), re.MULTILINE):
        plain = re.sub(r"[`*]|\]\([^)]*\)|\[", "", title).lower()
        found.add(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    return frozenset(found)


def without_blocks(text: str) -> str:
    """Fenced code has lines that look like headings and links, and are neither. Lines keep their numbers."""
    return re.sub(r"^```.*?^```", lambda block: "\n" * block[0].count("\n"), text, flags=re.MULTILINE | re.DOTALL)


def problem_of(file: Path, target: str) -> str:
    """What is wrong with a citation; nothing if it leads somewhere."""
    path, _, anchor = target.partition("#")
    document = resolve(file, path)
    if document is None:
        return "no such document"
    if anchor and anchor not in headings(document):
        return f"no such heading in {document}"
    return ""


def resolve(file: Path, path: str) -> Path | None:
    """The document of a name, or of a path from the root, from contrib/docs or from the file that cites it."""
    if not path:
        return file
    for base in (file.parent, ROOT, PACKAGE.parent, DOCS):
        if (base / path).is_file():
            return base / path
    found = documents_by_name().get(path, []) if "/" not in path else []
    if path == "README.md":  # of whatever folder
        return file if not found else found[0]
    return found[0] if len(found) == 1 else None


def citations(file: Path) -> Iterator[Citation]:
    for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        for match in CITATION.finditer(line):
            if match[1] not in EXAMPLES and "://" not in line[: match.start()][-12:]:
                yield Citation(file, number, match[1] + (match[2] or ""))


def links(document: Path) -> Iterator[Citation]:
    for number, line in enumerate(without_blocks(document.read_text(encoding="utf-8")).splitlines(), 1):
        for target in LINK.findall(line):
            if "://" not in target and (HAS_BENCH or "bench/" not in target):
                yield Citation(document, number, target)


def test_every_cited_document_and_heading_exists() -> None:
    wrong = [
        f"{citation}: {problem}"
        for file in text_files()
        if file != Path(__file__) and file.name not in INVENTING
        for citation in citations(file)
        if HAS_BENCH or "NOTES.md" not in citation.target
        if (problem := problem_of(file, citation.target))
    ]
    assert not wrong, f"{len(wrong)}:\n" + "\n".join(wrong)


def lines() -> Iterator[tuple[Path, int, str]]:
    """Every line of the project's own text but this file's."""
    for file in text_files():
        if file != Path(__file__):
            for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
                yield file, number, line


def test_a_section_is_cited_by_its_anchor() -> None:
    """ "protocol.md, Frames" would not be noticed when the heading goes; "protocol.md#frames" is."""
    wrong = [Citation(*each) for each in lines() if SECTION_IN_WORDS.search(each[2])]
    assert not wrong, "\n".join(map(str, wrong))


def test_no_text_leans_on_a_source_that_it_does_not_name() -> None:
    wrong = [Citation(*each) for each in lines() if THE_SOURCE.search(each[2])]
    assert not wrong, "\n".join(map(str, wrong))


@pytest.mark.parametrize(
    "document",
    sorted(path for path in text_files() if path.suffix == ".md" and "templates" not in path.parts),
    ids=lambda path: "/".join(path.parts[-3:]),
)
def test_the_links_and_files_of_a_document_exist(document: Path) -> None:
    for citation in links(document):
        path, _, anchor = citation.target.partition("#")
        target = document.parent / path if path else document
        assert target.exists(), citation
        if anchor:
            assert anchor in headings(target), citation
    text = document.read_text(encoding="utf-8")
    for path in SOURCE_FILE.findall(text):
        if f"/{path} <<" in text:  # a file that the document lets its reader write
            continue
        in_package = path.startswith("reed/") and (PACKAGE.parent / path).is_file()
        assert in_package or (ROOT / path).is_file() or not (HAS_BENCH or not path.startswith("bench/")), path


def test_every_document_is_in_the_index() -> None:
    index = DOCS / "README.md"
    linked = {(DOCS / citation.target.partition("#")[0]).resolve() for citation in links(index)}
    decisions = DOCS / "decisions"
    linked |= {(decisions / citation.target).resolve() for citation in links(decisions / "README.md")}
    missing = {path.resolve() for path in DOCS.rglob("*.md")} - linked - {index.resolve()}
    assert not missing


@pytest.mark.parametrize(
    ("citation", "problem"),
    [
        ("protocol.md", ""),
        ("protocol.md#frames", ""),
        ("contrib/docs/reference/protocol.md#frames", ""),
        ("protocol.md#no-such-heading", "no such heading"),
        ("no-such-document.md", "no such document"),
        ("contrib/no-such-document.md", "no such document"),
    ],
)
def test_a_wrong_citation_is_named(citation: str, problem: str) -> None:
    assert problem_of(PACKAGE / "__init__.py", citation).startswith(problem)
    assert bool(problem_of(PACKAGE / "__init__.py", citation)) == bool(problem)


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        (SECTION_IN_WORDS, "(protocol.md, Frames)", True),
        (SECTION_IN_WORDS, "(protocol.md, rule 3)", True),
        (SECTION_IN_WORDS, "protocol.md (Frames)", True),
        (SECTION_IN_WORDS, "(protocol.md#frames)", False),
        (SECTION_IN_WORDS, "README.md, SECURITY.md and the rest", False),
        (THE_SOURCE, "as the source has it", True),
        (THE_SOURCE, "the source's structs", True),
        (THE_SOURCE, "the source of a plugin", False),
        (CITATION, "(protocol.md#frames)", True),
        (CITATION, "[Frames](protocol.md#frames)", False),
    ],
)
def test_the_patterns_find_what_they_should(pattern: re.Pattern[str], text: str, matches: bool) -> None:
    assert bool(pattern.search(text)) == matches
