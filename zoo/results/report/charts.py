"""Axes: lines over epochs as coordinates of a small SVG, for pages that draw without a library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

WIDTH, HEIGHT = 360, 230
LEFT, RIGHT, TOP, BOTTOM = 46, 8, 8, 34
"""The space around the plotting area: numbers stand left of it and below."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line: its name, a number that chooses its look, the path and its points in coordinates of the SVG."""

    name: str
    style: int
    path: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Lines with the ticks of both axes, each a place and its label."""

    title: str
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    lines: tuple[Line, ...]
    left: float = LEFT
    right: float = WIDTH - RIGHT
    top: float = TOP
    bottom: float = HEIGHT - BOTTOM
    width: float = WIDTH
    height: float = HEIGHT


def draw_chart(title: str, series: Sequence[tuple[str, int, Sequence[tuple[float, float | None]]]]) -> Chart | None:
    """Lay out lines, each a name, a style and its points (epoch, value); None where there is no value at all.

    A value of None breaks its line.
    """
    known = [(x, y) for *_, points in series for x, y in points if y is not None]
    if not known:
        return None
    first, last = min(x for x, _ in known), max(x for x, _ in known)
    y_ticks = choose_ticks(min(y for _, y in known), max(y for _, y in known), 5)
    x_ticks = [tick for tick in choose_ticks(first, last, 6) if first <= tick <= last and tick == int(tick)]
    low, high = y_ticks[0], y_ticks[-1]

    def place_x(value: float) -> float:
        share = (value - first) / (last - first) if last > first else 0.5
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def place_y(value: float) -> float:
        return round(HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM), 1)

    lines = []
    for name, style, points in series:
        steps, places = [], []
        drawing = False
        for x, y in points:
            if y is not None:
                places.append((place_x(x), place_y(y)))
                steps.append(f"{'L' if drawing else 'M'}{places[-1][0]:g} {places[-1][1]:g}")
            drawing = y is not None
        lines.append(Line(name=name, style=style, path="".join(steps), points=tuple(places)))
    step = y_ticks[1] - y_ticks[0]
    digits = max(0, -floor(log10(step) + 1e-9))
    return Chart(
        title=title,
        x_ticks=tuple((place_x(tick), f"{tick:g}") for tick in x_ticks),
        y_ticks=tuple((place_y(tick), f"{tick:.{digits}f}") for tick in y_ticks),
        lines=tuple(lines),
    )


def choose_ticks(low: float, high: float, count: int) -> list[float]:
    """Return at least two round numbers, about `count`, in even steps of 1, 2 or 5 that hold `low` and `high`."""
    span = (high - low) or abs(high) or 1.0
    size = 10 ** floor(log10(span / count))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor * count >= span * (1 - 1e-9))
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]
