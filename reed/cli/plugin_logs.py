"""`reed plugin logs`."""

from __future__ import annotations

from reed.cli.log_lines import show
from reed.cli.options import config, connect
from reed.cli.output import Output
from reed.cli.parse import Args
from reed.errors import CoreNotRunning, PluginNotFound


def logs(args: Args, output: Output) -> int:
    path = _log_path(args)
    try:
        show(path, args, output)
    except FileNotFoundError:
        output.info(f"{args.arg('NAME')} has no log yet ({path})")
    return 0


def _log_path(args: Args) -> str:
    """As the core reports; without a core, as the settings imply."""
    name = args.arg("NAME")
    try:
        with connect(args) as core:
            return str(core.plugin_health(name)[0]["log"])
    except (CoreNotRunning, PluginNotFound):
        path = config(args).data_dir / "logs" / f"{name}.log"
        if "/" in name or not path.exists():
            raise
        return str(path)
