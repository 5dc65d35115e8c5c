"""Charts: the learning curves of the page and their legend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zoo.records.history import Epoch, Scored
from zoo.results.plots.curves import add_panel, choose_look, draw_curve
from zoo.results.plots.style import make_figure, plot_style
from zoo.results.reading import Result
from zoo.results.report.svg import embed_figure

WIDTH, HEIGHT = 360, 230
"""Points: a chart, which the page scales to the width of its column."""
LEFT, RIGHT, TOP, BOTTOM = 46, 8, 8, 34
"""Points around the curves: the numbers of the axes stand on the left and below."""
KEY_WIDTH, KEY_HEIGHT = 34, 10
"""Points: the sample of a curve in the legend."""


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A chart, or the sample of a curve in the legend: its name, and `svg`, an element of the page."""

    name: str
    svg: str


@dataclass(frozen=True, kw_only=True)
class Charts:
    """Charts, each with one curve for a result, and a legend with the name of each result; both may be empty."""

    charts: tuple[Drawing, ...]
    legend: tuple[Drawing, ...]


def draw_charts(results: Sequence[Result]) -> Charts:
    """Draw the losses of training and test and the first metric of the results that recorded their epochs.

    Raises:
        UsageError: matplotlib is not installed.
    """
    runs = [(result.name, result.history) for result in results if result.history]
    metrics = dict.fromkeys(name for _, history in runs for epoch in history for name in epoch["test"])
    wanted: list[tuple[Scored, str]] = [("train", "loss"), ("test", "loss")]
    wanted += [("test", name) for name in metrics if name != "loss"][:1]
    with plot_style():
        drawn = [_draw_chart(runs, *what, prefix=f"chart-{number}") for number, what in enumerate(wanted)]
        charts = tuple(chart for chart in drawn if chart is not None)
        legend = tuple(_draw_key(index, name) for index, (name, _) in enumerate(runs)) if charts else ()
        return Charts(charts=charts, legend=legend)


def _draw_chart(
    runs: Sequence[tuple[str, Sequence[Epoch]]], split: Scored, metric: str, *, prefix: str
) -> Drawing | None:
    """Draw the values of all runs; return None where no run has any."""
    figure = make_figure(WIDTH, HEIGHT)
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    axes = add_panel(figure, (LEFT / WIDTH, BOTTOM / HEIGHT, width / WIDTH, height / HEIGHT))
    axes.patch.set_visible(False)
    axes.tick_params(length=0)
    titles = {}
    for index, (name, history) in enumerate(runs):
        line = draw_curve(axes, history, split, metric, index)
        if line is not None:
            line.set_gid(f"curve-{index}")
            titles[f"curve-{index}"] = name
    if not titles:
        return None
    name = f"{split} {metric}"
    label = f"{name} by epoch, a line for each of {len(titles)} results"
    return Drawing(name=name, svg=embed_figure(figure, prefix, label=label, titles=titles))


def _draw_key(index: int, name: str) -> Drawing:
    from matplotlib.lines import Line2D

    figure = make_figure(KEY_WIDTH, KEY_HEIGHT)
    figure.add_artist(Line2D([0, 0.5, 1], [0.5] * 3, **choose_look(index), markevery=[1]))
    return Drawing(name=name, svg=embed_figure(figure, f"key-{index}"))
