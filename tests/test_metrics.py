"""OpenMetrics text: read by the parsers of prometheus_client, complete, and listed in the guide and the dashboard."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from reed.metrics import FAMILIES, STATES, render, render_down
from reed.supervision.lifecycle import State

openmetrics = pytest.importorskip("prometheus_client.openmetrics.parser", reason="pip install prometheus_client")
older = pytest.importorskip("prometheus_client.parser")

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "contrib/docs/guide/metrics.md").read_text(encoding="utf-8")
DASHBOARD = json.loads((ROOT / "contrib/grafana/reed.json").read_text(encoding="utf-8"))

TIMES = {"histogram": [0, 0, 0, 1, 2, 0, 5], "seconds": 0.00025}  # 1 below 8, 2 below 16, 5 below 64 microseconds
POOL = {"most": 2, "running": 2, "busy": 1, "waiting": 3, "done": 40, "killed_by_deadline": 1, "killed_by_memory": 2}
STATS: dict[str, Any] = {
    "version": "0.2.0", "uptime_s": 12.5, "memory_bytes": 24_000_000, "cpu_s": 1.25, "connections": 3, "accepted": 9,
    "restarts": 1, "denied": 4, "refused": {"limits.user_calls": 5}, "cache_hits": 6,
    "commands": {"SNIPPET_GET": {"errors": {"404": 2}, "bytes_in": 480, "bytes_out": 9000, "calls": 8, **TIMES}},
    "loop": {**TIMES, "disk": TIMES},
    "store": {
        "snippets": 7, "types": 1, "bonds": 2, "events": 3, "unindexed": 0, "bytes": 4096, "commits": 11, "cached": 5,
        "cached_bytes": 5000, "is_connected": True, "lag_seconds": 0.125, "connections": 4, "cores": [{}],
    },
    "workers": {**POOL, "died": 3}, "indexer": {**POOL, "died": 0},
}  # fmt: skip
SEO: dict[str, Any] = {
    "name": "simple-seo", "type": "lua", "version": "1.2.0", "state": "ready", "uptime_s": 3.5, "ready_ms": 12.5,
    "memory_bytes": 2_800_000, "restarts": 2, "calls": 8, "errors": 1, "calls_waiting": 4, "calls_in_flight": 1,
    "calls_refused": 3, "latency": TIMES, "events_waiting": 6, "events_parked": "",
    "schedules": [{"name": "nightly", "runs": 9, "failures": 2, "skipped": 1}],
}  # fmt: skip


def parsed(text: str) -> dict[str, Any]:
    """The families by name, of both parsers."""
    for line in text.splitlines():
        assert line.isprintable(), line
    assert list(older.text_string_to_metric_families(text))
    return {family.name: family for family in openmetrics.text_string_to_metric_families(text)}


def value(families: dict[str, Any], sample: str, **labels: str) -> float:
    (found,) = [
        each.value
        for family in families.values()
        for each in family.samples
        if (each.name, each.labels) == (sample, labels)
    ]
    return found


def test_every_family_has_the_value_that_the_core_reports() -> None:
    families = parsed(render(STATS, [SEO]))
    assert set(families) == {"reed_up", *(f"reed_{family.name}" for family in FAMILIES)}
    for family in FAMILIES:
        assert (families[f"reed_{family.name}"].type, families[f"reed_{family.name}"].unit) == (
            family.kind,
            family.unit,
        )
    assert value(families, "reed_up") == 1
    assert value(families, "reed_build_info", version="0.2.0") == 1
    assert value(families, "reed_cpu_seconds_total") == 1.25
    assert value(families, "reed_refused_total", limit="limits.user_calls") == 5
    assert value(families, "reed_command_errors_total", command="SNIPPET_GET", status="404") == 2
    assert value(families, "reed_command_sent_bytes_total", command="SNIPPET_GET") == 9000
    assert value(families, "reed_store_connected") == 1
    assert value(families, "reed_store_lag_seconds") == 0.125
    assert value(families, "reed_worker_jobs_killed_total", pool="workers", reason="memory") == 2
    assert value(families, "reed_plugin_state", plugin="simple-seo", state="ready") == 1
    assert value(families, "reed_plugin_state", plugin="simple-seo", state="failed") == 0
    assert value(families, "reed_plugin_ready_seconds", plugin="simple-seo") == 0.0125
    assert value(families, "reed_plugin_events_parked", plugin="simple-seo") == 0
    assert value(families, "reed_plugin_schedule_failures_total", plugin="simple-seo", schedule="nightly") == 2


def test_a_histogram_is_cumulative_and_in_seconds() -> None:
    families = parsed(render(STATS, [SEO]))
    buckets = {
        each.labels["le"]: each.value
        for each in families["reed_command_seconds"].samples
        if each.name == "reed_command_seconds_bucket"
    }
    assert list(buckets.items())[:4] == [("1.6e-05", 3), ("3.2e-05", 3), ("6.4e-05", 8), ("0.000128", 8)]
    assert buckets["33.554432"] == buckets["+Inf"] == 8
    assert value(families, "reed_command_seconds_count", command="SNIPPET_GET") == 8
    assert value(families, "reed_command_seconds_sum", command="SNIPPET_GET") == 0.00025


def test_the_states_are_those_of_the_life_cycle() -> None:
    assert list(STATES) == [str(state) for state in State]


def test_odd_characters_in_a_label_are_escaped() -> None:
    names = ['a"b', "a\\b", "a\nb", "ü→", "{}", '\\"', "a\\nb"]
    families = parsed(render(STATS, [{**SEO, "name": name} for name in names]))
    found = [each.labels["plugin"] for each in families["reed_plugin_calls"].samples]
    assert found == names
    broken = "a\r\x00\u2028\ud800b"
    families = parsed(render(STATS, [{**SEO, "name": broken}]))
    assert families["reed_plugin_calls"].samples[0].labels["plugin"] == "a\ufffd\ufffd\ufffd\ufffdb"


def test_what_a_core_lacks_is_left_out() -> None:
    """An embedded core has no restarts; SQLite no lag; a plugin that never was ready no time."""
    stats = {key: value for key, value in STATS.items() if key not in {"restarts", "indexer"}}
    stats["store"] = {key: STATS["store"][key] for key in ("snippets", "commits")}
    families = parsed(render(stats, [{**SEO, "ready_ms": None}]))
    assert {"reed_restarts", "reed_store_lag_seconds", "reed_bonds", "reed_plugin_ready_seconds"}.isdisjoint(families)
    assert value(families, "reed_worker_busy", pool="workers") == 1
    assert "reed_plugin_calls" not in parsed(render(stats, []))


def test_a_core_that_does_not_answer_is_down() -> None:
    assert value(parsed(render_down()), "reed_up") == 0


def test_the_guide_lists_every_metric_with_its_kind_and_unit() -> None:
    rows = re.findall(r"^\| `(reed_\w+)` \| (\w+) \|([^|]*)\|", GUIDE, re.MULTILINE)
    expected = [("reed_up", "gauge", "")]
    for family in FAMILIES:
        suffix = "_total" if family.kind == "counter" else ""
        expected.append((f"reed_{family.name}{suffix}", family.kind, family.unit))
    assert [(name, kind, unit.strip()) for name, kind, unit in rows] == expected


def test_every_metric_of_the_dashboard_exists_and_every_one_that_exists_is_shown() -> None:
    families = parsed(render(STATS, [SEO])).values()
    samples = {each.name for family in families for each in family.samples}
    text = json.dumps([panel.get("targets", []) for panel in DASHBOARD["panels"]] + DASHBOARD["templating"]["list"])
    named = set(re.findall(r"\breed_\w+", text))
    assert named <= samples
    bases = {re.sub(r"_(total|bucket|count|sum)$", "", name) for name in named}
    shown_elsewhere = {"reed_connections_accepted", "reed_plugin_info"}  # for queries of one's own
    unimportant = {"reed_types", "reed_bonds", "reed_cached_records", "reed_store_cores", "reed_restarts"}
    times = {"reed_plugin_uptime_seconds", "reed_plugin_ready_seconds"}
    assert {family.name for family in families} - bases == shown_elsewhere | unimportant | times


def test_the_labels_of_the_dashboard_exist() -> None:
    families = parsed(render(STATS, [SEO])).values()
    labels = {label for family in families for each in family.samples for label in each.labels} | {"instance"}
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= labels
            for group in re.findall(r"by \(([^)]*)\)", target["expr"]):
                assert set(re.split(r",\s*", group)) <= labels
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
