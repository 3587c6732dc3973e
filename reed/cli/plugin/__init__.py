"""`reed plugin`: the syntax of its subcommands, each with the function in reed.cli that carries it out.

    state      list, status, health             explain    what a plugin may do, and why
    control    start, stop, restart, reload, signal
    calls      send, run-schedule
    install    add, upgrade, remove;  site: the rows, folders and core that they change
    package    pack, list --available

`reed plugin logs` is in reed.cli.logs; scaffold, test and dev are in reed.cli.author.
"""

from __future__ import annotations

from reed.cli.parse import CONFIG, LOG, PLUGIN_DIR, REGISTRY, Option, Subcommand
from reed.wire.codes import Signal

SIGNALS = {
    "wake": Signal.WAKE_UP,
    "reload": Signal.RELOAD_CONFIG,
    "health": Signal.HEALTH_CHECK,
    "shutdown": Signal.SHUTDOWN_GRACEFUL,
}
_YES = Option("--yes", help="do not ask", short="-y")
_SITE = (CONFIG, REGISTRY, PLUGIN_DIR)
SUBCOMMANDS = {
    "plugin list": Subcommand(
        "plugin.state.list_plugins",
        "",
        "List the plugins of the registry, with state and actions",
        (Option("--available", help="list the bundled plugins and those in plugins/, and what they ask for"),),
    ),
    "plugin status": Subcommand(
        "plugin.state.show_status",
        "[NAME]",
        "Print state, memory, calls, latency and schedules of plugins, and why one failed",
    ),
    "plugin health": Subcommand(
        "plugin.state.show_health", "[NAME]", "Print time to READY, uptime, errors, restarts and last error of plugins"
    ),
    "plugin explain": Subcommand(
        "plugin.explain.explain",
        "NAME [COMMAND]",
        "Print what a plugin may do and why; with COMMAND whether it may (0 yes, 1 no), and what to change",
        details="""
COMMAND is a command of the protocol, a permission, or network.

  reed plugin explain simple-seo
  reed plugin explain simple-seo SNIPPET_GET
  reed plugin explain simple-seo file_write
  reed plugin explain ai-core network""",
    ),
    "plugin start": Subcommand("plugin.control.start", "NAME…", "Start plugins; returns when they are ready"),
    "plugin stop": Subcommand("plugin.control.stop", "NAME…", "Stop plugins after they have finished their calls"),
    "plugin restart": Subcommand(
        "plugin.control.restart",
        "NAME…",
        "Restart plugins, or start those that are stopped",
        details="""
The new process of a running plugin takes over when it is ready; until then the old one works. No call is lost.""",
    ),
    "plugin send": Subcommand(
        "plugin.calls.send",
        "NAME ACTION [INPUT]",
        "Call an action of a plugin and print its answer",
        (Option("--all", help="all running plugins with the action, instead of NAME", replaces="NAME"),),
        details="""
INPUT is the REF of a snippet for an action with `input: snippet`, otherwise JSON or bytes; - reads it from standard
input. With --all the answer is {NAME: {"status", "answer" or "error"}}.

  reed plugin send simple-seo validate blog/intro
  reed plugin send simple-seo validate '$blog/intro'
  reed plugin send form-validator validate '{"form": "contact", "data": {"email": "x"}}'
  reed plugin send --all validate blog/intro""",
    ),
    "plugin run-schedule": Subcommand(
        "plugin.calls.run_schedule",
        "NAME SCHEDULE",
        "Run a schedule of a plugin now, and print the answer of its action",
        details="""
Its next due time stays. A schedule that is off can be run; one that is running cannot.

  reed plugin run-schedule backup nightly""",
    ),
    "plugin signal": Subcommand(
        "plugin.control.signal",
        "NAME SIGNAL",
        f"Send a plugin a signal: {', '.join(SIGNALS)}",
        (Option("--all", help="all running plugins, instead of NAME", replaces="NAME"),),
        "wake starts a stopped plugin; with --all it wakes the sleeping ones.",
    ),
    "plugin logs": Subcommand(
        "logs.plugin_logs",
        "NAME",
        "Print the log of a plugin",
        LOG,
    ),
    "plugin reload": Subcommand(
        "plugin.control.reload",
        "[NAME…]",
        "Apply changes of plugin-registry.csv and of plugins' folders; with NAME that plugin, changed or not",
        details="""
A changed plugin starts in a new process while the old one works, and takes over when it is ready; the old process
finishes its calls. An invalid change is refused with the reason, and the old process keeps working.

Prints what was added, started, renewed, updated or removed, and what failed and why (exit code 1). Into a pipe,
separated by tabs: result, name, reason.""",
    ),
    "plugin add": Subcommand(
        "plugin.install.add",
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
        "plugin.install.upgrade",
        "PLUGIN",
        "Replace a plugin by another version; asks if it wants more than before",
        (_YES, *_SITE),
        """
PLUGIN is the name of a bundled plugin, a folder (./NAME) or an archive. A running plugin is replaced without losing a
call. If the new version does not start, the old one stays, with its row.""",
    ),
    "plugin remove": Subcommand(
        "plugin.install.remove",
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
        "plugin.package.pack",
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
    "plugin scaffold": Subcommand(
        "author.scaffold.scaffold",
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
        "author.report.test",
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
every element like the first one.

NAME may also be the plugin's folder: reed plugin test ./word-count""",
    ),
    "plugin dev": Subcommand(
        "author.dev.dev",
        "FOLDER",
        "Reload a plugin and run its tests whenever one of its files changes, until Ctrl-C",
        (
            Option("--once", help="end after the first round; the exit code is 1 if it failed"),
            *_SITE,
        ),
        """
The plugin runs in the core of the site, if that is running and has the plugin; otherwise in a private core, which ends
with the command. A native plugin with a Cargo.toml is built first. Errors are shown, and the next change is awaited.
While it waits, the command shows what the plugin logs. FOLDER may also be a plugin's name.

  reed plugin dev plugins/word-count""",
    ),
}
