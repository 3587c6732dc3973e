"""Curves as SVG, one file for each plot: cost along work, both in powers of ten.

100 times the snippets cost at most 1.6 times as much: TREE of 1,000     the title says what was found
us │   ─●──────●──────●── TREE                                           each curve has its name at its end
   │   ─●──────●──────●── GET                                            the same work has the same colour
   └──────────────────────                                               PostgreSQL is dashed
         snippets
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

from bench.series import Curve

_COLOURS = {
    "GET": "#1f5fa8",
    "LIST": "#2b8a3e",
    "TREE": "#7048a8",
    "SEARCH": "#c8551b",
    "CREATE": "#a61e4d",
    "reindex": "#8a6d1d",
    "memory": "#0b7285",
    "call": "#c2255c",
    "start": "#5c6b1f",
    "message": "#3b5bdb",
    "request": "#9c36b5",
    "C": "#868e96",
}
_LINE_HEIGHT = 0.085  # of the plot's height, for the names of curves that end close to each other
_TITLE_WIDTH = 96  # characters


def draw(curves: Sequence[Curve], folder: Path) -> list[Path]:
    """A file for each plot that the curves name; none where matplotlib is not there."""
    try:
        import matplotlib as mpl
    except ImportError:
        print("no plots: pip install matplotlib")
        return []
    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "reed", "font.size": 9, "svg.fonttype": "none"})
    plots = dict.fromkeys(curve.plot for curve in curves if curve.points)
    return [_plot(name, [curve for curve in curves if curve.plot == name and curve.points], folder) for name in plots]


def finding(curves: Sequence[Curve]) -> str:
    """What the curves of a plot show, by the one that grew most."""
    worst = max(curves, key=lambda curve: curve.points[-1][1] / curve.points[0][1])
    (first, early), (last, late) = worst.points[0], worst.points[-1]
    much = f"{last / first:,.0f} times the {worst.work}"
    if late <= early * 1.1:
        return f"{much} cost no more"
    which = f": {worst.name}" if len(curves) > 1 else ""
    return f"{much} cost {'at most ' if which else ''}{late / early:,.1f} times as much{which}"


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """The same heights in the same order, moved as little as needed so that two are at least `gap` apart."""
    order = sorted(range(len(heights)), key=heights.__getitem__)
    placed = [heights[at] for at in order]
    for _ in range(200):
        for low in range(len(placed) - 1):
            missing = gap - (placed[low + 1] - placed[low])
            if missing > 0:
                placed[low] -= missing / 2
                placed[low + 1] += missing / 2
    found = [0.0] * len(heights)
    for at, height in zip(order, placed, strict=True):
        found[at] = height
    return found


def _plot(name: str, curves: Sequence[Curve], folder: Path) -> Path:
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure = Figure(figsize=(7.2, 3.4), layout="constrained")
    axes = figure.add_subplot()
    for curve in curves:
        style = "--" if curve.name.endswith("PostgreSQL") else "-"
        x, y = zip(*curve.points, strict=True)
        axes.plot(x, y, style, marker="o", markersize=3, linewidth=1.4, color=_colour(curve))
    axes.set(xscale="log", yscale="log", xlabel=curves[0].work, ylabel=curves[0].unit)
    lowest, highest = (chosen(y for curve in curves for _, y in curve.points) for chosen in (min, max))
    low, high = lowest / 2, highest * 2
    axes.set_ylim(low, high)
    ends = [math.log(curve.points[-1][1] / low) / math.log(high / low) for curve in curves]
    for curve, height in zip(curves, spread(ends, _LINE_HEIGHT), strict=True):
        axes.text(1.02, height, curve.name, transform=axes.transAxes, va="center", fontsize=8, color=_colour(curve))
    title = textwrap.fill(finding(curves), _TITLE_WIDTH)
    figure.suptitle(title, x=0.01, horizontalalignment="left", fontsize=9, fontweight="bold")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        axis.set_minor_formatter(NullFormatter())
    if high < low * 100:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.grid(visible=True, which="major", linewidth=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    path = folder / f"{re.sub('[^a-z]+', '-', name)}.svg"
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    return path


def _colour(curve: Curve) -> str:
    """By the word that says what is done."""
    return next((colour for word, colour in _COLOURS.items() if re.search(rf"\b{word}\b", curve.name)), "#343a40")
