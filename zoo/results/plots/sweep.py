"""The picture of a sweep: the score of each trial over each thing that was varied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from zoo.results.plots.style import (
    GRID_COLOR,
    RIGHT_COLOR,
    TEXT_COLOR,
    fit_text,
    make_figure,
    measure_text,
    plot_style,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Scale = Literal["places", "linear", "log"]

WIDTH, HEIGHT, COLUMNS = 240, 210, 3
"""Points: the size of one panel; and how many stand beside each other."""
LEFT, RIGHT, HEAD, TOP, FOOT = 52, 14, 30, 12, 44
"""Points: around the axes of a panel, and above all panels."""
UPRIGHT = 70
"""Points for names below a panel that are too long to lie beside each other."""
FEW = 6
"""Numbers that have a place each, as names have."""
APART = 100
"""How many times the lowest score the highest is where logarithms are drawn: else one bad trial hides the others."""


def plot_sweep(
    title: str,
    columns: Mapping[str, tuple[Sequence[Any], Scale]],
    scores: Sequence[float],
    best: int,
    score: str,
) -> Figure:
    """Draw the scores of trials over each of `columns`: their values, and how these lie on the axis.

    With `places` each value has one; many numbers are drawn by their size all the same. The trial `best` is marked in
    each panel.
    """
    across, names = min(COLUMNS, len(columns)), {name: _name_values(*column) for name, column in columns.items()}
    foot = FOOT + (UPRIGHT if any(map(_are_long, names.values())) else 0)
    high = HEIGHT + foot - FOOT
    width, height = across * WIDTH, HEAD + -(-len(columns) // across) * high
    with plot_style():
        figure = make_figure(width, height)
        figure.text(12 / width, 1 - 16 / height, fit_text(title, 12, width - 24), fontsize=12, va="center")
        for number, (name, (values, scale)) in enumerate(columns.items()):
            row, column = divmod(number, across)
            bottom = height - HEAD - (row + 1) * high + foot
            box = (column * WIDTH + LEFT) / width, bottom / height, (WIDTH - LEFT - RIGHT) / width
            axes = figure.add_axes((*box, (high - TOP - foot) / height))
            axes.set_xlabel(fit_text(name, 10, WIDTH - LEFT))
            axes.set_ylabel(fit_text(f"validation {score}", 10, HEIGHT - FOOT) if column == 0 else "")
            axes.grid(color=GRID_COLOR, linewidth=0.6)
            axes.set_axisbelow(True)
            axes.tick_params(labelsize=8)
            if min(scores) > 0 and max(scores) > APART * min(scores):
                axes.set_yscale("log")
                _use_plain_numbers(axes.yaxis)
            places = _place(axes, values, names[name], scale)
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


def _name_values(values: Sequence[Any], scale: Scale) -> list[str]:
    """Return the names below a panel, one for each value that there is; none where they are drawn by their size."""
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    texts = list(dict.fromkeys(map(str, sorted(values) if numbers else values)))
    return [] if numbers and (scale != "places" or len(texts) > FEW) else texts


def _are_long(names: Sequence[str]) -> bool:
    """Tell whether names are too long to lie beside each other."""
    return any(measure_text(name, 8) > (WIDTH - LEFT - RIGHT) / len(names) - 4 for name in names)


def _place(axes: Any, values: Sequence[Any], names: list[str], scale: Scale) -> list[float]:
    """Return where each value is on the axis, which gets its scale and its marks."""
    if not names:
        if scale == "log":
            axes.set_xscale("log")
            _use_plain_numbers(axes.xaxis)
        return list(map(float, values))
    upright: dict[str, Any] = {"rotation": 90} if _are_long(names) else {}
    axes.set_xticks(range(len(names)), [fit_text(name, 8, UPRIGHT) for name in names], **upright)
    axes.set_xlim(-0.5, len(names) - 0.5)
    return [float(names.index(str(value))) for value in values]


def _use_plain_numbers(axis: Any) -> None:
    """Mark an axis of logarithms by numbers as they are: the usual marks need mathematical text."""
    axis.set_major_formatter(lambda number, _: f"{number:g}")
    axis.set_minor_formatter(lambda number, _: "")
