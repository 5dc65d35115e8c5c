"""Curves: loss and metric of trainings by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import TYPE_CHECKING, Any

from zoo.errors import UsageError
from zoo.records.history import name_watched, read_scores, watched_scores
from zoo.registry.arguments import checked
from zoo.results.plots.colors import MARKER_FACES, choose_looks
from zoo.results.plots.epoch import plot_epoch
from zoo.results.plots.style import GRID_COLOR, TEXT_COLOR, fit_text, make_figure, measure_text, plot_style
from zoo.results.reading import Result, require_history

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from zoo.records.history import Epoch, Scored

PANEL_WIDTH, PANEL_HEIGHT, MARGIN = 290, 230, 58
"""Points: a panel, and the space for its labels."""

DOT_SIZE = 8
"""Points: the mark of a run of a single epoch, which has no line to be found by."""

MAX_MARKERS = 15
"""Markers on a curve, at most. More of them would hide it."""

LINE_STYLES: dict[Scored, Any] = {"train": (0, (4, 1.5)), "test": "-"}


@checked
def plot_curves(results: Sequence[Result]) -> Figure:
    """Draw loss and accuracy by epoch of one or several runs: training dashed, test solid.

    The second panel has the first metric that all runs have; without one there is the loss alone. Where all runs have a
    single epoch, there is no curve: each has a row with its scores.

    Raises:
        UsageError: a result is no run, so that nothing is known of its epochs, or its run had none.
    """
    histories = [require_history(result) for result in results]
    if not histories:
        raise UsageError("no runs to draw")
    first = [watched_scores(history[0]) for history in histories]
    shared = (name for name in first[0] if all(name in scores for scores in first))
    looks = choose_looks(results)
    panels = ["loss", *[name for name in shared if name != "loss"][:1]]
    with plot_style():
        if all(len(history) == 1 for history in histories):
            return plot_epoch([result.name for result in results], [epoch for (epoch,) in histories], panels, looks)
        from matplotlib.lines import Line2D

        width = len(panels) * (PANEL_WIDTH + MARGIN) + 24
        single = len(results) == 1
        names = [fit_text(result.name, 9, (width - 24) / (1 if single else 2) - 60) for result in results]
        columns = max(1, int((width - 24) // (max(measure_text(name, 9) for name in names) + 60)))
        rows = 1 if single else 1 + ceil(len(names) / columns)
        bottom, top = 46 + rows * 18, 44 if single else 28
        height = bottom + PANEL_HEIGHT + top
        figure = make_figure(width, height)
        for number, name in enumerate(panels):
            left = MARGIN + number * (PANEL_WIDTH + MARGIN)
            box = (left / width, bottom / height, PANEL_WIDTH / width, PANEL_HEIGHT / height)
            axes = add_panel(figure, box, title=fit_text(name, 12, PANEL_WIDTH))
            for history, look in zip(histories, looks, strict=True):
                for split in LINE_STYLES:
                    draw_curve(axes, history, split, name, look)
        if single:
            figure.suptitle(names[0], x=MARGIN / width, y=1 - 8 / height, ha="left", va="top", fontsize=11)
        words: dict[Scored, str] = {"train": "train", "test": name_watched(histories)}
        marker: dict[str, Any] = {"color": TEXT_COLOR, "marker": "o", "markersize": 4.5}
        splits = [
            Line2D([], [], label=words[split], linestyle=line, markerfacecolor=MARKER_FACES[split], **marker)
            for split, line in LINE_STYLES.items()
        ]
        runs = [Line2D([], [], label=name, **look) for name, look in zip(names, looks, strict=True)]
        options: dict[str, Any] = {"frameon": False, "fontsize": 9, "borderpad": 0, "borderaxespad": 0}
        middle: dict[str, Any] = {"loc": "upper center", "handlelength": 2.6, "columnspacing": 1.5, "labelspacing": 0.6}
        figure.legend(handles=splits, bbox_to_anchor=(0.5, (rows * 18 + 2) / height), ncols=2, **middle, **options)
        if not single:
            place = (0.5, ((rows - 1) * 18 + 2) / height)
            figure.legend(handles=runs, bbox_to_anchor=place, ncols=columns, **middle, **options)
    return figure


def add_panel(figure: Figure, box: tuple[float, float, float, float], title: str = "", xlabel: str = "epoch") -> Axes:
    """Return new axes for curves over epochs; `box` is left, bottom, width and height as shares of the figure."""
    from matplotlib.ticker import MaxNLocator

    axes: Axes = figure.add_axes(box, title=title, xlabel=xlabel)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    axes.grid(color=GRID_COLOR, linewidth=0.6)
    axes.set_axisbelow(True)
    return axes


def draw_curve(
    axes: Axes, history: Sequence[Epoch], split: Scored, name: str, look: Mapping[str, Any]
) -> Line2D | None:
    """Draw what a run measured on one split under one name, as "loss"; return None where it measured nothing.

    `look` is one of `choose_looks`. A value that was not finite, None in the history, breaks the line.
    """
    values = [read_scores(epoch, split).get(name) for epoch in history]
    if all(value is None for value in values):
        return None
    (line,) = axes.plot(
        [epoch["epoch"] for epoch in history],
        [float("nan") if value is None else value for value in values],
        **{**look, **({"markersize": DOT_SIZE} if len(values) == 1 else {})},
        markerfacecolor=MARKER_FACES[split],
        markevery=ceil(len(values) / MAX_MARKERS),
        linestyle=LINE_STYLES[split],
        linewidth=1.5,
        label=f"{split} {name}",
    )
    return line
