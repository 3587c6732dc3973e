"""Curves as SVG, one file for each plot: cost along work, both in powers of ten."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from bench.series import Curve


def draw(curves: Sequence[Curve], folder: Path) -> list[Path]:
    """A file for each plot that the curves name; none where matplotlib is not there."""
    try:
        import matplotlib as mpl
    except ImportError:
        print("no plots: pip install matplotlib")
        return []
    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "reed", "font.size": 9, "svg.fonttype": "none"})
    plots = dict.fromkeys(curve.plot for curve in curves)
    return [_plot(name, [curve for curve in curves if curve.plot == name], folder) for name in plots]


def _plot(name: str, curves: Sequence[Curve], folder: Path) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.4), layout="constrained")
    axes = figure.add_subplot()
    for curve in curves:
        axes.plot(*zip(*curve.points, strict=True), marker="o", markersize=3, linewidth=1.2, label=curve.name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    highest = max(y for curve in curves for _, y in curve.points)
    lowest = min(y for curve in curves for _, y in curve.points)
    axes.set_ylim(lowest / 2, highest * 2)
    axes.set_xlabel(curves[0].work)
    axes.set_ylabel(curves[0].unit)
    axes.grid(visible=True, which="major", linewidth=0.3)
    axes.legend(frameon=False)
    path = folder / f"{re.sub('[^a-z]+', '-', name)}.svg"
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    return path
