"""The picture of a comparison: a row for each result, its accuracy as a point with its interval, the best on top."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.results.conclusions import show_percent
from zoo.results.plots.style import INK, LINE, RIGHT, drawing, fit_text, make_figure, measure_text, write_lines

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from zoo.results.comparison import Comparison

SIZE, ROW, MARGIN = 9, 18, 12
"""Points: letters, a row, and the space around."""
CHART, NAMES, VALUES = 320, 240, 110
"""Points: the width of the chart, of the names at most, and of the numbers on its right."""


def plot_comparison(comparison: Comparison) -> Figure:
    """Return a figure with the accuracy of each result and its 95 % interval, and with the means over seeds below.

    Raises:
        UsageError: matplotlib is not installed.
    """
    results = [(row.name, row.accuracy, row.low, row.high, "") for row in comparison.rows]
    means = [
        (group.name, group.mean, group.low, group.high, f" ± {100 * group.deviation:.2f}")
        for group in comparison.groups
        if group.deviation is not None and group.low is not None and group.high is not None
    ]
    notes = [
        f"{comparison.dataset}, split {comparison.split}, {comparison.samples:,} samples",
        "● a result with its 95 % Wilson interval: other samples of the same kind would change it so much",
    ]
    if means:
        notes.append("◆ mean ± standard deviation over seeds, with the 95 % t interval of the mean")
    with drawing():
        labels = [fit_text(name, SIZE, NAMES) for name, *_ in results + means]
        names = max(measure_text(label, SIZE) for label in labels) + 2 * MARGIN
        head, foot = MARGIN + len(notes) * SIZE * LINE + MARGIN, 40
        rows = len(labels) + (1 if means else 0)
        width, height = names + CHART + VALUES, head + rows * ROW + foot
        figure = make_figure(width, height)
        write_lines(figure, [fit_text(note, SIZE, width - 2 * MARGIN) for note in notes], height - MARGIN, SIZE)
        axes = figure.add_axes((names / width, foot / height, CHART / width, rows * ROW / height))
        places = [*range(len(results)), *range(len(results) + 1, len(results) + 1 + len(means))]
        for place, (_, value, low, high, spread) in zip(places, results + means, strict=True):
            colour, marker = (INK, "o") if place < len(results) else (RIGHT, "D")
            axes.plot([100 * low, 100 * high], [place, place], color=colour, linewidth=1.5, solid_capstyle="butt")
            axes.plot([100 * value], [place], marker=marker, color=colour, markersize=5, linestyle="none")
            text = f"{show_percent(value, unit='')}{spread} %"
            axes.annotate(
                text, (1, place), (8, 0), ("axes fraction", "data"), "offset points", fontsize=SIZE, va="center"
            )
        axes.set_ylim(rows - 0.5, -0.5)
        axes.set_yticks(places, labels, fontsize=SIZE)
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", labelsize=SIZE)
        axes.margins(x=0.04)
        axes.grid(axis="x", color="#DDDDDD", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.set_xlabel("accuracy in %", fontsize=SIZE)
    return figure
