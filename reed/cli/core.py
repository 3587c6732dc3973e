"""`reed serve`, `start`, `stop`, `restart`, `status` and `init`: the core itself, and the folder of a site."""

from __future__ import annotations

import os
from typing import Any

from reed.cli.output import Output, complain, counted, size, span
from reed.cli.parse import Args, Form, Option


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
            complain(f"warning: {warning}")
    output.done("code, settings, registry and manifests are in order", {"warnings": list(warnings)})
    return 0


def start(args: Args, output: Output) -> int:
    from reed.cli.daemonize import launch, log_path
    from reed.cli.options import config
    from reed.config import unknown_variables
    from reed.runtime_paths import used_folder

    settings = config(args)
    unknown = {} if output.as_json else unknown_variables(os.environ)
    for name, hint in unknown.items():
        complain(f"warning: unknown variable {name}; {hint}")
    pid = launch(settings, [f"{name}={value}" for name in _FLAGS for value in args.texts(name)])
    folder = used_folder(settings.runtime_dir)
    if output.as_json:
        output.json({"pid": pid, "runtime_dir": folder, "data_dir": str(settings.data_dir)})
    elif output.is_terminal:
        output.say(f"the core runs (pid {pid}): runtime folder {folder}, log {log_path(settings)}")
    else:
        output.rows([[pid, folder]])
    return 0


def stop(args: Args, output: Output) -> int:
    from reed.cli.daemonize import terminate
    from reed.cli.options import runtime_dir

    pid = terminate(runtime_dir(args))
    output.done(f"core stopped (pid {pid})", {"pid": pid})
    return 0


def restart(args: Args, output: Output) -> int:
    from reed.cli.daemonize import restart as run
    from reed.cli.options import runtime_dir

    pid = run(runtime_dir(args))
    output.done(f"core restarted (pid {pid}); plugins kept running", {"pid": pid})
    return 0


def status(args: Args, output: Output) -> int:
    from reed.cli.options import connect

    with connect(args) as core:
        stats = core.stats()
    if output.as_json:
        output.json(stats)
    elif output.is_terminal:
        for what, words in _in_words(stats):
            output.say(f"{what:14} {words}")
    else:
        output.rows(_flat(stats, ""))
    return 0


def _in_words(stats: dict[str, Any]) -> list[tuple[str, str]]:
    store, plugins = stats.get("store", {}), stats.get("plugins", {})
    turn = stats.get("loop", {}).get("turn_ms", {})
    content = ", ".join(counted(store.get(f"{thing}s", 0), thing) for thing in ("snippet", "type", "bond"))
    if store.get("bytes"):
        content += f", {size(store['bytes'])}"
    if store.get("unindexed"):
        content += f"; {store['unindexed']} not yet indexed"
    found = [
        ("core", f"reed {stats['version']}, pid {stats['pid']}, up {span(stats['uptime_s'])}"),
        ("memory", size(stats["memory_bytes"])),
        ("connections", str(stats["connections"])),
        ("content", content),
        ("plugins", ", ".join(f"{count} {state}" for state, count in plugins.items()) or "none"),
    ]
    if turn:
        found.append(("turns", f"p99 {turn['p99']:.2f} ms, longest {turn['longest']:.2f} ms"))
    found += [
        (each.replace("_dir", " folder"), str(stats[each])) for each in ("runtime_dir", "data_dir") if each in stats
    ]
    return found


def _flat(value: Any, name: str) -> list[list[Any]]:
    """name ⇥ value, a line for each figure: store.snippets ⇥ 942."""
    if not isinstance(value, dict):
        return [[name, value]]
    return [line for key, each in value.items() for line in _flat(each, f"{name}.{key}" if name else key)]


def init(args: Args, output: Output) -> int:
    from reed.cli.new_site import make

    folder = args.word("DIR") or "."
    made, kept = make(folder)
    if output.as_json:
        output.json({"made": made, "kept": kept})
        return 0
    if not output.is_terminal:
        output.rows([[path] for path in made])
        return 0
    for path in made:
        output.say(f"made {path}")
    for path in kept:
        output.say(f"kept {path}, which was there")
    output.say(f"\nnext: {'' if folder == '.' else f'cd {folder} && '}reed start")
    return 0


_FLAGS = (
    "--runtime-dir",
    "--data-dir",
    "--registry",
    "--plugin-dir",
    "--config",
    "--sandbox",
    "--log-level",
    "--log-file",
)
_SETTINGS = (
    Option("--data-dir", "DIR", "the content and the logs (REED_DATA_DIR; ./data)"),
    Option("--registry", "F", "which plugins may run (REED_REGISTRY; ./plugin-registry.csv)"),
    Option("--plugin-dir", "DIR", "where plugins are (REED_PLUGIN_DIR; ./plugins); then those of reed", many=True),
    Option("--config", "F", "the settings (REED_CONFIG; ./reed.yaml if it is there)"),
    Option("--sandbox", "MODE", "auto, off, or strict: every layer or no plugin (REED_SANDBOX; auto)"),
    Option("--log-level", "LEVEL", "debug, info, warning or error (REED_LOG_LEVEL; info)"),
    Option("--log-file", "F", "where the core logs (REED_LOG_FILE; serve: stderr, start: core.log in the data folder)"),
)
FORMS = {
    "serve": Form(
        serve,
        "",
        "Run the core in the foreground",
        (
            *_SETTINGS,
            Option("--check", "", "check code, settings, registry, manifests and REED_ variables, and start nothing"),
        ),
        """
It logs to stderr. SIGTERM or Ctrl-C stops it and its plugins, SIGHUP has it read plugin-registry.csv again and reopen
its log file, SIGUSR2 restarts it (`reed restart`).""",
    ),
    "start": Form(start, "", "Run the core in the background; it logs to core.log in the data folder", _SETTINGS),
    "stop": Form(stop, "", "Stop the core and its plugins; returns when they are gone"),
    "restart": Form(
        restart,
        "",
        "Run the core anew, with new code and settings; its plugins go on",
        details="""
The running core checks the new code, the settings and the registry first: if something is wrong it goes on, and says
why. Then it ends its calls and becomes the new core. No acknowledged write is lost, and who connects meanwhile waits.
The same by SIGUSR2.""",
    ),
    "status": Form(status, "", "How the core does"),
    "init": Form(
        init,
        "[DIR]",
        "Make a site: reed.yaml, plugin-registry.csv and plugins/; what is there is left alone",
    ),
}
