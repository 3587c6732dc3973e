"""The snippets that `reed plugin test` calls actions with.

tests/content.jsonl     imported first (the format of `reed export`)
example: NAME           the snippet of that name; created from PAGE if it is missing
example: {…}            a new snippet with this content
no example              a new snippet with PAGE
"""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

from reed.cli.importing.run import Import
from reed.cli.output import Output
from reed.cli.progress import ProgressBar
from reed.client import Client
from reed.errors import CallError, NotFound
from reed.supervision.manifest import Manifest

FILE = "tests/content.jsonl"
TYPE = "page"
FALLBACK_TYPE = "reed-test-page"  # if the file defines a type `page` of its own
_DESCRIPTION = "created by reed plugin test"
PAGE = {
    "title": "How templates shape a page",
    "description": "What a template is, how the site finds the one for a page, and how you write your own.",
    "keywords": ["template"],
    "path": "guides/templates",
    "body": (
        "A template decides how a page looks. Every page has one, and the site finds it by its kind, its type or the "
        "folder it is in.\n\n## Lookup\n\nThe nearest template wins: first the one of the page, then that of its "
        "folder, then the one of the whole site. See [writing templates](/write).\n"
    ),
}


def load(core: Client, folder: Path, manifest: Manifest) -> tuple[dict[str, str], str]:
    """Returns a ref for each action that takes a snippet, and a problem or ""."""
    problem = _import(core, folder / FILE) if (folder / FILE).is_file() else ""
    refs: dict[str, str] = {}
    for action in manifest.actions.values():
        if action.input == "snippet":
            try:
                refs[action.name] = _snippet(core, action.example)
            except CallError as error:
                problem = problem or f"action {action.name}: example {action.example!r}: {error}"
    return refs, problem


def _import(core: Client, path: Path) -> str:
    run = Import(core, str(path), ProgressBar(Output(io.StringIO()), "importing"))
    with path.open("rb") as file, contextlib.redirect_stderr(io.StringIO()):  # the report has the errors
        numbered = ((number, line.strip()) for number, line in enumerate(file, 1) if line.strip())
        run.run(run.export_requests(numbered))
    return "\n".join(map(str, run.problems.rejected))


def _snippet(core: Client, example: Any) -> str:
    if isinstance(example, str):
        ref = example.removeprefix("$")
        try:
            core.snippet_get(ref)
        except NotFound:
            core.snippet_create(_type(core), ref, PAGE)
        return ref
    return core.snippet_create(_type(core), "", PAGE if example is None else example)


def recreate(core: Client, name: str, content: dict[str, Any]) -> str:
    """Replaces a snippet with the same name."""
    if name:
        with contextlib.suppress(NotFound):
            core.snippet_delete(name, cascade=True)
    return core.snippet_create(_type(core), name, content)


def _type(core: Client) -> str:
    """A type that accepts any content."""
    for name in (TYPE, FALLBACK_TYPE):
        try:
            found = core.registry_get(name)
        except NotFound:
            core.registry_define(name, {"description": _DESCRIPTION, "schema": {"type": "object"}})
            return name
        if _DESCRIPTION.encode() in bytes(found.definition):
            return name
    return FALLBACK_TYPE
