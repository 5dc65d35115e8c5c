"""Diagrams: the curves of trainings, and the confusion matrix of a model."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING, Any

from zoo.confusion import list_confusions
from zoo.errors import UsageError
from zoo.figures import INK, LINE, drawing, fit_text, make_figure, measure_text, wrap_text, write_lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from torch import Tensor

    from zoo.outcomes import Outcomes
    from zoo.results import Result

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""The palette of M. Okabe and K. Ito, Color Universal Design (2008), without its yellow, which white swallows."""

MARKERS = ("o", "s", "^", "D", "v", "*", "P", "<", "X")
"""What tells runs apart in grey. Nine, not as many as colours, so that a pair of both comes back after 63 runs."""

PANEL_WIDTH, PANEL_HEIGHT, MARGIN = 290, 230, 58
"""Points: a panel of the curves, and what its labels need beside it."""

MARKED = 15
"""Markers on a curve, at most about."""

MATRIX, ROOM, LABEL = 330, 900, 150
"""Points: the least side of a matrix, the side up to which it grows for its counts, the longest name beside it."""

LARGEST = 1440
"""Points: the side beyond which a matrix grows for nothing, so that of too many classes only some are named."""

EMPTY = "#DDDDDD"


def plot_curves(results: Sequence[Result]) -> Figure:
    """Draw loss and accuracy by epoch of one or several runs: training dashed, test solid.

    The second panel has the first metric that all runs have; without one there is the loss alone.

    Raises:
        UsageError: a result is no run, so that nothing is known of its epochs, or its run had none.
    """
    histories = [_read_history(result) for result in results]
    if not histories:
        raise UsageError("no runs to draw")
    metric = _find_metric(histories)
    panels = ["loss", metric] if metric else ["loss"]
    with drawing():
        from matplotlib.lines import Line2D
        from matplotlib.ticker import MaxNLocator

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
            axes = figure.add_axes(box, title=name, xlabel="epoch")
            axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
            axes.grid(color="#E5E5E5", linewidth=0.6)
            axes.set_axisbelow(True)
            for index, history in enumerate(histories):
                _draw_curve(axes, history, name, index)
        if single:
            figure.suptitle(names[0], x=MARGIN / width, y=1 - 8 / height, ha="left", va="top", fontsize=11)
        styles = [
            Line2D(
                [],
                [],
                color=INK,
                linestyle=line,
                label=split,
                marker="o",
                markersize=4.5,
                markerfacecolor=_FACES[split],
            )
            for split, line in _STYLES.items()
        ]
        runs = [
            Line2D([], [], label=name, color=COLORS[index % len(COLORS)], marker=MARKERS[index % len(MARKERS)])
            for index, name in enumerate(names)
        ]
        options: dict[str, Any] = {"frameon": False, "fontsize": 9, "borderpad": 0, "borderaxespad": 0}
        middle: dict[str, Any] = {"loc": "upper center", "handlelength": 2.6, "columnspacing": 1.5, "labelspacing": 0.6}
        place = (0.5, (rows * 18 + 2) / height)
        figure.legend(handles=styles, bbox_to_anchor=place, ncols=2, **middle, **options)
        if not single:
            place = (0.5, ((rows - 1) * 18 + 2) / height)
            figure.legend(handles=runs, bbox_to_anchor=place, ncols=columns, **middle, **options)
    return figure


_STYLES: dict[str, Any] = {"train": (0, (4, 1.5)), "test": "-"}
_FACES = {"train": "white", "test": None}
"""Hollow markers for the training: of a run of one epoch there is nothing else to see."""


def _read_history(result: Result) -> list[dict[str, Any]]:
    history = (result.record or {}).get("history")
    if history:
        return list(history)
    if result.run is None:
        why = "it is weights alone, and how they were trained is known of runs only"
    else:
        why = f"its record in {result.run} has no epochs"
    raise UsageError(f"no curves of {result.name}", why, "Give a run folder or @last, after zoo run")


def _find_metric(histories: Sequence[Sequence[dict[str, Any]]]) -> str | None:
    """Return the first metric, in the order of the first run, that each run has."""
    return next(
        (name for name in histories[0][0]["test"] if name != "loss" and all(name in h[0]["test"] for h in histories)),
        None,
    )


def _draw_curve(axes: Axes, history: Sequence[dict[str, Any]], name: str, index: int) -> None:
    epochs = [epoch["epoch"] for epoch in history]
    for split, style in _STYLES.items():
        values = [epoch[split].get(name) for epoch in history]
        if all(value is None for value in values):
            continue
        axes.plot(
            epochs,
            [float("nan") if value is None else value for value in values],
            color=COLORS[index % len(COLORS)],
            marker=MARKERS[index % len(MARKERS)],
            markerfacecolor=_FACES[split],
            markersize=4.5,
            markevery=ceil(len(epochs) / MARKED),
            linestyle=style,
            linewidth=1.5,
            label=f"{split} {name}",
        )


def plot_confusion(outcomes: Outcomes, *, title: str | None = None, pairs: int = 5) -> Figure:
    """Draw the confusion matrix: rows are the truth, columns what was predicted, with the most confused pairs in words.

    A cell's colour is its share of the row's samples, on a scale of square roots, so that few mistakes show; its number
    is the count, where there is room for it, and 0 is left blank.
    """
    matrix, size = outcomes.matrix, len(outcomes.class_names)
    with drawing():
        letters = 9 if size <= 20 else 7
        pitch, number_size = _find_pitch(matrix, letters)
        step = ceil(letters * LINE / pitch)
        shown = range(0, size, step)
        names = [fit_text(outcomes.class_names[index], letters, LABEL) for index in shown]
        label = max(measure_text(name, letters) for name in names)
        upright = label > pitch * step - 6
        side, left, right = size * pitch, label + 42, 84
        width = left + side + right
        head = wrap_text(title or describe_outcomes(outcomes), 11, width - 24, 3)
        words = _describe_confusions(outcomes, matrix, width - 24, pairs)
        foot = len(words) * 9 * LINE + 18
        bottom = foot + 32 + (label if upright else letters * LINE)
        top = len(head) * 11 * LINE + 22
        height = bottom + side + top
        figure = make_figure(width, height)
        axes = figure.add_axes((left / width, bottom / height, side / width, side / height))
        image, colors = _draw_matrix(axes, matrix)
        axes.set_xticks(shown, names, fontsize=letters, rotation=90 if upright else 0)
        axes.set_yticks(shown, names, fontsize=letters)
        axes.set_xlabel("predicted", fontsize=10)
        axes.set_ylabel("truth", fontsize=10)
        if number_size:
            _write_counts(axes, matrix, colors, number_size)
        tall = min(side, 330)
        bar = figure.add_axes(((left + side + 16) / width, (bottom + side - tall) / height, 12 / width, tall / height))
        ticks = (0, 0.01, 0.05, 0.1, 0.25, 0.5, 1)
        figure.colorbar(image, cax=bar, ticks=ticks, label="share of the row")
        bar.set_yticks(ticks, [f"{tick:.0%}" for tick in ticks], fontsize=8)
        bar.yaxis.label.set_fontsize(9)
        write_lines(figure, head, height - 10, 11)
        write_lines(figure, words, foot - 4, 9)
    return figure


def describe_outcomes(outcomes: Outcomes) -> str:
    """Return in a line what was predicted, by what, and how many of it right."""
    facts, right, total = outcomes.facts, int(outcomes.correct.sum()), len(outcomes.targets)
    return f"{facts['model']} on {facts['dataset']}, {facts['split']}: {right} of {total} right ({right / total:.2%})"


def _find_pitch(matrix: Tensor, letters: float) -> tuple[float, float]:
    """Return the side of a cell and the size of the counts in it, 0 for none, both in points."""
    size = len(matrix)
    pitch = min(max(MATRIX / size, letters * LINE), LARGEST / size)
    for number_size in (9, 8, 7, 6):
        needed = max(measure_text(str(int(matrix.max())), number_size) + 6, number_size * LINE + 2)
        if max(needed, pitch) * size <= ROOM or needed <= pitch:
            return max(needed, pitch), number_size
    return pitch, 0


def _draw_matrix(axes: Axes, matrix: Tensor) -> tuple[AxesImage, Any]:
    """Draw the cells; return them and their colours `(C, C, 4)`."""
    import matplotlib
    import numpy
    from matplotlib.colors import PowerNorm

    # A class without samples has no shares.
    shares = numpy.ma.masked_invalid((matrix.double() / matrix.sum(1, keepdim=True)).numpy())
    blues = matplotlib.colormaps["Blues"].with_extremes(bad=EMPTY)
    image = axes.imshow(shares, cmap=blues, norm=PowerNorm(0.5, 0, 1), interpolation="nearest")
    if len(matrix) * 7 * LINE <= LARGEST:  # lines between smaller cells would hide them
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
                ink = choose_ink(colors[row, column])
                axes.text(column, row, str(count), color=ink, fontsize=size, ha="center", va="center_baseline")


def choose_ink(color: Sequence[float]) -> str:
    """Return black or white, whichever has the higher contrast on a colour (WCAG 2.2, relative luminance)."""
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in color[:3]]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "black" if (luminance + 0.05) ** 2 > 1.05 * 0.05 else "white"


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
