"""`reed serve`, `start`, `stop`, `restart` and `status`."""

from __future__ import annotations

import os
from typing import Any

from reed.cli.output import Output, print_error
from reed.cli.parse import CONFIG, PLUGIN_DIR, REGISTRY, Args, Option, Subcommand
from reed.figures import database, duration, other_core, plurals, pool, size


def serve(args: Args, output: Output) -> int:
    from reed.cli.options import config
    from reed.serve import check
    from reed.serve import serve as run

    settings = config(args)
    if not args.has("--check"):
        return run(settings)
    warnings = check(settings, os.environ)
    if not output.as_json:
        for warning in warnings:
            print_error(f"warning: {warning}")
    output.done("code, settings, registry and manifests are valid", {"warnings": list(warnings)})
    return 0


def status(args: Args, output: Output) -> None:
    from reed.cli.options import connect

    with connect(args) as core:
        stats = core.stats()
    output.figures(stats, _describe(stats))


def _describe(stats: dict[str, Any]) -> list[tuple[str, str]]:
    store, plugins = stats.get("store", {}), stats.get("plugins", {})
    turn = stats.get("loop", {}).get("turn_ms", {})
    content = plurals(store, "snippet", "type", "bond")
    if store.get("bytes"):
        content += f", {size(store['bytes'])}"
    if store.get("unindexed"):
        content += f"; {store['unindexed']} not yet indexed"
    if "is_connected" in store:
        content += f"; {database(store)}"
    lines = [
        ("core", f"reed {stats['version']}, pid {stats['pid']}, up {duration(stats['uptime_s'])}"),
        ("memory", size(stats["memory_bytes"])),
        ("connections", str(stats["connections"])),
        ("content", content),
        ("plugins", ", ".join(f"{count} {state}" for state, count in plugins.items()) or "none"),
    ]
    lines += [(name, pool(stats[name])) for name in ("workers", "indexer") if name in stats]
    lines += [("other core", f"{core['name']}, {other_core(core)}") for core in store.get("cores", ())]
    if turn:
        lines.append(("turns", f"p99 {turn['p99']:.2f} ms, longest {turn['longest']:.2f} ms"))
    lines += [
        (each.replace("_dir", " folder"), str(stats[each])) for each in ("runtime_dir", "data_dir") if each in stats
    ]
    return lines


SETTINGS = (
    Option("--data-dir", "DIR", "content and logs (REED_DATA_DIR; ./data)"),
    Option("--store", "S", "sqlite, or postgres:CONNINFO without a password (REED_STORE; sqlite, in the data folder)"),
    REGISTRY,
    PLUGIN_DIR,
    CONFIG,
    Option("--sandbox", "MODE", "auto, off, or strict: every layer or no plugin (REED_SANDBOX; auto)"),
    Option("--log-level", "LEVEL", "debug, info, warning or error (REED_LOG_LEVEL; info)"),
    Option("--log-file", "F", "log of the core (REED_LOG_FILE; serve: stderr, start: core.log in the data folder)"),
)
SUBCOMMANDS = {
    "serve": Subcommand(
        serve,
        "",
        "Run the core in the foreground",
        (
            *SETTINGS,
            Option("--check", help="check code, settings, registry, manifests and REED_ variables; start nothing"),
        ),
        """
It logs to stderr. SIGTERM and Ctrl-C stop the core and its plugins, SIGHUP reloads plugin-registry.csv and reopens the
log file, SIGUSR2 restarts the core (`reed restart`).""",
    ),
    "start": Subcommand(
        "background.start", "", "Run the core in the background; it logs to core.log in the data folder", SETTINGS
    ),
    "stop": Subcommand("background.stop", "", "Stop the core and its plugins; returns when they have exited"),
    "restart": Subcommand(
        "background.restart",
        "",
        "Restart the core with new code and settings; plugins keep running",
        details="""
The running core first checks the new code, the settings and the registry; if something is invalid it keeps running and
the command fails with the reason. Otherwise it finishes its calls and replaces itself. No acknowledged write is lost;
new connections wait. SIGUSR2 does the same.""",
    ),
    "status": Subcommand(status, "", "Print figures of the core: memory, content, plugins, turn times"),
}
