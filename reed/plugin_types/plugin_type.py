"""What the rest of reed asks a plugin type: where the code is, how it is launched, confined, built, tested."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from reed.errors import NotFound
from reed.own_tests import Case, Project
from reed.sandbox.rules import Profile

if TYPE_CHECKING:
    from pathlib import Path

NAME, ENTRY = "{name}", "{entry}"  # placeholders in `entry_points` and `command`

Result = tuple[str, str]  # "ok", "failed" or "skipped"; and why


class TestsResult(NamedTuple):
    """A file of a plugin's own tests, or all of them."""

    name: str
    result: str  # as in Result
    detail: str  # counts and failures, or why there are no tests
    cases: tuple[Case, ...] = ()

    @classmethod
    def of(cls, file: str, cases: tuple[Case, ...]) -> TestsResult:
        failures = []
        for case in cases:
            if case.failure:
                failures += [f"{case.title}: {case.failure}", *(f"    {line}" for line in case.log)]
        passed = sum(not case.failure for case in cases)
        return cls(file, "failed" if failures else "ok", "\n".join([f"{passed} passed", *failures]), cases)


def by_file(cases: Iterator[Case]) -> Iterator[TestsResult]:
    """The result of each file, or that there are no tests (NotFound)."""
    try:
        for file, found in groupby(cases, lambda case: case.file):
            yield TestsResult.of(file, tuple(found))
    except NotFound as error:
        yield TestsResult("tests", "skipped", str(error))


class StatedVersion(NamedTuple):
    """A place besides plugin.yaml that states the plugin's version."""

    path: Path
    line: int
    version: str


def no_versions(_folder: Path, _name: str, _entry: str) -> Iterator[StatedVersion]:
    return iter(())


def no_build(_project: Project) -> Result | None:
    return None


class PluginType(NamedTuple):
    name: str  # in plugin-registry.csv
    language: str  # of `reed plugin scaffold --lang`: a folder of reed/scaffold/templates
    entry_points: tuple[str, ...]  # the first that exists, unless plugin.yaml has an `entry`
    suffix: str  # by which an `entry` of plugin.yaml is recognised
    missing_entry: str  # hint when there is no code
    command: tuple[str, ...]  # what a fork of the zygote executes; (): it runs in that fork (reed.plugin_host.host)
    profile: Profile
    watches_subfolders: bool  # for changed code
    memory: int | None  # bytes, unless plugin.yaml or reed.yaml sets a limit
    max_private: int  # bytes of private memory that `reed plugin test` accepts
    tests: Callable[[Project], Iterator[TestsResult]]
    build: Callable[[Project], Result | None] = no_build  # None: nothing to build
    stated_versions: Callable[[Path, str, str], Iterator[StatedVersion]] = no_versions  # folder, name, entry
    template_files: Callable[[], Mapping[str, Path]] = dict  # of a new plugin: path in its folder, and file to copy

    def places(self, name: str, entry: str) -> list[str]:
        return [entry] if entry else [place.replace(NAME, name) for place in self.entry_points]

    def owns(self, folder: Path, name: str, entry: str) -> bool:
        if entry:
            return bool(self.suffix) and entry.endswith(self.suffix)
        return any((folder / place).is_file() for place in self.places(name, ""))

    @property
    def needs_executable(self) -> bool:
        return self.command[:1] == (ENTRY,)

    def argv(self, entry: str) -> list[str]:
        return [entry if part == ENTRY else part for part in self.command]
