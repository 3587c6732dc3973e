"""`reed metrics`."""

from __future__ import annotations

from reed.cli.options import connect
from reed.cli.output import Output
from reed.cli.output_file import replacing
from reed.cli.parse import Args, Option, Subcommand
from reed.client import NoAnswer
from reed.errors import CoreNotRunning
from reed.metrics import render, render_down

_TIMEOUT = 10.0  # seconds: a collector comes every 15 or 60


def metrics(args: Args, output: Output) -> None:
    path = args.text("--output")
    try:
        with connect(args, _TIMEOUT) as core:
            stats, plugins = core.stats(), core.plugin_health()
    except (CoreNotRunning, NoAnswer):
        if path:
            _write(path, render_down())
        raise
    if path:
        _write(path, render(stats, plugins))
    elif output.as_json:
        output.json({"stats": stats, "plugins": plugins})
    else:
        output.stream.write(render(stats, plugins))


def _write(path: str, text: str) -> None:
    with replacing(path) as file:
        file.write(text.encode())


SUBCOMMANDS = {
    "metrics": Subcommand(
        metrics,
        "",
        "Print the figures of the core and its plugins as OpenMetrics text",
        (Option("--output", "FILE", "replace FILE in one step; while no core answers, it gets `reed_up 0`"),),
        """
For the textfile collector of node_exporter, once a minute:
    * * * * *  reed metrics --output /var/lib/node_exporter/reed.prom
contrib/docs/guide/metrics.md lists the metrics.""",
    ),
}
