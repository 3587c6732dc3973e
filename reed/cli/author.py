"""`reed plugin scaffold` and `reed plugin test`: what an author of plugins needs (command-line.md#commands)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from reed.cli.output import Output
from reed.cli.parse import Args, Option, Subcommand, UsageError
from reed.errors import nearest

if TYPE_CHECKING:
    from pathlib import Path

    from reed.cli.plugin_test import Check
    from reed.config import Config


def scaffold(args: Args, output: Output) -> int:
    """Write the folder, then its row, or show the row; then the next three commands."""
    from pathlib import Path

    from reed.cli.options import config
    from reed.client import core_socket
    from reed.scaffold import row, write

    name, site = args.arg("NAME"), config(args)
    language = _language(args, name)
    line = row(name, language)
    given = args.text("--dir")
    if args.has("--register"):
        _register(site, line, dry=True)  # what cannot be registered is not written either
    own = site.plugin_dirs[0] if len(site.plugin_dirs) > 1 else "plugins"  # the last one is that of reed itself
    folder, files = write(name, language, Path(given or own).absolute())
    if args.has("--register"):
        _register(site, line)
    commands = [
        f"reed plugin test {name}"
        + ("" if folder.parent in site.plugin_dirs else f" --plugin-dir {_short(folder.parent)}"),
        "reed plugin reload" if os.path.exists(core_socket(site.runtime_dir)) else "reed start",
        f"""reed plugin send {name} greet '{{"name": "Ada"}}'""",
    ]
    if output.as_json:
        about = {"folder": str(folder), "language": language, "files": files}
        output.json({**about, "row": line, "registered": args.has("--register"), "next": commands})
        return 0
    _tell(site, folder, files, line, registered=args.has("--register"), output=output)
    output.stream.write("".join(f"{text}\n" for text in ("", "Next:", *(f"  {each}" for each in commands))))
    return 0


def _language(args: Args, name: str) -> str:
    from reed.plugin_types import LANGUAGES  # would slow down the start of every `reed plugin` command
    from reed.scaffold import language_of

    language = args.text("--lang") or language_of(name)
    if language in LANGUAGES:
        return language
    if language:
        raise UsageError(f"no language {language!r}", hint=nearest(language, LANGUAGES) or " or ".join(LANGUAGES))
    raise UsageError(
        f"the name {name} tells no language", hint="add " + " or ".join(f"--lang {each}" for each in LANGUAGES)
    )


def _tell(site: Config, folder: Path, files: list[str], line: str, *, registered: bool, output: Output) -> None:
    lines = [f"{_short(folder / path)}" for path in files]
    registry = _short(site.registry)
    lines += [
        "",
        f"A row was added to {registry}:" if registered else f"Let it run by a row in {registry}:",
        f"  {line}",
    ]
    if folder.parent not in site.plugin_dirs:
        lines += [
            "",
            f"{_short(folder.parent)} is no plugin folder of this site: name it by plugin_dirs in reed.yaml",
        ]
    output.stream.write("".join(f"{text}\n" for text in lines))


def _register(site: Config, line: str, *, dry: bool = False) -> None:
    """Append the row; RegistryError when the file is missing, is wrong, or has such a row already. `dry`: only look."""
    from reed.scaffold import update_file
    from reed.supervision import registry_csv

    def appended(old: bytes) -> bytes:
        new = old + (b"\n" if old and not old.endswith(b"\n") else b"") + line.encode() + b"\n"
        registry_csv.parse(new, str(site.registry), site.runtime_dir)
        return new

    registry_csv.load(site.registry, site.runtime_dir)
    if dry:
        appended(site.registry.read_bytes())
    else:
        update_file(site.registry, appended)


def _short(path: Path) -> str:
    """As a person would write it from here."""
    here = os.getcwd()
    return os.path.relpath(path) if path.is_relative_to(here) else str(path)


def test(args: Args, output: Output) -> int:
    """A line for each check as it comes; 1 when one failed."""
    import tempfile
    import time
    from contextlib import closing
    from pathlib import Path

    from reed.cli.options import config
    from reed.cli.plugin_test import FAILED, OK, SKIPPED, PluginTest

    since = time.monotonic()
    checks: list[Check] = []
    with tempfile.TemporaryDirectory(prefix="reed-test-", ignore_cleanup_errors=True) as work:
        trial = PluginTest(args.arg("NAME"), config(args), Path(work), output.info, args.text("--replay") or "")
        with closing(trial.checks()) as found:  # its core ends before its folder does
            for check in found:
                checks.append(check)
                _tell_check(check, output)
    counts = {result: sum(check.result == result for check in checks) for result in (OK, FAILED, SKIPPED)}
    passed = not counts[FAILED]
    if output.as_json:
        about = {"plugin": trial.name, "version": trial.version, "type": trial.kind, "passed": passed}
        output.json({**about, **counts, "checks": [check._asdict() for check in checks]})
    told = ", ".join(f"{count} {result}" for result, count in counts.items() if count)
    output.info(f"\n{trial.name}: {told}, in {time.monotonic() - since:.1f} s")
    return 0 if passed else 1


def _tell_check(check: Check, output: Output) -> None:
    if output.as_json:
        return
    if output.is_terminal:
        output.result(check.result, f"{check.name:20} " + check.detail.replace("\n", f"\n{'':21}"))
    else:
        output.rows([[check.result, check.name, check.detail]])
    output.stream.flush()


_PLUGIN_DIR = Option("--plugin-dir", "DIR", "a folder of plugins, instead of the site's; then those of reed", many=True)
_SITE = (
    Option("--config", "F", "the settings (reed.yaml)"),
    Option("--registry", "F", "the registry (plugin-registry.csv)"),
    _PLUGIN_DIR,
)
AUTHOR_SUBCOMMANDS = {
    "plugin scaffold": Subcommand(
        scaffold,
        "NAME",
        "Write a new plugin that works as it is: manifest, code, README, tests",
        (
            Option("--lang", "LANGUAGE", "such as lua or rust; a name such as new-lua-plugin implies it"),
            Option("--dir", "DIR", "the folder to make it in (the first plugin folder: plugins)"),
            Option("--register", help="add its row to plugin-registry.csv too; else it is shown"),
            *_SITE,
        ),
        """
Nothing that is there is overwritten. A Rust plugin is built by `cargo build --release`.

  reed plugin scaffold new-lua-plugin
  reed plugin scaffold word-count --lang rust --register""",
    ),
    "plugin test": Subcommand(
        test,
        "NAME",
        "Start a plugin on its own and check it, then run its own tests",
        (Option("--replay", "F", "make the calls of a file of `reed monitor --record` again"), *_SITE),
        """
It gets a core of its own, with its row of plugin-registry.csv, or one that lets it read where it has none. A line tells
of each check: manifest, row, build and code; registration, health, every action, signals, messages, memory, shutdown,
start time; then tests/test_*.lua, or cargo test. The exit code is 1 when one failed.

An action is called with its `example` from plugin.yaml. For `input: snippet` that is the name of a snippet in
tests/content.jsonl (what `reed export` writes), of a page that is made for it, or the content of one. The answer must
have what `output` has, with values of the same kinds: a number for a number, null for anything, every element of an
array like the first one.""",
    ),
}
