"""The snippets that a plugin on trial is called with.

its folder's tests/content.jsonl     as `reed export` writes it
`example: about`, and none such      a page of that name, made for the trial
no example, or an object             a page of its own; of the object's content
"""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

from reed.cli.importer import Import
from reed.cli.output import Output
from reed.cli.progress import ProgressBar
from reed.client import Client
from reed.errors import CallError, NotFound
from reed.supervision.manifest import Manifest

FILE = "tests/content.jsonl"
TYPE = "page"
OTHER_TYPE = "page-of-the-trial"  # where the file has its own type `page`
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
    """Put the snippets there; the ref for each action that takes one, and what went wrong in words."""
    problem = _import(core, folder / FILE) if (folder / FILE).is_file() else ""
    refs: dict[str, str] = {}
    for action in manifest.actions.values():
        if action.input == "snippet":
            try:
                refs[action.name] = _snippet(core, action.example)
            except CallError as error:
                problem = problem or f"action {action.name}: its example {action.example!r}: {error}"
    return refs, problem


def _import(core: Client, path: Path) -> str:
    run = Import(core, str(path), ProgressBar(Output(io.StringIO()), "importing"))
    with path.open("rb") as file, contextlib.redirect_stderr(io.StringIO()):  # it is told in the report
        numbered = ((number, line.strip()) for number, line in enumerate(file, 1) if line.strip())
        run.run(run.export_requests(numbered))
    return "\n".join(map(str, run.problems.rejected))


def _snippet(core: Client, example: Any) -> str:
    """The ref of the snippet that an example means."""
    if isinstance(example, str):
        ref = example.removeprefix("$")
        try:
            core.snippet_get(ref)
        except NotFound:
            core.snippet_create(_type(core), ref, PAGE)
        return ref
    return core.snippet_create(_type(core), "", PAGE if example is None else example)


def remake(core: Client, name: str, content: dict[str, Any]) -> str:
    """The id of a new snippet of that content; one that has the name already goes."""
    if name:
        with contextlib.suppress(NotFound):
            core.snippet_delete(name, cascade=True)
    return core.snippet_create(_type(core), name, content)


def _type(core: Client) -> str:
    """A type that takes any content."""
    definition = {"description": "made for the trial", "schema": {"type": "object"}}
    for name in (TYPE, OTHER_TYPE):
        try:
            found = core.registry_get(name)
        except NotFound:
            core.registry_define(name, definition)
            return name
        if b"made for the trial" in bytes(found.definition):
            return name
    return OTHER_TYPE
