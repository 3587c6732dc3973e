"""A plugin's build and its own tests: tests/test_*.lua in the sandbox, or cargo."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from reed.errors import NotFound
from reed.supervision.manifest import Manifest

_LINES = 30  # of what cargo says
_ERROR = re.compile(r"error(\[E\d+\])?:|---- .+ stdout ----|thread '.+' panicked at")

Result = tuple[str, str]  # ok, failed or skipped; and why


def lua(folder: Path, manifest: Manifest, settings: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """A result for each file: its name, and what became of it."""
    from reed.lua.testing import PluginUnderTest, run

    actions = {action.name: action.command_id for action in manifest.actions.values()}
    plugin = PluginUnderTest(folder, settings, actions, manifest.entry, manifest.lua)
    try:
        for file, cases in groupby(run(plugin), lambda case: case.file):
            told, passed = [], 0
            for case in cases:
                passed += not case.failure
                if case.failure:
                    told += [f"{case.title}: {case.failure}", *(f"    {line}" for line in case.log)]
            yield file, "failed" if told else "ok", "\n".join([f"{passed} passed", *told])
    except NotFound as error:
        yield "tests", "skipped", str(error)


def build(folder: Path, name: str, say: Callable[[str], object]) -> Result:
    """`cargo build --release`, unless the executable is newer than all it is made of."""
    executable = folder / "target" / "release" / name
    if _is_new(executable, folder):
        return "ok", f"{executable} is newer than its sources"
    if not (cargo := shutil.which("cargo")):
        if executable.exists():
            return "skipped", f"cargo is not here, and {executable} is older than its sources"
        return "failed", "it is not built, and cargo is not here (rustup.rs)"
    say(f"building {name}: cargo build --release")
    done = _run(cargo, "build", "--release", folder=folder)
    return ("failed", _error_lines(done)) if done.returncode else ("ok", "cargo build --release")


def cargo(folder: Path, say: Callable[[str], object]) -> Iterator[tuple[str, str, str]]:
    if not (folder / "Cargo.toml").is_file():
        yield "tests", "skipped", "it has none that are known here: no Cargo.toml"
    elif not (program := shutil.which("cargo")):
        yield "cargo test", "skipped", "cargo is not here (rustup.rs)"
    else:
        say("its own tests: cargo test")
        done = _run(program, "test", folder=folder)
        told = [line for line in done.stdout.splitlines() if line.startswith("test result:")]
        summary = "; ".join(line.removeprefix("test result: ").partition("; 0 measured")[0] for line in told)
        yield "cargo test", *(("failed", _error_lines(done)) if done.returncode else ("ok", summary))


def _is_new(executable: Path, folder: Path) -> bool:
    sources = [path for path in (folder / "src").rglob("*") if path.is_file()]
    sources += [path for path in folder.glob("*") if path.name in {"Cargo.toml", "Cargo.lock", "build.rs"}]
    return executable.is_file() and all(path.stat().st_mtime <= executable.stat().st_mtime for path in sources)


def _run(program: str, *words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *words],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


def _error_lines(done: subprocess.CompletedProcess[str]) -> str:
    """From the first error on, of the compiler or of a test; without one, the last lines."""
    lines = (done.stdout + done.stderr).strip().splitlines()
    first = next((number for number, line in enumerate(lines) if _ERROR.match(line)), max(0, len(lines) - _LINES))
    return "\n".join(lines[first : first + _LINES])
