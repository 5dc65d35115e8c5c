"""Charts: the learning curves of the page and their legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zoo.records.history import Epoch, Scored, name_watched, read_scores, watched_scores
from zoo.results.plots.colors import choose_looks
from zoo.results.plots.curves import add_panel, draw_curve
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
    """Charts, each with one curve for a result, a legend with the name of each result, and what is no curve.

    Fields:
        charts, legend: both are empty where no result recorded more than one epoch.
        dots: the names of results that recorded a single epoch, each a mark in the charts.
        scores: the names of the scores of `points`.
        points: the name of each result and its scores after its only epoch, None for one that is not known. They are
            given where no result has more epochs, because a curve of one point would show nothing.
    """

    charts: tuple[Drawing, ...] = ()
    legend: tuple[Drawing, ...] = ()
    dots: tuple[str, ...] = ()
    scores: tuple[str, ...] = ()
    points: tuple[tuple[str, tuple[float | None, ...]], ...] = ()


def draw_charts(
    results: Sequence[Result], looks: Mapping[str, Mapping[str, Any]] | None = None, *, prefix: str = ""
) -> Charts:
    """Draw the losses of training and test and the first metric of the results that recorded their epochs.

    `looks` has the colour and the marker of each result by its name, where a page has more results than these; the ids
    of the drawings begin with `prefix`.

    Raises:
        UsageError: matplotlib is not installed.
    """
    runs = [(result.name, result.history) for result in results if result.history]
    if looks is None:
        names = [result.name for result in results]
        looks = dict(zip(names, choose_looks(results), strict=True))
    metrics = dict.fromkeys(name for _, history in runs for epoch in history for name in watched_scores(epoch))
    wanted: list[tuple[Scored, str]] = [("train", "loss"), ("test", "loss")]
    wanted += [("test", name) for name in metrics if name != "loss"][:1]
    if runs and all(len(history) == 1 for _, history in runs):
        return _list_points(runs, wanted[::-1])
    with plot_style():
        drawn = [_draw_chart(runs, *what, looks, prefix=f"{prefix}chart-{n}") for n, what in enumerate(wanted)]
        charts = tuple(chart for chart in drawn if chart is not None)
        keys = enumerate(runs if charts else ())
        legend = tuple(_draw_key(name, looks[name], f"{prefix}key-{index}") for index, (name, _) in keys)
        dots = tuple(name for name, history in runs if len(history) == 1)
        return Charts(charts=charts, legend=legend, dots=dots if charts else ())


def _name_split(split: Scored, runs: Sequence[tuple[str, Sequence[Epoch]]]) -> str:
    return name_watched([history for _, history in runs]) if split == "test" else split


def _list_points(runs: Sequence[tuple[str, Sequence[Epoch]]], wanted: Sequence[tuple[Scored, str]]) -> Charts:
    known = [
        (split, key)
        for split, key in wanted
        if any(read_scores(epoch, split).get(key) is not None for _, (epoch,) in runs)
    ]
    if not known:
        return Charts()
    points = tuple((name, tuple(read_scores(epoch, split).get(key) for split, key in known)) for name, (epoch,) in runs)
    return Charts(scores=tuple(f"{_name_split(split, runs)} {key}" for split, key in known), points=points)


def _draw_chart(
    runs: Sequence[tuple[str, Sequence[Epoch]]],
    split: Scored,
    metric: str,
    looks: Mapping[str, Mapping[str, Any]],
    *,
    prefix: str,
) -> Drawing | None:
    """Draw the values of all runs; return None where no run has any."""
    figure = make_figure(WIDTH, HEIGHT)
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    axes = add_panel(figure, (LEFT / WIDTH, BOTTOM / HEIGHT, width / WIDTH, height / HEIGHT))
    axes.patch.set_visible(False)
    axes.tick_params(length=0)
    titles = {}
    for index, (name, history) in enumerate(runs):
        line = draw_curve(axes, history, split, metric, looks[name])
        if line is not None:
            line.set_gid(f"curve-{index}")
            titles[f"curve-{index}"] = name
    if not titles:
        return None
    name = f"{_name_split(split, runs)} {metric}"
    label = f"{name} by epoch, a line for each of {len(titles)} result{'' if len(titles) == 1 else 's'}"
    return Drawing(name=name, svg=embed_figure(figure, prefix, label=label, titles=titles))


def _draw_key(name: str, look: Mapping[str, Any], prefix: str) -> Drawing:
    from matplotlib.lines import Line2D

    figure = make_figure(KEY_WIDTH, KEY_HEIGHT)
    figure.add_artist(Line2D([0, 0.5, 1], [0.5] * 3, **look, markevery=[1]))
    return Drawing(name=name, svg=embed_figure(figure, prefix))
