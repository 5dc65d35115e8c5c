"""The picture of a sweep: the score of each trial over each thing that was varied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zoo.results.plots.style import (
    GRID_COLOR,
    RIGHT_COLOR,
    TEXT_COLOR,
    fit_text,
    make_figure,
    plot_style,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH, HEIGHT, COLUMNS = 240, 210, 3
"""Points: the size of one panel; and how many stand beside each other."""
LEFT, RIGHT, HEAD, TOP, FOOT = 52, 14, 30, 12, 44
"""Points: around the axes of a panel, and above all panels."""


def plot_sweep(
    title: str, columns: Mapping[str, tuple[Sequence[Any], bool]], scores: Sequence[float], best: int, score: str
) -> Figure:
    """Draw the scores of trials over each of `columns`: their values, and whether these are drawn as logarithms.

    What is no number has a place for each of its values. The trial `best` is marked in each panel.
    """
    across = min(COLUMNS, len(columns))
    width, height = across * WIDTH, HEAD + -(-len(columns) // across) * HEIGHT
    with plot_style():
        figure = make_figure(width, height)
        figure.text(12 / width, 1 - 16 / height, fit_text(title, 12, width - 24), fontsize=12, va="center")
        for number, (name, (values, log)) in enumerate(columns.items()):
            row, column = divmod(number, across)
            bottom = height - HEAD - (row + 1) * HEIGHT + FOOT
            box = (column * WIDTH + LEFT) / width, bottom / height, (WIDTH - LEFT - RIGHT) / width
            axes = figure.add_axes((*box, (HEIGHT - TOP - FOOT) / height))
            axes.set_xlabel(fit_text(name, 10, WIDTH - LEFT))
            axes.set_ylabel(fit_text(f"validation {score}", 10, HEIGHT - FOOT) if column == 0 else "")
            axes.grid(color=GRID_COLOR, linewidth=0.6)
            axes.set_axisbelow(True)
            axes.tick_params(labelsize=8)
            places = _place(axes, values, log)
            axes.scatter(places, scores, s=22, color=TEXT_COLOR, alpha=0.55, linewidths=0)
            mark: dict[str, Any] = {
                "s": 70,
                "marker": "D",
                "facecolors": "none",
                "edgecolors": RIGHT_COLOR,
                "linewidths": 1.8,
            }
            axes.scatter([places[best]], [scores[best]], **mark)
    return figure


def _place(axes: Any, values: Sequence[Any], log: bool) -> list[float]:
    """Return where each value is on the axis, which gets its scale and its marks."""
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError):
        numbers = []
    kinds = list(dict.fromkeys(values))
    if numbers and (log or len(kinds) > COLUMNS * 2):
        if log:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(lambda number, _: f"{number:g}")  # the default one needs mathematical text
            axes.xaxis.set_minor_formatter(lambda number, _: "")
        return numbers
    if numbers:
        kinds.sort(key=float)
    axes.set_xticks(range(len(kinds)), [fit_text(str(kind), 8, 60) for kind in kinds])
    axes.set_xlim(-0.5, len(kinds) - 0.5)
    return [float(kinds.index(value)) for value in values]
