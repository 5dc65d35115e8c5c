"""The picture of a bench: how many samples a second each way to compute takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from zoo.results.plots.style import GRID_COLOR, RIGHT_COLOR, TEXT_COLOR, fit_text, make_figure, plot_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMES, WIDTH, ROW, HEAD, FOOT, GAP = 190, 170, 18, 46, 16, 18
"""Points: the column of names, that of a kind, the height of a row, what is above and below, and between kinds."""


def plot_speeds(title: str, names: Sequence[str], kinds: Mapping[str, Sequence[float]]) -> Figure:
    """Draw a bar for each name and each kind of work, with its number; each kind has an axis of its own from 0 on."""
    width, height = NAMES + len(kinds) * (WIDTH + GAP), HEAD + ROW * len(names) + FOOT
    with plot_style():
        figure = make_figure(width, height)
        figure.text(8 / width, 1 - 16 / height, fit_text(title, 12, width - 16), fontsize=12, va="center")
        for column, (kind, rates) in enumerate(kinds.items()):
            left = (NAMES + column * (WIDTH + GAP)) / width
            axes = figure.add_axes((left, FOOT / height, WIDTH / width, ROW * len(names) / height))
            axes.set_title(kind, fontsize=10, loc="left", color=TEXT_COLOR, pad=3)
            axes.barh(range(len(names)), rates, height=0.7, color=RIGHT_COLOR)
            axes.set_xlim(0, 1.35 * max(rates))
            axes.set_ylim(len(names) - 0.5, -0.5)
            axes.set_yticks(range(len(names)), names if column == 0 else [""] * len(names), fontsize=9)
            axes.tick_params(length=0)
            axes.set_xticks([])
            axes.spines["bottom"].set_color(GRID_COLOR)
            for row, rate in enumerate(rates):
                axes.text(rate, row, f" {rate:,.0f}", va="center", fontsize=9)
    return figure
