"""The syntax of `reed plugin add`, `upgrade`, `remove` and `pack`. What they do is imported when they are used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reed.cli.parse import CONFIG, PLUGIN_DIR, REGISTRY, Args, Option, Subcommand

if TYPE_CHECKING:
    from reed.cli.output import Output


def add(args: Args, output: Output) -> int:
    from reed.cli.plugin_change import add as run

    return run(args, output)


def upgrade(args: Args, output: Output) -> int:
    from reed.cli.plugin_change import upgrade as run

    return run(args, output)


def remove(args: Args, output: Output) -> int:
    from reed.cli.plugin_change import remove as run

    return run(args, output)


def pack(args: Args, output: Output) -> int:
    from reed.cli.plugin_package import pack as run

    return run(args, output)


_YES = Option("--yes", help="do not ask", short="-y")
_SITE = (CONFIG, REGISTRY, PLUGIN_DIR)
INSTALL_SUBCOMMANDS = {
    "plugin add": Subcommand(
        add,
        "PLUGIN",
        "Show what a plugin asks for, ask, and add it: its folder and its row",
        (
            _YES,
            Option("--start", help="start it now, and whenever the core starts"),
            Option("--group", "NAME", "a group of reed.yaml whose users may call it, besides admins", many=True),
            Option("--dry-run", help="show what it asks for, and change nothing"),
            *_SITE,
        ),
        """
PLUGIN is the name of a bundled plugin or of a folder in plugins/, a folder (./NAME), or an archive (NAME.tar.gz).
Without a terminal --yes is required. If --start is given and the plugin does not start, it is not added.

  reed plugin add backup
  reed plugin add ../word-count --group editor --start
  reed plugin add word-count-1.0.0.tar.gz --yes""",
    ),
    "plugin upgrade": Subcommand(
        upgrade,
        "PLUGIN",
        "Replace a plugin by another version; asks if it wants more than before",
        (_YES, *_SITE),
        """
PLUGIN is the name of a bundled plugin, a folder (./NAME) or an archive. A running plugin is replaced without losing a
call. If the new version does not start, the old one stays, with its row.""",
    ),
    "plugin remove": Subcommand(
        remove,
        "NAME",
        "Stop a plugin and remove its row and its folder; what it has stored is kept",
        (
            _YES,
            Option("--keep-folder", help="remove only its row"),
            Option("--purge", help="also delete its data folder and its log"),
            *_SITE,
        ),
    ),
    "plugin pack": Subcommand(
        pack,
        "FOLDER",
        "Write a plugin's folder to an archive, and print its SHA-256",
        (
            Option("--output", "F", "the archive (NAME-VERSION.tar.gz; - is standard output)"),
            CONFIG,
            PLUGIN_DIR,
        ),
        """
The same files give the same bytes. Version control, caches and build folders are left out, except for the program that
the core runs. `reed plugin add FILE.tar.gz` adds the plugin, here or elsewhere. FOLDER may also be a plugin's name.""",
    ),
}
