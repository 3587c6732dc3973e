"""`reed plugin scaffold`, `reed plugin test` and `reed plugin dev`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from reed.cli.output import Output, short_path
from reed.cli.parse import CONFIG, PLUGIN_DIR, REGISTRY, Args, Option, Subcommand, UsageError, suggest

if TYPE_CHECKING:
    from reed.config import Config


def scaffold(args: Args, output: Output) -> int:
    from pathlib import Path

    from reed.cli.options import config
    from reed.client import core_socket
    from reed.scaffold import row, write

    name, site = args.arg("NAME"), config(args)
    language = _language(args, name)
    line = row(name, language)
    given = args.text("--dir")
    if args.has("--register"):
        _register(site, line, dry_run=True)  # before the folder is written
    own = site.plugin_dirs[0] if len(site.plugin_dirs) > 1 else "plugins"  # the last one is reed's own
    folder, files = write(name, language, Path(given or own).absolute())
    if args.has("--register"):
        _register(site, line)
    is_known = folder.parent in site.plugin_dirs
    commands = [
        f"reed plugin test {name}" + ("" if is_known else f" --plugin-dir {short_path(folder.parent)}"),
        "reed plugin reload" if os.path.exists(core_socket(site.runtime_dir)) else "reed start",
        f"""reed plugin send {name} greet '{{"name": "Ada"}}'""",
    ]
    if output.as_json:
        about = {"folder": str(folder), "language": language, "files": files}
        output.json({**about, "row": line, "registered": args.has("--register"), "next": commands})
        return 0
    registry = short_path(site.registry)
    lines = [short_path(folder / path) for path in files if not path.startswith("vendor/")]
    if len(lines) < len(files):
        lines.append(f"{short_path(folder)}/vendor ({len(files) - len(lines)} files)")
    lines += ["", f"A row was added to {registry}:" if args.has("--register") else f"Add this row to {registry}:"]
    lines += [f"  {line}", ""]
    if not is_known:
        lines += [
            f"{short_path(folder.parent)} is not a plugin folder of this site: add it to plugin_dirs in reed.yaml",
            "",
        ]
    lines += ["Next:", *(f"  {each}" for each in commands)]
    output.stream.writelines(f"{text}\n" for text in lines)
    return 0


def _language(args: Args, name: str) -> str:
    from reed.plugin_types import LANGUAGES  # slow to import
    from reed.scaffold import language_of

    language = args.text("--lang") or language_of(name)
    if language in LANGUAGES:
        return language
    if language:
        raise UsageError(f"unknown language {language!r}", hint=suggest(language, LANGUAGES))
    hint = "add " + " or ".join(f"--lang {each}" for each in LANGUAGES)
    raise UsageError(f"the name {name} implies no language", hint=hint)


def _register(site: Config, line: str, *, dry_run: bool = False) -> None:
    """RegistryError if the file is missing or invalid, or already has the row."""
    from reed.atomic_file import update_file
    from reed.supervision import registry_csv
    from reed.supervision.registry_edit import with_new_line

    def appended(old: bytes) -> bytes:
        new = with_new_line(old, line)
        registry_csv.parse(new, str(site.registry), site.runtime_dir)
        return new

    registry_csv.load(site.registry, site.runtime_dir)
    if dry_run:
        appended(site.registry.read_bytes())
    else:
        update_file(site.registry, appended)


def test(args: Args, output: Output) -> int:
    import tempfile
    from contextlib import closing
    from pathlib import Path

    from reed.cli.check_report import CheckReport
    from reed.cli.options import config
    from reed.cli.plugin_test import PluginTest

    report = CheckReport(output)
    with tempfile.TemporaryDirectory(prefix="reed-test-", ignore_cleanup_errors=True) as work:
        run = PluginTest(args.arg("NAME"), config(args), Path(work), output.info, args.text("--replay") or "")
        with closing(run.checks()) as found:  # before its folder is removed
            for check in found:
                report.add(check)
    return report.end({"plugin": run.name, "version": run.version, "type": run.kind})


def dev(args: Args, output: Output) -> int:
    from pathlib import Path

    from reed.cli.options import config
    from reed.cli.plugin_dev import develop

    return develop(Path(args.arg("FOLDER")), config(args), output, once=args.has("--once"))


_SITE = (CONFIG, REGISTRY, PLUGIN_DIR)
AUTHOR_SUBCOMMANDS = {
    "plugin scaffold": Subcommand(
        scaffold,
        "NAME",
        "Create a plugin that works as it is: manifest, code, README, tests",
        (
            Option("--lang", "LANGUAGE", "such as lua, python or rust; a name such as new-lua-plugin implies it"),
            Option("--dir", "DIR", "the parent folder (the first plugin folder: plugins)"),
            Option("--register", help="add its row to plugin-registry.csv; without it, the row is printed"),
            *_SITE,
        ),
        """
Existing files are never overwritten. A Rust plugin is built by `cargo build --release`.

  reed plugin scaffold new-lua-plugin
  reed plugin scaffold word-count --lang rust --register""",
    ),
    "plugin test": Subcommand(
        test,
        "NAME",
        "Start a plugin on a core of its own and check it, then run its own tests",
        (
            Option("--replay", "F", "also repeat the calls recorded by `reed monitor --record F`"),
            *_SITE,
        ),
        """
The plugin runs with its row of plugin-registry.csv; without one, with the permissions that plugin.yaml asks for, or
read permissions. The checks are manifest, row, version, build, code, registration, health, every action, signals,
messages, memory, shutdown and start time; then tests/test_*.lua or .py, or cargo test, with a line for each. What a
plugin logs is shown only for a test that failed. The exit code is 1 if a check failed.

An action is called with its `example` from plugin.yaml. For `input: snippet` the example is the name of a snippet in
tests/content.jsonl (written by `reed export`), the name of a page to be created, or the content of one. The answer must
have the fields of `output`, with values of the same kinds: a number for a number, anything for null, and in an array
every element like the first one.""",
    ),
    "plugin dev": Subcommand(
        dev,
        "FOLDER",
        "Reload a plugin and run its tests whenever one of its files changes, until Ctrl-C",
        (
            Option("--once", help="end after the first round; the exit code is 1 if it failed"),
            *_SITE,
        ),
        """
The plugin runs in the core of the site, if that is running and has the plugin; otherwise in a private core, which ends
with the command. A native plugin with a Cargo.toml is built first. Errors are shown, and the next change is awaited.
While it waits, the command shows what the plugin logs.

  reed plugin dev plugins/word-count""",
    ),
}
