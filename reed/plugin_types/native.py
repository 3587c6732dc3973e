"""Native plugins: an executable. Those with a Cargo.toml are built and tested by cargo."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from reed.plugin_types.plugin_type import ENTRY, NAME, PluginType, Project, Result
from reed.sandbox.rules import Profile

if TYPE_CHECKING:
    import subprocess

_MAX_LINES = 30
_ERROR = r"error(\[E\d+\])?:|---- .+ stdout ----|thread '.+' panicked at"


def _build(project: Project) -> Result | None:
    """Unless the executable is newer than everything it is made of."""
    import shutil

    folder, name = project.folder, project.name
    if not (folder / "Cargo.toml").is_file():
        return None
    executable = folder / "target" / "release" / name
    if _is_new(executable, folder):
        return "ok", f"{executable} is newer than its sources"
    if not shutil.which("cargo"):
        if executable.exists():
            return "skipped", f"cargo is not installed, and {executable} is older than its sources"
        return "failed", "it is not built, and cargo is not installed (rustup.rs)"
    project.say(f"building {name}: cargo build --release")
    done = _cargo(folder, "build", "--release")
    return ("failed", _error_lines(done)) if done.returncode else ("ok", "cargo build --release")


def _tests(project: Project) -> Iterator[tuple[str, str, str]]:
    import shutil

    if not (project.folder / "Cargo.toml").is_file():
        yield "tests", "skipped", "no Cargo.toml: its tests are not known here"
    elif not shutil.which("cargo"):
        yield "cargo test", "skipped", "cargo is not installed (rustup.rs)"
    else:
        project.say("its own tests: cargo test")
        done = _cargo(project.folder, "test")
        results = [line for line in done.stdout.splitlines() if line.startswith("test result:")]
        summary = "; ".join(line.removeprefix("test result: ").partition("; 0 measured")[0] for line in results)
        yield "cargo test", *(("failed", _error_lines(done)) if done.returncode else ("ok", summary))


def _is_new(executable: Path, folder: Path) -> bool:
    sources = [path for path in (folder / "src").rglob("*") if path.is_file()]
    sources += [path for path in folder.glob("*") if path.name in {"Cargo.toml", "Cargo.lock", "build.rs"}]
    return executable.is_file() and all(path.stat().st_mtime <= executable.stat().st_mtime for path in sources)


def _cargo(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    import subprocess

    return subprocess.run(
        ["cargo", *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


def _error_lines(done: subprocess.CompletedProcess[str]) -> str:
    """From the first error of the compiler or of a test on; without one, the last lines."""
    lines = (done.stdout + done.stderr).strip().splitlines()
    errors = (number for number, line in enumerate(lines) if re.match(_ERROR, line))
    first = next(errors, max(0, len(lines) - _MAX_LINES))
    return "\n".join(lines[first : first + _MAX_LINES])


NATIVE = PluginType(
    name="native",
    language="rust",
    entry_points=(NAME, f"target/release/{NAME}"),
    suffix="",
    missing_entry="build it, for example by `cargo build --release`",
    command=(ENTRY,),
    profile=Profile(
        executes=True,
        read_paths=("/etc/ld.so.cache", "/etc/ssl/openssl.cnf"),
        run_paths=("/usr", "/lib", "/lib64", "/bin"),
    ),
    watches_subfolders=False,
    memory=None,
    max_private=50 * 1024 * 1024,  # reedcms-10.md#plugin-types
    tests=_tests,
    build=_build,
    template_files={"Cargo.lock": Path(__file__).parent.parent / "rust" / "Cargo.lock"},  # the tested versions
)
