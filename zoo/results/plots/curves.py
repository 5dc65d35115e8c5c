"""Curves: loss and metric of trainings by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING, Any

from zoo.errors import UsageError
from zoo.results.plots.style import TEXT_COLOR, fit_text, make_figure, measure_text, plot_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from zoo.records.history import Epoch, Scored
    from zoo.results.reading import Result

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""The palette of M. Okabe and K. Ito, Color Universal Design (2008), without yellow, which is hard to see on white."""

MARKERS = ("o", "s", "^", "D", "v", "*", "P", "<", "X")
"""They tell runs apart in grey. There are nine for seven colours, so that no pair of both returns before 63 runs."""

PANEL_WIDTH, PANEL_HEIGHT, MARGIN = 290, 230, 58
"""Points: a panel, and the space for its labels."""

GRID_COLOR = "#E5E5E5"

MAX_MARKERS = 15
"""Markers on a curve, at most. More of them would hide it."""

LINE_STYLES: dict[Scored, Any] = {"train": (0, (4, 1.5)), "test": "-"}
MARKER_FACES = {"train": "white", "test": None}
"""Colours inside a marker, None for that of the curve. A run of one epoch has no line to tell its two curves apart."""


def plot_curves(results: Sequence[Result]) -> Figure:
    """Draw loss and accuracy by epoch of one or several runs: training dashed, test solid.

    The second panel has the first metric that all runs have; without one there is the loss alone.

    Raises:
        UsageError: a result is no run, so that nothing is known of its epochs, or its run had none.
    """
    histories = [_read_history(result) for result in results]
    if not histories:
        raise UsageError("no runs to draw")
    shared = (name for name in histories[0][0]["test"] if all(name in history[0]["test"] for history in histories))
    panels = ["loss", *[name for name in shared if name != "loss"][:1]]
    with plot_style():
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
            for index, history in enumerate(histories):
                for split in LINE_STYLES:
                    draw_curve(axes, history, split, name, index)
        if single:
            figure.suptitle(names[0], x=MARGIN / width, y=1 - 8 / height, ha="left", va="top", fontsize=11)
        marker: dict[str, Any] = {"color": TEXT_COLOR, "marker": "o", "markersize": 4.5}
        splits = [
            Line2D([], [], label=split, linestyle=line, markerfacecolor=MARKER_FACES[split], **marker)
            for split, line in LINE_STYLES.items()
        ]
        runs = [Line2D([], [], label=name, **choose_look(index)) for index, name in enumerate(names)]
        options: dict[str, Any] = {"frameon": False, "fontsize": 9, "borderpad": 0, "borderaxespad": 0}
        middle: dict[str, Any] = {"loc": "upper center", "handlelength": 2.6, "columnspacing": 1.5, "labelspacing": 0.6}
        figure.legend(handles=splits, bbox_to_anchor=(0.5, (rows * 18 + 2) / height), ncols=2, **middle, **options)
        if not single:
            place = (0.5, ((rows - 1) * 18 + 2) / height)
            figure.legend(handles=runs, bbox_to_anchor=place, ncols=columns, **middle, **options)
    return figure


def choose_look(index: int) -> dict[str, Any]:
    """Return the colour and the marker of the run of this index, the same in all panels and in the legend."""
    return {"color": COLORS[index % len(COLORS)], "marker": MARKERS[index % len(MARKERS)], "markersize": 4.5}


def add_panel(figure: Figure, box: tuple[float, float, float, float], title: str = "") -> Axes:
    """Return new axes for curves over epochs; `box` is left, bottom, width and height as shares of the figure."""
    from matplotlib.ticker import MaxNLocator

    axes: Axes = figure.add_axes(box, title=title, xlabel="epoch")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    axes.grid(color=GRID_COLOR, linewidth=0.6)
    axes.set_axisbelow(True)
    return axes


def draw_curve(axes: Axes, history: Sequence[Epoch], split: Scored, name: str, index: int) -> Line2D | None:
    """Draw what a run measured on one split under one name, as "loss"; return None where it measured nothing.

    `index` is that of `choose_look`. A value that was not finite, None in the history, breaks the line.
    """
    values = [epoch[split].get(name) for epoch in history]
    if all(value is None for value in values):
        return None
    (line,) = axes.plot(
        [epoch["epoch"] for epoch in history],
        [float("nan") if value is None else value for value in values],
        **choose_look(index),
        markerfacecolor=MARKER_FACES[split],
        markevery=ceil(len(values) / MAX_MARKERS),
        linestyle=LINE_STYLES[split],
        linewidth=1.5,
        label=f"{split} {name}",
    )
    return line


def _read_history(result: Result) -> list[Epoch]:
    if result.history:
        return list(result.history)
    why = f"its record in {result.run} has no epochs"
    if result.run is None:
        why = "it is weights alone, and how they were trained is known of runs only"
    raise UsageError(f"no curves of {result.name}", why, "Give a run folder or @last, after zoo run")
