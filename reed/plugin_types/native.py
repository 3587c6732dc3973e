"""Native plugins: an executable. Those with a Cargo.toml are built and tested by cargo."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from reed.own_tests import Case, Project
from reed.plugin_types.plugin_type import (
    ENTRY,
    NAME,
    PluginType,
    Result,
    StatedVersion,
    TestsResult,
)
from reed.sandbox.rules import Profile

if TYPE_CHECKING:
    import subprocess

VENDORED = "vendor/reed-plugin"  # below a plugin's folder
_CRATE = Path(__file__).parent.parent / "rust"
_MAX_LINES = 30
_BUILDER = r'\bPlugin::builder\(\s*"[^"\n]*",\s*"([^"\n]*)"'
_SOURCES = {"Cargo.toml", "Cargo.lock", "build.rs", "plugin.yaml"}  # besides src/
_AFTER_FAILURE = r"^(?:failures:|stack backtrace:|note: run with `RUST_BACKTRACE)"
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


def _tests(project: Project) -> Iterator[TestsResult]:
    import shutil

    if not (project.folder / "Cargo.toml").is_file():
        yield TestsResult("tests", "skipped", "no Cargo.toml: its tests are not known here")
    elif not shutil.which("cargo"):
        yield TestsResult("cargo test", "skipped", "cargo is not installed (rustup.rs)")
    else:
        project.say("its own tests: cargo test")
        done = _cargo(project.folder, "test")
        results = [line for line in done.stdout.splitlines() if line.startswith("test result:")]
        summary = "; ".join(line.removeprefix("test result: ").partition("; 0 measured")[0] for line in results)
        result = ("failed", _error_lines(done)) if done.returncode else ("ok", summary)
        yield TestsResult("cargo test", *result, tuple(_cases(done.stdout)))


def _cases(printed: str) -> Iterator[Case]:
    """From the lines "test NAME ... ok" of libtest, and its section "---- NAME stdout ----" for each failure."""
    parts = re.split(r"^---- (.+) stdout ----$", printed, flags=re.MULTILINE)
    failures = dict(zip(parts[1::2], parts[2::2], strict=True))
    for title, result in re.findall(r"^test (.+?) \.\.\. (ok|FAILED|ignored)", printed, re.MULTILINE):
        text = re.split(_AFTER_FAILURE, failures.get(title, "failed"), maxsplit=1, flags=re.MULTILINE)[0].strip()
        lines = text.splitlines()
        failure = "\n".join(lines[:_MAX_LINES]) if result == "FAILED" else ""
        yield Case("cargo test", title, failure, None, skipped=result == "ignored")


def _is_new(executable: Path, folder: Path) -> bool:
    sources = [path for path in (folder / "src").rglob("*") if path.is_file()]
    sources += [path for path in folder.glob("*") if path.name in _SOURCES]
    return executable.is_file() and all(path.stat().st_mtime <= executable.stat().st_mtime for path in sources)


def _stated_versions(folder: Path, _name: str, _entry: str) -> Iterator[StatedVersion]:
    """Those of Cargo.toml and of the builder in src/main.rs, if they are literals."""
    cargo, main = folder / "Cargo.toml", folder / "src" / "main.rs"
    if cargo.is_file():
        text = cargo.read_text("utf-8", "replace")
        version = _package_version(text)
        if version:
            found = re.search(rf'^\s*version\s*=\s*["\']{re.escape(version)}["\']', text, re.MULTILINE)
            yield StatedVersion(cargo, text.count("\n", 0, found.end()) + 1 if found else 0, version)
    if main.is_file():
        text = re.sub(r"//[^\n]*", "", main.read_text("utf-8", "replace"))
        if match := re.search(_BUILDER, text):
            yield StatedVersion(main, text.count("\n", 0, match.start(1)) + 1, match[1])


def _package_version(text: str) -> str:
    """ "" without one, and for an invalid file, which cargo reports."""
    import tomllib

    try:
        version = tomllib.loads(text).get("package", {}).get("version", "")
    except (tomllib.TOMLDecodeError, AttributeError):
        return ""
    return version if isinstance(version, str) else ""  # or of a workspace


def _template_files() -> dict[str, Path]:
    """The crate reed-plugin, so that cargo needs nothing outside the folder, and tested versions of what it uses."""
    crate = {"Cargo.toml", "README.md", *(path.relative_to(_CRATE).as_posix() for path in _CRATE.glob("src/**/*.rs"))}
    return {"Cargo.lock": _CRATE / "Cargo.lock", **{f"{VENDORED}/{path}": _CRATE / path for path in sorted(crate)}}


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
        network=True,
        own_proc=True,
    ),
    watches_subfolders=False,
    memory=None,
    max_private=50 * 1024 * 1024,  # reedcms-10.md#plugin-types
    tests=_tests,
    build=_build,
    stated_versions=_stated_versions,
    template_files=_template_files,
)
