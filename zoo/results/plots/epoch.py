"""Epoch: the scores of trainings of a single epoch, whose curves would be lone marks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zoo.records.history import name_watched, read_scores
from zoo.results.plots.colors import MARKER_FACES
from zoo.results.plots.style import GRID_COLOR, TEXT_COLOR, fit_text, make_figure, measure_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from zoo.records.history import Epoch

FONT_SIZE, ROW_HEIGHT, MAX_NAME_WIDTH = 9, 20, 240
"""Points: the font, a row, and the longest name."""
PANEL_WIDTH, VALUE_WIDTH, HEAD, FOOT = 230, 60, 40, 62
"""Points: the width of a panel, the room for the number on its right, and that above and below the rows."""


def plot_epoch(
    names: Sequence[str], epochs: Sequence[Epoch], panels: Sequence[str], looks: Sequence[Mapping[str, Any]]
) -> Figure:
    """Draw a row for each training: the losses of training and test, and the metric. Call it within `plot_style`."""
    from matplotlib.lines import Line2D

    labels = [fit_text(name, FONT_SIZE, MAX_NAME_WIDTH) for name in names]
    left = max(measure_text(label, FONT_SIZE) for label in labels) + 20
    rows = len(names) * ROW_HEIGHT
    width, height = left + len(panels) * (PANEL_WIDTH + VALUE_WIDTH), HEAD + rows + FOOT
    figure = make_figure(width, height)
    for number, name in enumerate(panels):
        start = left + number * (PANEL_WIDTH + VALUE_WIDTH)
        axes = figure.add_axes((start / width, FOOT / height, PANEL_WIDTH / width, rows / height))
        axes.set_title(fit_text(f"{name} after one epoch", 12, PANEL_WIDTH + VALUE_WIDTH), fontsize=11)
        _draw_rows(axes, epochs, name, looks)
        axes.set_yticks(range(len(names)), labels if number == 0 else [], fontsize=FONT_SIZE)
    marks: dict[str, Any] = {"color": looks[0]["color"] if len(looks) == 1 else TEXT_COLOR, "linestyle": "none"}
    splits = [
        Line2D([], [], marker="o", markerfacecolor=MARKER_FACES["train"], label="train", **marks),
        Line2D([], [], marker="o", label=f"{name_watched([epochs])}, with its value", **marks),
    ]
    figure.legend(handles=splits, loc="lower center", ncols=2, frameon=False, fontsize=FONT_SIZE)
    return figure


def _draw_rows(axes: Axes, epochs: Sequence[Epoch], name: str, looks: Sequence[Mapping[str, Any]]) -> None:
    for row, (epoch, look) in enumerate(zip(epochs, looks, strict=True)):
        values = {split: value for split in MARKER_FACES if (value := read_scores(epoch, split).get(name)) is not None}
        axes.plot([*values.values()], [row] * len(values), color=look["color"], linewidth=1.2)
        for split, value in values.items():
            axes.plot(
                [value], [row], **{**look, "markersize": 7}, markerfacecolor=MARKER_FACES[split], linestyle="none"
            )
        if "test" in values:
            place: dict[str, Any] = {
                "xycoords": ("axes fraction", "data"),
                "textcoords": "offset points",
                "va": "center",
            }
            axes.annotate(f"{values['test']:.4f}", (1, row), (8, 0), fontsize=FONT_SIZE, **place)
    axes.set_ylim(len(epochs) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=FONT_SIZE)
    axes.margins(x=0.12)
    axes.grid(axis="x", color=GRID_COLOR, linewidth=0.6)
    axes.set_axisbelow(True)
