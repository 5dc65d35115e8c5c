"""Accuracy: the figure of a comparison, with the accuracy of each result and its interval, the best on top."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.registry.arguments import checked
from zoo.results.comparison import Comparison, SplitComparison
from zoo.results.conclusions import format_percent, title_splits
from zoo.results.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


FONT_SIZE, ROW_HEIGHT, MARGIN = 9, 18, 12
"""Points: the font, a row, and the space around."""
CHART_WIDTH, MAX_NAME_WIDTH, VALUE_WIDTH = 320, 290, 110
"""Points: the width of the chart, the longest name on its left, and the numbers on its right."""

HEAD, FOOT = FONT_SIZE * style.LINE_HEIGHT + MARGIN, 46
"""Points: above the rows of a panel, with its title, and below them, with the numbers of the axis."""


@checked
def plot_comparison(comparison: Comparison) -> Figure:
    """Return a figure with the accuracy of each result and its 95 % interval, and with the means over seeds below.

    Results on other samples have a panel of their own.

    Raises:
        UsageError: matplotlib is not installed.
    """
    with style.plot_style():
        titles = title_splits(comparison.splits)
        panels = [_Panel(split, title) for split, title in zip(comparison.splits, titles, strict=True)]
        notes = ["● a result with its 95 % Wilson interval: other samples of the same kind would change it so much"]
        if any(panel.means for panel in panels):
            notes.append("◆ mean ± standard deviation over seeds, with the 95 % t interval of the mean")
        names = max(style.measure_text(label, FONT_SIZE) for panel in panels for label in panel.labels) + 2 * MARGIN
        line = FONT_SIZE * style.LINE_HEIGHT
        width = names + CHART_WIDTH + VALUE_WIDTH
        head = MARGIN + len(notes) * line + MARGIN / 2
        height = head + sum(panel.height for panel in panels)
        figure = style.make_figure(width, height)
        style.write_lines(figure, [_fit(note, width) for note in notes], height - MARGIN, FONT_SIZE)
        top = height - head
        for panel in panels:
            style.write_lines(figure, [_fit(panel.title, width)], top, FONT_SIZE)
            bottom, tall = top - panel.height + FOOT, panel.rows * ROW_HEIGHT
            panel.draw(figure.add_axes((names / width, bottom / height, CHART_WIDTH / width, tall / height)))
            top -= panel.height
    return figure


def _fit(text: str, width: float) -> str:
    return style.fit_text(text, FONT_SIZE, width - 2 * MARGIN)


class _Panel:
    """The results on one set of samples, from top to bottom, and the means over their seeds."""

    def __init__(self, split: SplitComparison, title: str) -> None:
        self.title = f"{title}, split {split.split}, {split.samples:,} samples"
        self.results = [(row.name, row.accuracy, row.low, row.high, "") for row in split.rows]
        self.means = [
            (group.name, group.mean, group.low, group.high, f" ± {100 * group.deviation:.2f}")
            for group in split.groups
            if group.deviation is not None and group.low is not None and group.high is not None
        ]
        self.labels = [style.fit_text(name, FONT_SIZE, MAX_NAME_WIDTH) for name, *_ in self.results + self.means]
        self.rows = len(self.labels) + (1 if self.means else 0)
        self.height = HEAD + self.rows * ROW_HEIGHT + FOOT

    def draw(self, axes: Axes) -> None:
        """Draw each result and each mean as a mark on its interval, with the number beside it."""
        count, means = len(self.results), len(self.means)
        places = [*range(count), *range(count + 1, count + 1 + means)]
        for place, (_, value, low, high, spread) in zip(places, self.results + self.means, strict=True):
            color, marker = (style.TEXT_COLOR, "o") if place < count else (style.RIGHT_COLOR, "D")
            axes.plot([100 * low, 100 * high], [place, place], color=color, linewidth=1.5, solid_capstyle="butt")
            axes.plot([100 * value], [place], marker=marker, color=color, markersize=5, linestyle="none")
            text = f"{format_percent(value, unit='')}{spread} %"
            axes.annotate(
                text, (1, place), (8, 0), ("axes fraction", "data"), "offset points", fontsize=FONT_SIZE, va="center"
            )
        axes.set_ylim(self.rows - 0.5, -0.5)
        axes.set_yticks(places, self.labels, fontsize=FONT_SIZE)
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", labelsize=FONT_SIZE)
        axes.margins(x=0.04)
        axes.grid(axis="x", color=style.GRID_COLOR, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.set_xlabel("accuracy in %", fontsize=FONT_SIZE)
