"""The picture of a range test: the loss at each learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zoo.results.plots.style import GRID_COLOR, RIGHT_COLOR, TEXT_COLOR, fit_text, make_figure, plot_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 420, 290
"""Points."""


def plot_range(title: str, rates: Sequence[float], losses: Sequence[float], lr: float | None) -> Figure:
    """Draw the smoothed losses of a range test over the rates, with a line at the suggested one if there is one.

    The axis of the losses ends at one and a half times the first one, above which a training has diverged.
    """
    with plot_style():
        figure = make_figure(WIDTH, HEIGHT)
        axes = figure.add_axes((0.13, 0.17, 0.83, 0.7), title=fit_text(title, 12, WIDTH - 80))
        axes.set_xlabel("learning rate")
        axes.set_ylabel("train loss")
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda rate, _: f"{rate:g}")  # the default one needs mathematical text
        axes.grid(color=GRID_COLOR, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.plot(rates, losses, color=TEXT_COLOR, linewidth=1.5)
        shown = [loss for loss in losses if loss <= 1.5 * losses[0]]
        margin = 0.05 * (max(shown) - min(shown)) or 0.1
        axes.set_ylim(min(shown) - margin, max(shown) + margin)
        axes.set_xlim(rates[0] / 1.3, rates[-1] * 1.3)
        if lr is not None:
            axes.axvline(lr, color=RIGHT_COLOR, linewidth=1.5, linestyle="--")
            left = lr > 100 * rates[0]  # on that side the loss has not fallen yet, and leaves room below it
            text = f" suggested: {lr:g} "
            axes.text(lr, min(shown), text, color=RIGHT_COLOR, fontsize=10, ha="right" if left else "left", va="bottom")
    return figure
