"""Accuracy: the figure of a comparison, with the accuracy of each result and its interval, the best on top."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.results.conclusions import format_percent
from zoo.results.plots import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from zoo.results.comparison import Comparison

FONT_SIZE, ROW_HEIGHT, MARGIN = 9, 18, 12
"""Points: the font, a row, and the space around."""
CHART_WIDTH, MAX_NAME_WIDTH, VALUE_WIDTH = 320, 240, 110
"""Points: the width of the chart, the longest name on its left, and the numbers on its right."""


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
    with style.plot_style():
        labels = [style.fit_text(name, FONT_SIZE, MAX_NAME_WIDTH) for name, *_ in results + means]
        names = max(style.measure_text(label, FONT_SIZE) for label in labels) + 2 * MARGIN
        head, foot = MARGIN + len(notes) * FONT_SIZE * style.LINE_HEIGHT + MARGIN, 40
        rows = len(labels) + (1 if means else 0)
        width, height = names + CHART_WIDTH + VALUE_WIDTH, head + rows * ROW_HEIGHT + foot
        figure = style.make_figure(width, height)
        fitted = [style.fit_text(note, FONT_SIZE, width - 2 * MARGIN) for note in notes]
        style.write_lines(figure, fitted, height - MARGIN, FONT_SIZE)
        axes = figure.add_axes((names / width, foot / height, CHART_WIDTH / width, rows * ROW_HEIGHT / height))
        places = [*range(len(results)), *range(len(results) + 1, len(results) + 1 + len(means))]
        for place, (_, value, low, high, spread) in zip(places, results + means, strict=True):
            color, marker = (style.TEXT_COLOR, "o") if place < len(results) else (style.RIGHT_COLOR, "D")
            axes.plot([100 * low, 100 * high], [place, place], color=color, linewidth=1.5, solid_capstyle="butt")
            axes.plot([100 * value], [place], marker=marker, color=color, markersize=5, linestyle="none")
            text = f"{format_percent(value, unit='')}{spread} %"
            axes.annotate(
                text, (1, place), (8, 0), ("axes fraction", "data"), "offset points", fontsize=FONT_SIZE, va="center"
            )
        axes.set_ylim(rows - 0.5, -0.5)
        axes.set_yticks(places, labels, fontsize=FONT_SIZE)
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", labelsize=FONT_SIZE)
        axes.margins(x=0.04)
        axes.grid(axis="x", color="#DDDDDD", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.set_xlabel("accuracy in %", fontsize=FONT_SIZE)
    return figure
