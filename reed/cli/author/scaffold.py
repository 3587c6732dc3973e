"""`reed plugin scaffold`: a new plugin from a template (reed.scaffold), and its row."""

from __future__ import annotations

import os
from pathlib import Path

from reed.atomic_file import update_file
from reed.cli.options import config
from reed.cli.output import Output, short_path
from reed.cli.parse import Args, UsageError, suggest
from reed.client import core_socket
from reed.config import Config
from reed.plugin_types import LANGUAGES
from reed.scaffold import language_of, row, write
from reed.supervision import registry_csv
from reed.supervision.registry_edit import with_new_line


def scaffold(args: Args, output: Output) -> None:
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
        return
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


def _language(args: Args, name: str) -> str:
    language = args.text("--lang") or language_of(name)
    if language in LANGUAGES:
        return language
    if language:
        raise UsageError(f"unknown language {language!r}", hint=suggest(language, LANGUAGES))
    hint = "add " + " or ".join(f"--lang {each}" for each in LANGUAGES)
    raise UsageError(f"the name {name} implies no language", hint=hint)


def _register(site: Config, line: str, *, dry_run: bool = False) -> None:
    """RegistryError if the file is missing or invalid, or already has the row."""

    def appended(old: bytes) -> bytes:
        new = with_new_line(old, line)
        registry_csv.parse(new, str(site.registry), site.runtime_dir)
        return new

    registry_csv.load(site.registry, site.runtime_dir)
    if dry_run:
        appended(site.registry.read_bytes())
    else:
        update_file(site.registry, appended)
