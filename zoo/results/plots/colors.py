"""Colours: those of models and of confusion matrices, one home for the pictures and the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.records.history import Scored
    from zoo.results.reading import Result

COLORS = ("#0072B2", "#B23A00", "#00775B", "#A0458A", "#2B96D4", "#8A6100", "#50555C")
"""After the palette of M. Okabe and K. Ito, Color Universal Design (2008), darkened to a contrast of 3 on white."""
DARK_COLORS = ("#4D9FE0", "#FF9B6B", "#4CC9A4", "#E59ACB", "#A5D8FF", "#E0B040", "#B9C0C8")
"""The same colours on a dark page, in the same order."""

MARKERS = ("o", "s", "^", "D", "v", "*", "P", "<", "X")
"""They tell runs apart in grey. There are nine for seven colours, so that no pair of both returns before 63 runs."""

MARKER_FACES: dict[Scored, str | None] = {"train": "white", "test": None}
"""Colours inside a marker, None for that of the curve. A run of one epoch has no line to tell its two curves apart."""

SHADES, EXPONENT = "Blues", 0.5
"""The scale of confusion matrices: matplotlib's map of colours, and the power of a share that finds its place in it.
The square root lets rare mistakes show: a fifth of a row lies near the middle."""
DARK_SHADES = (0x14171B, 0x82C3FF)
"""The two ends of the scale on a dark page: its ground for no share, and a bright blue."""
STEPS = 20
"""Steps of the scale where a page has a style for each."""
EMPTY_ROW_COLOR = "#DDDDDD"
"""Of a class without samples, which has no shares."""


def choose_looks(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Return colour and marker of each result, the same for the same results in whatever picture they are.

    A colour stands for a model wherever it was trained, and the markers tell its results apart. Where all results are
    of one model and one data set, each has a colour of its own.
    """
    models = [result.weights_metadata.qualified_model for result in results]
    if len({result.weights_metadata.title for result in results}) <= 1:
        return [choose_look(index) for index in range(len(results))]
    known = sorted({*models})
    looks: list[dict[str, Any]] = []
    used = dict.fromkeys(range(len(COLORS)), 0)
    for model in models:
        color = known.index(model) % len(COLORS)
        looks.append(_make_look(color, used[color]))
        used[color] += 1
    return looks


def choose_look(index: int) -> dict[str, Any]:
    """Return the colour and the marker number `index` of those that go round for results of one kind."""
    return _make_look(index, index)


def _make_look(color: int, marker: int) -> dict[str, Any]:
    return {"color": COLORS[color % len(COLORS)], "marker": MARKERS[marker % len(MARKERS)], "markersize": 4.5}


def shade(shares: Any) -> Any:
    """Return the colours of shares from 0 to 1 as an array `(..., 3)` of 0 to 1; NaN has that of an empty row."""
    import matplotlib
    import numpy

    masked = numpy.ma.masked_invalid(numpy.asarray(shares, dtype=numpy.float64))
    return matplotlib.colormaps[SHADES].with_extremes(bad=EMPTY_ROW_COLOR)(masked**EXPONENT)[..., :3]


def find_step(share: float) -> int:
    """Return the step of a share on the scale, 0 to STEPS; only a share of nothing has step 0."""
    return 0 if share <= 0 else max(1, round(STEPS * share**EXPONENT))


def choose_text_color(color: Sequence[float]) -> str:
    """Return black or white, whichever has the higher contrast on a colour (WCAG 2.2, relative luminance)."""
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in color[:3]]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "black" if (luminance + 0.05) ** 2 > 1.05 * 0.05 else "white"


def write_css() -> str:
    """Return the colours as rules of a style sheet: variables `--l0` ... and classes `.s0` ... `.s20` and `.empty`."""
    steps = [step / STEPS for step in range(STEPS + 1)]
    light = shade([place ** (1 / EXPONENT) for place in steps]).tolist()
    ends = [[(end >> shift & 255) / 255 for shift in (16, 8, 0)] for end in DARK_SHADES]
    dark = [[low + place * (high - low) for low, high in zip(*ends, strict=True)] for place in steps]
    rules = _write_rules(COLORS, light), _write_rules(DARK_COLORS, dark)
    return "{}\n@media screen and (prefers-color-scheme: dark) {{\n{}\n}}\n".format(*rules)


def _write_rules(colors: Sequence[str], shades: Sequence[Sequence[float]]) -> str:
    variables = " ".join(f"--l{index}: {color.lower()};" for index, color in enumerate(colors))
    rules = [f":root {{ {variables} }}"]
    for step, color in enumerate(shades):
        ground = "".join(f"{round(255 * part):02x}" for part in color)
        rules.append(f".s{step} {{ background: #{ground}; color: {choose_text_color(color)}; }}")
    return "\n".join([*rules, f".empty {{ background: {EMPTY_ROW_COLOR.lower()}; color: black; }}"])
