"""Style: what all figures share, which is their look, text that fits, and the files they are written to."""

from __future__ import annotations

import io
import logging
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import SettingError, UsageError, describe, one_line
from zoo.registry.arguments import checked
from zoo.storage.files import write_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")
DPI = 150
POINTS_PER_INCH = 72
"""Sizes of text, margins and cells are in points, those of figures in inches."""

MAX_GRID_CELLS = 400
"""Images in a figure, at most: each has axes of its own, which take time."""

LINE_HEIGHT = 1.3
"""Height of a line of text, in sizes of its font."""

WIDTH_RESERVE = 1.05
"""Factor on the width of text: a notebook fits letters to its pixels, which makes lines up to 5 % wider."""

RIGHT_COLOR, WRONG_COLOR, TEXT_COLOR = "#00664F", "#B23A00", "#222222"
"""Bluish green and vermilion, after M. Okabe and K. Ito, Color Universal Design (2008), both darkened to be read on
white. A sign goes with each of them, so that nobody has to tell the colours apart."""

AXIS_COLOR, GRID_COLOR = "#888888", "#E5E5E5"
"""Grey of the lines along the axes, and of those behind the curves."""

log = logging.getLogger("zoo")

FALLBACK_FONTS = (
    *("Noto Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Micro Hei"),
    *("Microsoft YaHei", "PingFang SC", "Hiragino Sans", "Yu Gothic", "Malgun Gothic", "Apple SD Gothic Neo"),
    *("Noto Sans Devanagari", "Nirmala UI", "Noto Sans Thai", "Leelawadee UI", "Arial Unicode MS"),
)
"""Fonts for letters that matplotlib's own font lacks; those that are installed are used."""

MISSING_GLYPH = "Glyph .* missing from"


@contextmanager
def plot_style() -> Iterator[None]:
    """Make figures look the same whatever the user's settings of matplotlib, and `$` in a name stay a `$`.

    Raises:
        UsageError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        fix = "Install it: pip install 'zoo-torch[plots]'"
        raise UsageError("pictures need matplotlib", describe(error), fix) from error
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", MISSING_GLYPH, UserWarning)
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {
                "font.family": _list_families(),
                "text.parse_math": False,
                # With hinting, the width of text would depend on the resolution, and no longer be what was measured.
                "text.hinting": "none",
                "text.color": TEXT_COLOR,
                "axes.labelcolor": TEXT_COLOR,
                "axes.edgecolor": AXIS_COLOR,
                "axes.spines.top": False,
                "axes.spines.right": False,
                "axes.formatter.useoffset": False,
                "xtick.color": TEXT_COLOR,
                "ytick.color": TEXT_COLOR,
                "svg.fonttype": "none",
                "svg.hashsalt": "zoo",
                "pdf.fonttype": 42,
            }
        )
        yield


@cache
def _list_families() -> list[str]:
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in FALLBACK_FONTS if name in installed), "sans-serif"]


def make_figure(width: float, height: float) -> Figure:
    """Return an empty figure of this size in points. It is unknown to pyplot, so nobody has to close it."""
    return _find_figure_class()(figsize=(width / POINTS_PER_INCH, height / POINTS_PER_INCH))


@cache
def _find_figure_class() -> type[Figure]:
    from matplotlib.figure import Figure

    class NotebookFigure(Figure):
        """A figure that a notebook shows although pyplot was never imported."""

        def _repr_png_(self) -> bytes:
            return render_figure(self, "png")

    return NotebookFigure


def render_figure(figure: Figure, form: str = "png") -> bytes:
    """Return a figure as a file of this format, `png`, `svg` or `pdf`; the same bytes for the same figure.

    Text stays text in SVG and PDF. Letters that no installed font has are drawn as boxes, which is warned about.
    """
    undated: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None, "ModDate": None}}
    buffer = io.BytesIO()
    with plot_style(), warnings.catch_warnings(record=True) as notes:
        warnings.filterwarnings("always", MISSING_GLYPH, UserWarning)
        figure.savefig(buffer, format=form, dpi=DPI, metadata=undated.get(form, {}))
    if any(re.match(MISSING_GLYPH, str(note.message)) for note in notes) and form != "svg":
        log.warning(
            "some letters of the picture are boxes: no installed font has them. An .svg leaves them to its reader"
        )
    return buffer.getvalue()


def find_format(path: str | os.PathLike[str]) -> str:
    """Return the format that a file's suffix means; raise SettingError for one that cannot be written."""
    form = Path(path).suffix.lower().removeprefix(".")
    if form not in FORMATS:
        raise SettingError("output", "expected the name of a .png, .svg or .pdf file", os.fspath(path))
    return form


@checked
def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG, SVG or PDF by the suffix of `path`.

    Raises:
        SettingError: another suffix.
        StorageError: the file cannot be written; an older one stays.
    """
    if not hasattr(figure, "savefig"):
        raise SettingError("figure", "expected a figure of matplotlib", figure)
    data = render_figure(figure, find_format(path))
    write_file(Path(path), data, what="the picture", fix="Give another path.")


def check_grid(grid: tuple[int, int]) -> int:
    """Return the number of cells of a grid of rows and columns; raise SettingError for none or too many."""
    rows, columns = grid
    if rows < 1 or columns < 1 or rows * columns > MAX_GRID_CELLS:
        raise SettingError("grid", f"expected 1 to {MAX_GRID_CELLS} cells, as 3x3", f"{rows}x{columns}")
    return rows * columns


def measure_text(text: str, size: float) -> float:
    """Return the width of one line of text in points, with WIDTH_RESERVE. Call it within `plot_style`."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family=_list_families(), size=size)
    return WIDTH_RESERVE * float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0])


def fit_text(text: str, size: float, width: float) -> str:
    """Return foreign text as one printable line of at most `width` points, without its middle if need be."""
    text = one_line(text) or "''"
    # No letter is as narrow as a twentieth of the font size, so text longer than this need not be measured.
    room = int(width / size * 20)
    kept = len(text)
    if kept <= room and measure_text(text, size) <= width:
        return text
    low, high = 0, min(kept - 1, room)
    while low < high:
        kept = (low + high + 1) // 2
        low, high = (kept, high) if measure_text(_cut(text, kept), size) <= width else (low, kept - 1)
    return _cut(text, low)


def _cut(text: str, kept: int) -> str:
    """Return `kept` letters of a text, half of them from each end: names often differ at their ends only."""
    return f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"


def wrap_text(text: str, size: float, width: float, lines: int) -> list[str]:
    """Return foreign text in at most `lines` lines, broken at spaces. What does not fit is shortened."""
    words = (one_line(text) or "''").split(" ")
    found: list[str] = []
    while words and len(found) < lines - 1:
        taken = 1
        while taken < len(words) and measure_text(" ".join(words[: taken + 1]), size) <= width:
            taken += 1
        found.append(fit_text(" ".join(words[:taken]), size, width))
        words = words[taken:]
    return [*found, fit_text(" ".join(words), size, width)] if words else found


def write_lines(figure: Figure, lines: Sequence[str], top: float, size: float, left: float = 12) -> None:
    """Write lines of text into a figure, from `top` points above its lower edge downwards."""
    width, height = (POINTS_PER_INCH * float(side) for side in figure.get_size_inches())
    for number, line in enumerate(lines):
        y = (top - number * size * LINE_HEIGHT) / height
        figure.text(left / width, y, line, fontsize=size, va="top", ha="left")
