"""`reed plugin pack`, and `reed plugin list --available`: the plugins that can be added."""

from __future__ import annotations

import hashlib
import os
from typing import Any

from reed.cli.author.project import folder_of
from reed.cli.options import config
from reed.cli.output import Column, Output, print_error
from reed.cli.output_file import replacing
from reed.cli.parse import Args
from reed.errors import ReedError
from reed.figures import plural, size
from reed.plugin_packages import archive
from reed.plugin_packages.request import request_of
from reed.plugin_packages.source import bundled_folder, checked, own_folders, plugins_in
from reed.supervision import registry_csv


def pack(args: Args, output: Output) -> None:
    package = checked(folder_of(args.arg("FOLDER"), config(args)))
    name, version, files = package.name, package.manifest.version, package.files
    path = args.text("--output") or f"{name}-{version}.tar.gz"
    with replacing(path) as file:
        archive.pack(files, name, file)
    if path == "-":
        return
    with open(path, "rb") as archived:
        digest, length = hashlib.file_digest(archived, "sha256").hexdigest(), os.fstat(archived.fileno()).st_size
    if not package.entry:
        print_error(f"warning: {name} is not built; the archive has only its sources")
    elif package.type.profile.executes and not output.as_json:
        print_error(f"note: {package.entry} runs only on machines like this one ({os.uname().machine})")
    value = {"file": path, "sha256": digest, "bytes": length, "name": name, "version": version, "files": len(files)}
    text = f"{path}: {name} {version}, {plural(len(files), 'file')}, {size(length)}\nSHA-256 {digest}"
    output.show(value, text, [[digest, path]])


def list_available(args: Args, output: Output) -> None:
    site = config(args)
    rows = registry_csv.load(site.registry, site.runtime_dir) if site.registry.exists() else []
    registered = {row.plugin_name for row in rows}
    parents = [bundled_folder(), *reversed(own_folders(site.plugin_dirs))]  # the last one with a name prevails
    folders = {folder.name: folder for parent in parents for folder in plugins_in(parent)}
    found: list[dict[str, Any]] = []
    for name, folder in sorted(folders.items()):
        try:
            package = checked(folder)
        except ReedError as error:
            print_error(str(error))
            continue
        request = request_of(package.manifest, package.type)
        found.append(
            {
                "name": name,
                "version": package.manifest.version,
                "type": package.type.name,
                "added": name in registered,
                "asks_for": request.as_json(),
                "request": [what for what, _ in request.lines() if what != "native"],
                "description": package.manifest.description,
                "folder": str(folder),
            }
        )
    output.table(_AVAILABLE, found)
    output.info("\n`reed plugin add NAME` shows what one asks for, and adds it")


_AVAILABLE = (
    Column("NAME", "name", whole=True),
    Column("VERSION", "version"),
    Column("TYPE", "type"),
    Column("ADDED", "added"),
    Column("ASKS FOR", "request", ", ".join, shrink=2),
    Column("DESCRIPTION", "description", shrink=1),
)
