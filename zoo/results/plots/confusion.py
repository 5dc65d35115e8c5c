"""Confusion matrix: how often each class was predicted for each true class."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

from zoo.registry.arguments import checked
from zoo.results.plots.colors import EMPTY_ROW_COLOR, EXPONENT, SHADES, choose_text_color
from zoo.results.plots.style import LINE_HEIGHT, fit_text, make_figure, measure_text, plot_style, wrap_text, write_lines
from zoo.training.confusion import list_confusions
from zoo.training.predictions import Outcomes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from torch import Tensor


MIN_SIDE, MAX_SIDE_WITH_COUNTS, MAX_LABEL_WIDTH = 330, 900, 150
"""Points: the smallest side of a matrix, the side up to which it grows for its counts, the longest name beside it."""

MAX_SIDE = 1440
"""Points: the largest side of a matrix. Where all names need more, only some classes are named."""


@checked
def plot_confusion(outcomes: Outcomes, *, title: str | None = None, pairs: int = 5) -> Figure:
    """Draw the confusion matrix: rows are the truth, columns what was predicted, with the most confused pairs in words.

    The colour of a cell is its share of the samples of its row, on a scale of square roots, so that rare mistakes show.
    The number is the count. It is left out where it is 0, or where there is no room for it.
    """
    matrix, size = outcomes.matrix, len(outcomes.class_names)
    with plot_style():
        font_size = 9 if size <= 20 else 7
        cell_size, count_size = _choose_cell_size(matrix, font_size)
        step = ceil(font_size * LINE_HEIGHT / cell_size)
        shown = range(0, size, step)
        names = [fit_text(outcomes.class_names[index], font_size, MAX_LABEL_WIDTH) for index in shown]
        label = max(measure_text(name, font_size) for name in names)
        upright = label > cell_size * step - 6
        side, left, right = size * cell_size, label + 42, 84
        width = left + side + right
        head = wrap_text(title or describe_outcomes(outcomes), 11, width - 24, 3)
        words = _describe_confusions(outcomes, matrix, width - 24, pairs)
        foot = len(words) * 9 * LINE_HEIGHT + 18
        bottom = foot + 32 + (label if upright else font_size * LINE_HEIGHT)
        top = len(head) * 11 * LINE_HEIGHT + 22
        height = bottom + side + top
        figure = make_figure(width, height)
        axes = figure.add_axes((left / width, bottom / height, side / width, side / height))
        image, colors = _draw_matrix(axes, matrix)
        axes.set_xticks(shown, names, fontsize=font_size, rotation=90 if upright else 0)
        axes.set_yticks(shown, names, fontsize=font_size)
        axes.set_xlabel("predicted", fontsize=10)
        axes.set_ylabel("truth", fontsize=10)
        if count_size:
            _write_counts(axes, matrix, colors, count_size)
        tall = min(side, MIN_SIDE)
        bar = figure.add_axes(((left + side + 16) / width, (bottom + side - tall) / height, 12 / width, tall / height))
        ticks = (0, 0.01, 0.05, 0.1, 0.25, 0.5, 1)
        figure.colorbar(image, cax=bar, ticks=ticks, label="share of the row")
        bar.set_yticks(ticks, [f"{tick:.0%}" for tick in ticks], fontsize=8)
        bar.yaxis.label.set_fontsize(9)
        write_lines(figure, head, height - 10, 11)
        write_lines(figure, words, foot - 4, 9)
    return figure


def describe_outcomes(outcomes: Outcomes) -> str:
    """Return one line with the model, the data and the share of right predictions."""
    origin, right, total = outcomes.origin, int(outcomes.correct.sum()), len(outcomes.targets)
    return f"{origin.model} on {origin.dataset}, {origin.split}: {right} of {total} right ({right / total:.2%})"


def _choose_cell_size(matrix: Tensor, font_size: float) -> tuple[float, float]:
    """Return the side of a cell and the size of the counts in it, 0 for none, both in points."""
    size = len(matrix)
    cell_size = min(max(MIN_SIDE / size, font_size * LINE_HEIGHT), MAX_SIDE / size)
    for count_size in (9, 8, 7, 6):
        needed = max(measure_text(str(int(matrix.max())), count_size) + 6, count_size * LINE_HEIGHT + 2)
        if max(needed, cell_size) * size <= MAX_SIDE_WITH_COUNTS or needed <= cell_size:
            return max(needed, cell_size), count_size
    return cell_size, 0


def _draw_matrix(axes: Axes, matrix: Tensor) -> tuple[AxesImage, Any]:
    """Draw the cells; return them and their colours `(C, C, 4)`."""
    import matplotlib
    import numpy
    from matplotlib.colors import PowerNorm

    # A class without samples has no shares.
    shares = numpy.ma.masked_invalid((matrix.double() / matrix.sum(1, keepdim=True)).numpy())
    blues = matplotlib.colormaps[SHADES].with_extremes(bad=EMPTY_ROW_COLOR)
    image = axes.imshow(shares, cmap=blues, norm=PowerNorm(EXPONENT, 0, 1), interpolation="nearest")
    if len(matrix) * 7 * LINE_HEIGHT <= MAX_SIDE:  # lines would hide smaller cells
        lines = numpy.arange(0.5, len(matrix) - 1)
        axes.set_xticks(lines, minor=True)
        axes.set_yticks(lines, minor=True)
        axes.grid(which="minor", color="#D5DCE5", linewidth=0.4)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(True)
    return image, image.to_rgba(shares)


def _write_counts(axes: Axes, matrix: Tensor, colors: Any, size: float) -> None:
    for row, counts in enumerate(matrix.tolist()):
        for column, count in enumerate(counts):
            if count:
                ink = choose_text_color(colors[row, column])
                axes.text(column, row, str(count), color=ink, fontsize=size, ha="center", va="center_baseline")


def _describe_confusions(outcomes: Outcomes, matrix: Tensor, width: float, pairs: int) -> list[str]:
    found = list_confusions(matrix, outcomes.class_names, pairs)
    lines = ["Most confused:"] if found else ["No sample was taken for another class."]
    for target, predicted, count in found:
        start, middle = f"{count} time{'' if count == 1 else 's'} ", " was taken for "
        room = (width - measure_text(start + middle, 9)) / 2
        lines.append(f"{start}{fit_text(target, 9, room)}{middle}{fit_text(predicted, 9, room)}")
    if bool((matrix.sum(1) == 0).any()):
        lines.append("Grey rows: no samples of that class.")
    return [fit_text(line, 9, width) for line in lines]
