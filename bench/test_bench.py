"""What the benchmarks say of their figures: verdicts, records, and what CI calls slower."""

from __future__ import annotations

import json
import platform
import re
import sys

import pytest

import bench.__main__
from bench import check, pythons, record
from bench.lines import Line, missing, table
from bench.measure import interleaved, quantile
from bench.plots import finding, spread
from bench.rows.pythons import beside
from bench.rows.turns import quantile as quantile_of_histogram
from bench.series import Curve


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        (Line("get", 10.0, "us", "echo", 20.0, goal=1.0), "met"),
        (Line("get", 30.0, "us", "echo", 20.0, goal=1.0), "missed by a factor of 1.50"),
        (Line("rate", 50.0, "/s", "echo", 20.0, goal=1.0, at_least=True), "met"),
        (Line("rate", 10.0, "/s", "echo", 20.0, goal=1.0, at_least=True), "missed by a factor of 2.00"),
        (Line("signal", 0.2, "ms", goal=0.1), "missed by a factor of 2.00"),
        (Line("get", 10.0, "us", "echo", 20.0), ""),
        (Line("start", None, "ms", goal=5.0, note="no cargo here"), "not measured"),
    ],
)
def test_a_line_says_whether_its_goal_is_met_and_how_far_it_is(line, verdict):
    assert line.verdict == verdict


def test_the_table_names_a_work_once_and_every_peer_that_is_missing():
    shown = table([Line("get", 10.0, "us", "C", 5.0), missing("get", "uvloop", "not installed: pip install uvloop")])
    assert shown.count("get") == 1
    assert shown.splitlines()[-1].split() == ["uvloop", "not", "installed:", "pip", "install", "uvloop"]


def test_a_group_that_fails_is_named_and_the_others_are_measured(monkeypatch, capsys):
    def measure(name, _rounds, _part, _pythons):
        if name == "create":
            raise FileNotFoundError("/proc/7/smaps_rollup")
        return [Line(name, 10.0, "us", "C", 5.0)]

    monkeypatch.setattr(bench.__main__, "measure", measure)
    monkeypatch.setattr(bench.__main__, "pin", lambda: 0)
    assert bench.__main__.main(["get", "create", "call"]) == 1
    printed = capsys.readouterr()
    assert re.search(r"^get .*2\.00$", printed.out, re.MULTILINE)
    assert re.search(r"^call .*2\.00$", printed.out, re.MULTILINE)
    assert "not measured, see the tracebacks above: create" in printed.out
    assert "/proc/7/smaps_rollup" in printed.err


def test_a_program_is_a_python_to_measure_only_if_reed_can_run_there(monkeypatch, tmp_path):
    monkeypatch.setattr(pythons.os, "getuid", lambda: 1000)  # without other releases' root folders
    monkeypatch.setattr(pythons.shutil, "which", lambda _name: None)
    for name, says in (("new", "echo 3.14.2"), ("same", "echo 3.14.3"), ("old", "echo 3.9.1"), ("bare", "exit 1")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{says}\n")
        (tmp_path / name).chmod(0o755)
    found = pythons.find([str(tmp_path / name) for name in ("bare", "old", "new", "same")])
    assert found.pop(platform.python_version(), [sys.executable]) == [sys.executable]
    assert found == {"3.14.2": [str(tmp_path / "new")]}
    assert set(pythons.absent(found)) == {"3.11", "3.12", "3.13"}


def test_the_goal_stands_at_the_best_python():
    lines = beside("get", "us", "redis", {"Python 3.11.7": 30.0, "Python 3.14.1": 25.0, "redis": 20.0}, 1.25)
    assert [(line.work, line.verdict) for line in lines] == [("get, Python 3.11.7", ""), ("get, Python 3.14.1", "met")]
    faster = beside("get", "/s", "redis", {"Python 3.11.7": 30.0, "Python 3.14.1": 25.0}, 1.0, at_least=True)
    assert [line.verdict for line in faster] == ["not measured", ""]


def test_sides_take_turns_and_each_begins_a_round():
    order = []
    figures = interleaved({name: lambda name=name: order.append(name) or len(order) for name in "ab"}, 3)
    assert "".join(order) == "abbaab"
    assert figures == {"a": 4, "b": 3}


def test_quantiles():
    assert quantile([float(each) for each in range(1000)], 0.99) == 990.0
    assert quantile_of_histogram([0, 0, 999, 0, 1], 0.5) < 0.004
    assert 0.008 <= quantile_of_histogram([0, 0, 999, 0, 1], 1.0) <= 0.016


def test_a_record_is_found_again_and_tells_neither_name_nor_path_of_the_machine(tmp_path):
    assert record.last("table", tmp_path) is None
    path = record.write("table", {"lines": [Line("get", 10.0, "us", "C", 5.0, goal=4.0).as_json()]}, tmp_path)
    found = record.last("table", tmp_path)
    assert found is not None
    assert found["lines"] == [
        {
            "work": "get",
            "ours": 10.0,
            "unit": "us",
            "peer": "C",
            "theirs": 5.0,
            "goal": 4.0,
            "ratio": 2.0,
            "verdict": "met",
        }
    ]
    assert "/" not in json.dumps(found["machine"]).replace("linux/", "")
    assert path.name.endswith("-table.json")


def _old(**instructions: int):
    return {
        "python_tag": record.python_tag(),
        "machine": record.machine(),
        "ratios": {"get / echo": 2.0},
        "instructions": instructions,
    }


def test_what_is_beyond_its_margin_is_slower():
    assert check.compare({"get / echo": 3.9}, {"get": 124}, _old(get=100)) == []
    assert check.compare({"get / echo": 4.1}, {"get": 124}, _old(get=100)) == ["get / echo"]
    assert check.compare({"get / echo": 2.0}, {"get": 131}, _old(get=100)) == ["get"]


def test_what_cannot_be_compared_is_no_alarm():
    other = _old(get=100)
    other["python_tag"] = "pypy-3.99-riscv"
    other["machine"] = {"processor": "another"}
    assert check.compare({"get / echo": 5.9, "new / echo": 99.0}, {"get": 1000}, other) == []
    assert "not compared" in check.report({}, {"get": 1000}, other, [])
    assert "valgrind is not here" in check.report({}, {}, None, [])


def test_a_plot_says_what_grew_most():
    get, tree = Curve("snippets", "GET", "snippets", "us", 0), Curve("snippets", "TREE", "snippets", "us", 0)
    get.points, tree.points = [(10, 5.0), (1000, 5.2)], [(10, 50.0), (1000, 80.0)]
    assert finding([get]) == "100 times the snippets cost no more"
    assert finding([get, tree]) == "100 times the snippets cost at most 1.6 times as much: TREE"


def test_names_of_curves_do_not_cover_each_other():
    placed = spread([0.5, 0.51, 0.9, 0.5], 0.1)
    assert placed[0] < placed[3] < placed[1] < placed[2] == 0.9
    assert min(placed[3] - placed[0], placed[1] - placed[3]) > 0.099
