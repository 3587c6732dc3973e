"""SYSTEM_STATS and PLUGIN_HEALTH as OpenMetrics text (metrics.md).

    stats, plugins ── FAMILIES ── one family of samples each ── text, which ends with "# EOF"

Only gauges, counters and histograms are used, so that readers of the older Prometheus text format, such as the textfile
collector of node_exporter, read it too. Buckets are powers of two: those of the core's histograms (reed.counters).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
STATES = ("stopped", "starting", "ready", "busy", "sleeping", "stopping", "backoff", "failed")
POOLS = ("workers", "indexer")

_SMALLEST, _LARGEST = 4, 25  # powers of two of the bounds that are shown: 16 microseconds to 34 seconds
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})

Labels = Mapping[str, Any]
Sample = tuple[Labels, Any]  # the value is a number, or for a histogram {"histogram": counts, "seconds": sum}


class Source(NamedTuple):
    stats: Mapping[str, Any]
    plugins: Sequence[Mapping[str, Any]]


class Family(NamedTuple):
    name: str  # without "reed_", and of a counter without "_total"
    kind: str
    help: str
    samples: Callable[[Source], Iterable[Sample]]
    unit: str = ""  # its last word, if the name ends with one


def render(stats: Mapping[str, Any], plugins: Sequence[Mapping[str, Any]]) -> str:
    """`stats` of SYSTEM_STATS, `plugins` of PLUGIN_HEALTH. Keys that an older core lacks are left out."""
    source = Source(stats, plugins)
    lines = [line for family in FAMILIES for line in _lines(family, source)]
    return "\n".join([*_up(1), *lines, "# EOF", ""])


def render_down() -> str:
    """The text while no core answers."""
    return "\n".join([*_up(0), "# EOF", ""])


def _up(value: int) -> list[str]:
    return ["# TYPE reed_up gauge", "# HELP reed_up Whether the core answers.", f"reed_up {value}"]


def _lines(family: Family, source: Source) -> Iterator[str]:
    try:
        samples = list(family.samples(source))
    except KeyError:
        return
    if not samples:
        return
    name = f"reed_{family.name}"
    yield f"# TYPE {name} {family.kind}"
    if family.unit:
        yield f"# UNIT {name} {family.unit}"
    yield f"# HELP {name} {family.help}"
    for labels, value in samples:
        if family.kind == "histogram":
            yield from _histogram(name, labels, value)
        else:
            suffix = "_total" if family.kind == "counter" else ""
            yield f"{name}{suffix}{_labels(labels)} {_number(value)}"


def _histogram(name: str, labels: Labels, value: Mapping[str, Any]) -> Iterator[str]:
    counts: Sequence[int] = value["histogram"]
    for power in range(_SMALLEST, _LARGEST + 1):
        bound = {**labels, "le": repr((1 << power) / 1e6)}
        yield f"{name}_bucket{_labels(bound)} {sum(counts[: power + 1])}"
    total = sum(counts)
    yield f"{name}_bucket{_labels({**labels, 'le': '+Inf'})} {total}"
    yield f"{name}_count{_labels(labels)} {total}"
    yield f"{name}_sum{_labels(labels)} {_number(value['seconds'])}"


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escape(str(value))}"' for name, value in labels.items()) + "}"


def _escape(value: str) -> str:
    """Other control characters and lone surrogates would break the lines or the encoding."""
    return "".join(
        each if each == "\n" or each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in value
    ).translate(_ESCAPES)


def _number(value: float) -> str:
    return str(int(value)) if isinstance(value, bool | int) else repr(float(value))


# Samples. A KeyError leaves the family out: not every core and store has every figure.


def _of(*path: str) -> Callable[[Source], Iterable[Sample]]:
    """One value of SYSTEM_STATS."""

    def samples(source: Source) -> Iterable[Sample]:
        value: Any = source.stats
        for key in path:
            value = value[key]
        return [({}, value)]

    return samples


def _other_cores(source: Source) -> Iterable[Sample]:
    return [({}, len(source.stats["store"]["cores"]))]


def _of_commands(key: str) -> Callable[[Source], Iterable[Sample]]:
    return lambda source: [({"command": name}, each[key]) for name, each in source.stats["commands"].items()]


def _times_of_commands(source: Source) -> Iterable[Sample]:
    return [({"command": name}, each) for name, each in source.stats["commands"].items()]


def _errors_of_commands(source: Source) -> Iterable[Sample]:
    return [
        ({"command": name, "status": status}, count)
        for name, each in source.stats["commands"].items()
        for status, count in each["errors"].items()
    ]


def _of_pools(key: str) -> Callable[[Source], Iterable[Sample]]:
    return lambda source: [({"pool": pool}, source.stats[pool][key]) for pool in POOLS if pool in source.stats]


def _killed_jobs(source: Source) -> Iterable[Sample]:
    reasons = {"deadline": "killed_by_deadline", "memory": "killed_by_memory", "died": "died"}
    return [
        ({"pool": pool, "reason": reason}, source.stats[pool][key])
        for pool in POOLS
        if pool in source.stats
        for reason, key in reasons.items()
    ]


def _of_plugins(key: str, scale: float = 1) -> Callable[[Source], Iterable[Sample]]:
    def samples(source: Source) -> Iterable[Sample]:
        return [
            ({"plugin": each["name"]}, each[key] if scale == 1 else each[key] * scale)
            for each in source.plugins
            if each[key] is not None
        ]

    return samples


def _states_of_plugins(source: Source) -> Iterable[Sample]:
    return [
        ({"plugin": each["name"], "state": state}, int(each["state"] == state))
        for each in source.plugins
        for state in STATES
    ]


def _of_schedules(key: str) -> Callable[[Source], Iterable[Sample]]:
    return lambda source: [
        ({"plugin": plugin["name"], "schedule": each["name"]}, each[key])
        for plugin in source.plugins
        for each in plugin["schedules"]
    ]


def _kinds_of_plugins(source: Source) -> Iterable[Sample]:
    return [({key: each[key] for key in ("type", "version")} | {"plugin": each["name"]}, 1) for each in source.plugins]


_G, _C, _H, _S, _B = "gauge", "counter", "histogram", "seconds", "bytes"

FAMILIES = (
    # The core.
    Family("build_info", _G, "The version of the core.", lambda source: [({"version": source.stats["version"]}, 1)]),
    Family("uptime_seconds", _G, "Since the core was started or restarted.", _of("uptime_s"), _S),
    Family("restarts", _C, "Restarts of the core by `reed restart`.", _of("restarts")),
    Family("memory_bytes", _G, "Resident memory of the core, without workers and plugins.", _of("memory_bytes"), _B),
    Family("cpu_seconds", _C, "Processor time of the core.", _of("cpu_s"), _S),
    Family("connections", _G, "Open connections to core.sock.", _of("connections")),
    Family("connections_accepted", _C, "Connections to core.sock since the start.", _of("accepted")),
    Family("denied", _C, "Requests that were refused for lack of a permission.", _of("denied")),
    Family(
        "refused",
        _C,
        "Requests and connections over a quota, by the setting in reed.yaml.",
        lambda source: [({"limit": name}, count) for name, count in source.stats["refused"].items()],
    ),
    # Commands.
    Family("command_seconds", _H, "From reading a request to its response.", _times_of_commands, _S),
    Family("command_errors", _C, "Responses with a status from 400 on.", _errors_of_commands),
    Family("command_received_bytes", _C, "Bytes of requests.", _of_commands("bytes_in"), _B),
    Family("command_sent_bytes", _C, "Bytes of responses.", _of_commands("bytes_out"), _B),
    Family("cache_hits", _C, "Responses of SNIPPET_GET from the response cache.", _of("cache_hits")),
    # The loop.
    Family("turn_seconds", _H, "Turns of the event loop, without waits for the disk.", _of("loop"), _S),
    Family("disk_wait_seconds", _H, "Waits of commits for the disk.", _of("loop", "disk"), _S),
    # The store.
    Family("commits", _C, "Transactions that the store committed.", _of("store", "commits")),
    Family("store_bytes", _G, "Size of the store.", _of("store", "bytes"), _B),
    Family("snippets", _G, "Snippets in the store.", _of("store", "snippets")),
    Family("types", _G, "Types in the store.", _of("store", "types")),
    Family("bonds", _G, "Bonds in the store.", _of("store", "bonds")),
    Family("unindexed", _G, "Snippets that the search index does not have yet.", _of("store", "unindexed")),
    Family("events_waiting", _G, "Events that wait for plugins.", _of("store", "events")),
    Family("cached_records", _G, "Records in memory.", _of("store", "cached")),
    Family("cached_bytes", _G, "Memory of these records.", _of("store", "cached_bytes"), _B),
    Family("store_connected", _G, "PostgreSQL: 1 if all connections are ready.", _of("store", "is_connected")),
    Family("store_lag_seconds", _G, "PostgreSQL: age of what the core knows.", _of("store", "lag_seconds"), _S),
    Family("store_connections", _G, "PostgreSQL: connections of all cores.", _of("store", "connections")),
    Family("store_cores", _G, "PostgreSQL: other cores on the same database.", _other_cores),
    # Workers.
    Family("worker_processes", _G, "Worker processes.", _of_pools("running")),
    Family("worker_processes_max", _G, "Worker processes at most.", _of_pools("most")),
    Family("worker_busy", _G, "Worker processes with a job.", _of_pools("busy")),
    Family("worker_jobs_waiting", _G, "Jobs that wait for a worker.", _of_pools("waiting")),
    Family("worker_jobs", _C, "Jobs that ended with a result or an error.", _of_pools("done")),
    Family("worker_jobs_killed", _C, "Jobs whose worker was killed or died.", _killed_jobs),
    # Plugins.
    Family("plugin_info", _G, "A row of plugin-registry.csv.", _kinds_of_plugins),
    Family("plugin_state", _G, "1 for the state that the plugin is in, 0 for the others.", _states_of_plugins),
    Family("plugin_uptime_seconds", _G, "Since the plugin's process was started.", _of_plugins("uptime_s"), _S),
    Family("plugin_ready_seconds", _G, "From the last start to READY.", _of_plugins("ready_ms", 1e-3), _S),
    Family("plugin_memory_bytes", _G, "Memory of the plugin's process.", _of_plugins("memory_bytes"), _B),
    Family("plugin_restarts", _C, "Restarts after crashes.", _of_plugins("restarts")),
    Family("plugin_calls", _C, "Calls of actions, filters and events.", _of_plugins("calls")),
    Family("plugin_errors", _C, "Calls that failed or got a status from 500 on.", _of_plugins("errors")),
    Family("plugin_calls_refused", _C, "Calls over the length of the queue.", _of_plugins("calls_refused")),
    Family("plugin_calls_waiting", _G, "Calls in the queue.", _of_plugins("calls_waiting")),
    Family("plugin_calls_in_flight", _G, "Calls that the plugin works on.", _of_plugins("calls_in_flight")),
    Family("plugin_call_seconds", _H, "Ended calls, with their time in the queue.", _of_plugins("latency"), _S),
    Family("plugin_events_waiting", _G, "Events that wait for the plugin.", _of_plugins("events_waiting")),
    Family(
        "plugin_events_parked",
        _G,
        "1 if an event failed so often that no more are delivered.",
        lambda source: [({"plugin": each["name"]}, int(bool(each["events_parked"]))) for each in source.plugins],
    ),
    Family("plugin_schedule_runs", _C, "Runs of a schedule, on all cores.", _of_schedules("runs")),
    Family("plugin_schedule_failures", _C, "Runs that failed.", _of_schedules("failures")),
    Family("plugin_schedule_skipped", _C, "Runs during which it was due again.", _of_schedules("skipped")),
)
