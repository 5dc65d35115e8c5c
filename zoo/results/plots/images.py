"""Gallery: images in rows with a caption over each, which of them are shown, and what the captions say."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, sqrt
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zoo.errors import DataError, SettingError, UsageError
from zoo.results.plots.style import (
    INK,
    LINE,
    RIGHT,
    WRONG,
    drawing,
    fit_text,
    make_figure,
    measure_text,
    wrap_text,
    write_lines,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from zoo.training.predictions import Outcomes

WIDTH, LARGEST, SMALLEST, GAP, LETTERS = 520, 200, 84, 14, 9
"""Points: what a row fills, the largest and smallest side of a cell, the space between cells, and the letters."""

MAX_SIDE = 512
"""Pixels: larger images are made smaller before they are drawn; more of them no cell shows."""


def find_wrong(outcomes: Outcomes, count: int) -> list[int]:
    """Return the indices of the most wrong predictions: the highest probability for a wrong class first.

    Of equal ones the lower probability of the truth comes first, then the lower index.
    """
    wrong = (~outcomes.correct).nonzero().flatten().tolist()
    given, truth = outcomes.probabilities.tolist(), outcomes.target_probabilities.tolist()
    return sorted(wrong, key=lambda index: (-given[index], truth[index], index))[:count]


def plot_samples(
    images: Sequence[Tensor], titles: Sequence[str], *, columns: int | None = None, title: str | None = None
) -> Figure:
    """Draw raw images `(C, H, W)` of any sizes with a title over each, row by row.

    One channel is shown in grey, three as RGB, the mean of any other number in grey. Black and white are the ends of
    the dtype's range for uint8 and uint16, else 0 and 1, or the extremes of all images where values lie beyond.

    Raises:
        UsageError: there are no images, not as many titles, or no columns.
        DataError: they are not `(C, H, W)`.
    """
    with drawing():
        room = _find_side(len(images), columns) + GAP - 6
        captions = [(wrap_text(text, LETTERS, room, 2), INK) for text in titles]
        return _draw(images, captions, columns, title)


def plot_predictions(
    images: Sequence[Tensor],
    outcomes: Outcomes,
    indices: Sequence[int],
    *,
    columns: int | None = None,
    title: str | None = None,
) -> Figure:
    """Draw the images of these samples with `predicted | truth` over each: ✓ in green when right, ✗ in red when wrong.

    Raises:
        UsageError, DataError: see `plot_samples`.
    """
    names = outcomes.class_names
    with drawing():
        room = _find_side(len(images), columns) + GAP - 6
        captions = []
        for index in indices:
            target, predicted = int(outcomes.targets[index]), int(outcomes.predictions[index])
            sign, color = ("✓", RIGHT) if target == predicted else ("✗", WRONG)
            captions.append((_join(sign, names[predicted], names[target], room), color))
        head = f"{_describe(outcomes)}: predicted | truth, ✓ right, ✗ wrong"
        return _draw(images, captions, columns, title or head)


def plot_wrong(
    images: Sequence[Tensor],
    outcomes: Outcomes,
    indices: Sequence[int],
    *,
    columns: int | None = None,
    title: str | None = None,
) -> Figure:
    """Draw the images of these samples with what was predicted, what is true and the probability of both.

    Which they are says `find_wrong`.

    Raises:
        UsageError, DataError: see `plot_samples`.
    """
    names = outcomes.class_names
    with drawing():
        room = _find_side(len(images), columns) + GAP - 6
        captions = []
        for index in indices:
            target, predicted = int(outcomes.targets[index]), int(outcomes.predictions[index])
            rows = (
                ("✓ " if target == predicted else "✗ ", names[predicted], float(outcomes.probabilities[index])),
                ("truth ", names[target], float(outcomes.target_probabilities[index])),
            )
            lines = [_end_with(start, name, f" {probability:.3f}", room) for start, name, probability in rows]
            captions.append((lines, RIGHT if target == predicted else WRONG))
        return _draw(images, captions, columns, title or f"{_describe(outcomes)}: most wrong, with probabilities")


def _describe(outcomes: Outcomes) -> str:
    return "{model} on {dataset}, {split}".format_map(outcomes.facts)


def _join(sign: str, predicted: str, target: str, room: float) -> list[str]:
    """Return `predicted | truth` in one line where both fit whole, else in two."""
    ends = [fit_text(name, LETTERS, room) for name in (predicted, target)]
    line = f"{sign} {ends[0]} | {ends[1]}"
    if measure_text(line, LETTERS) <= room:
        return [line]
    return [_end_with(f"{sign} ", predicted, " |", room), fit_text(target, LETTERS, room)]


def _end_with(start: str, name: str, end: str, room: float) -> str:
    return f"{start}{fit_text(name, LETTERS, room - measure_text(start + end, LETTERS))}{end}"


def _count_columns(images: int, columns: int | None) -> int:
    if columns is not None and columns < 1:
        raise SettingError("columns", "must be at least 1", columns)
    return min(columns or ceil(sqrt(images)), images)


def _find_side(images: int, columns: int | None) -> float:
    """Return the side of a cell in points."""
    if not images:
        raise UsageError("no images to draw")
    return min(max(WIDTH / _count_columns(images, columns), SMALLEST), LARGEST)


def _draw(
    images: Sequence[Tensor],
    captions: Sequence[tuple[Sequence[str], str]],
    columns: int | None,
    title: str | None,
) -> Figure:
    """Draw images under captions, each some lines and their colour; room for two lines only where one has two."""
    if len(images) != len(captions):
        raise UsageError(f"{len(images)} images for {len(captions)} captions", "expected as many of both")
    pictures = to_pictures(images)
    side, columns = _find_side(len(images), columns), _count_columns(len(images), columns)
    # A row is as high as its highest picture.
    tall = [side * min(1, len(picture) / len(picture[0])) for picture in pictures]
    rows = [max(tall[first : first + columns]) for first in range(0, len(tall), columns)]
    caption = max(len(lines) for lines, _ in captions) * LETTERS * LINE + 6
    width = GAP + columns * (side + GAP)
    head = wrap_text(title, 10, width - 2 * GAP, 3) if title else []
    top = len(head) * 10 * LINE + 12 if head else 4
    height = top + sum(rows) + len(rows) * (caption + GAP / 2) + GAP / 2
    figure = make_figure(width, height)
    for number, (picture, (lines, color)) in enumerate(zip(pictures, captions, strict=True)):
        row, column = divmod(number, columns)
        left = GAP + column * (side + GAP)
        bottom = height - top - sum(rows[: row + 1]) - row * GAP / 2 - (row + 1) * caption
        # Directly under its caption, whatever its proportions.
        box = (left / width, bottom / height, side / width, rows[row] / height)
        axes = figure.add_axes(box, anchor="N")
        axes.imshow(picture, cmap="gray", vmin=0, vmax=1)
        axes.set_axis_off()
        axes.set_title("\n".join(lines), fontsize=LETTERS, color=color, pad=4, linespacing=1.15)
    write_lines(figure, head, height - 8, 10, left=GAP)
    return figure


def to_pictures(images: Sequence[Tensor]) -> list[Any]:
    """Return raw images as arrays of 0 to 1, `(H, W)` for grey and `(H, W, 3)`; values of one kind share their range.

    Raises:
        DataError: they are not `(C, H, W)`.
    """
    for image in images:
        if image.ndim != 3 or 0 in image.shape:
            raise DataError(
                f"a sample of shape {tuple(image.shape)} is no picture", "expected (channels, height, width)"
            )
    small = [_shrink(image) for image in images]
    free = [values for image, values in zip(images, small, strict=True) if image.dtype not in _RANGES]
    low = min([0.0, *(float(values.min()) for values in free)])
    high = max([1.0, *(float(values.max()) for values in free)])
    arrays = []
    for image, values in zip(images, small, strict=True):
        least, most = _RANGES.get(image.dtype, (low, high))
        unit = ((values - least) / (most - least)).clamp(0, 1)
        colored = unit.permute(1, 2, 0) if len(unit) == 3 else unit.mean(dim=0)
        arrays.append(colored.numpy())
    return arrays


_RANGES = {torch.uint8: (0.0, 255.0), torch.uint16: (0.0, 65535.0), torch.bool: (0.0, 1.0)}


def _shrink(image: Tensor) -> Tensor:
    """Return an image as float32 of at most MAX_SIDE pixels a side."""
    values = image.detach().cpu().to(torch.float32).nan_to_num()
    height, width = values.shape[1:]
    scale = MAX_SIDE / max(height, width)
    if scale >= 1:
        return values
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    return torch.nn.functional.interpolate(values[None], size=size, mode="bilinear", antialias=True)[0]
