"""Images: a grid of samples with a caption over each, and the predictions that are the most wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, sqrt
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zoo.errors import DataError, SettingError, UsageError
from zoo.registry.arguments import checked
from zoo.results.plots import style
from zoo.training.predictions import Outcomes

if TYPE_CHECKING:
    from matplotlib.figure import Figure


ROW_WIDTH, MAX_CELL_SIZE, MIN_CELL_SIZE, GAP, FONT_SIZE = 520, 200, 84, 14, 9
"""Points: the width of a row, the largest and the smallest side of a cell, the space between cells, the font."""

MAX_IMAGE_SIDE = 512
"""Pixels: larger images are made smaller before they are drawn, for no cell shows more."""

DTYPE_RANGES = {torch.uint8: (0.0, 255.0), torch.uint16: (0.0, 65535.0), torch.bool: (0.0, 1.0)}
"""Black and white of a dtype that fixes them."""


@checked
def find_wrong(outcomes: Outcomes, count: int) -> list[int]:
    """Return the indices of the most wrong predictions: the highest probability for a wrong class first.

    Of equal ones the lower probability of the truth comes first, then the lower index.
    """
    wrong = (~outcomes.correct).nonzero().flatten().tolist()
    given, truth = outcomes.probabilities.tolist(), outcomes.target_probabilities.tolist()
    return sorted(wrong, key=lambda index: (-given[index], truth[index], index))[:count]


@checked
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
    with style.plot_style():
        room = _choose_cell_size(len(images), columns) + GAP - 6
        captions = [(style.wrap_text(text, FONT_SIZE, room, 2), style.TEXT_COLOR) for text in titles]
        return _draw_grid(images, captions, columns, title)


@checked
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

    def write_caption(index: int, sign: str, room: float) -> list[str]:
        predicted, target = _find_labels(outcomes, index)
        line = f"{sign} {style.fit_text(predicted, FONT_SIZE, room)} | {style.fit_text(target, FONT_SIZE, room)}"
        if style.measure_text(line, FONT_SIZE) <= room:
            return [line]
        return [_fit_between(f"{sign} ", predicted, " |", room), style.fit_text(target, FONT_SIZE, room)]

    head = "predicted | truth, ✓ right, ✗ wrong"
    return _draw_outcomes(images, outcomes, indices, columns, title, head, write_caption)


@checked
def plot_wrong(
    images: Sequence[Tensor],
    outcomes: Outcomes,
    indices: Sequence[int],
    *,
    columns: int | None = None,
    title: str | None = None,
) -> Figure:
    """Draw the images of these samples with what was predicted, what is true and the probability of both.

    `find_wrong` returns the samples that are most wrong.

    Raises:
        UsageError, DataError: see `plot_samples`.
    """

    def write_caption(index: int, sign: str, room: float) -> list[str]:
        predicted, target = _find_labels(outcomes, index)
        given, true = float(outcomes.probabilities[index]), float(outcomes.target_probabilities[index])
        first = _fit_between(f"{sign} ", predicted, f" {given:.3f}", room)
        return [first, _fit_between("truth ", target, f" {true:.3f}", room)]

    return _draw_outcomes(images, outcomes, indices, columns, title, "most wrong, with probabilities", write_caption)


def _draw_outcomes(
    images: Sequence[Tensor],
    outcomes: Outcomes,
    indices: Sequence[int],
    columns: int | None,
    title: str | None,
    head: str,
    write_caption: Callable[[int, str, float], list[str]],
) -> Figure:
    """Draw samples with what `write_caption` returns of an index, a sign and the room in points."""
    origin, correct = outcomes.origin, outcomes.correct
    with style.plot_style():
        room = _choose_cell_size(len(images), columns) + GAP - 6
        signs = [("✓", style.RIGHT_COLOR) if correct[index] else ("✗", style.WRONG_COLOR) for index in indices]
        captions = [
            (write_caption(index, sign, room), color) for index, (sign, color) in zip(indices, signs, strict=True)
        ]
        title = title or f"{origin.model} on {origin.dataset}, {origin.split}: {head}"
        return _draw_grid(images, captions, columns, title)


def _find_labels(outcomes: Outcomes, index: int) -> tuple[str, str]:
    names = outcomes.class_names
    return names[int(outcomes.predictions[index])], names[int(outcomes.targets[index])]


def _fit_between(start: str, name: str, end: str, room: float) -> str:
    return f"{start}{style.fit_text(name, FONT_SIZE, room - style.measure_text(start + end, FONT_SIZE))}{end}"


def _count_columns(images: int, columns: int | None) -> int:
    if columns is not None and columns < 1:
        raise SettingError("columns", "must be at least 1", columns)
    return min(columns or ceil(sqrt(images)), images)


def _choose_cell_size(images: int, columns: int | None) -> float:
    """Return the side of a cell in points."""
    if not images:
        raise UsageError("no images to draw")
    return min(max(ROW_WIDTH / _count_columns(images, columns), MIN_CELL_SIZE), MAX_CELL_SIZE)


def _draw_grid(
    images: Sequence[Tensor],
    captions: Sequence[tuple[Sequence[str], str]],
    columns: int | None,
    title: str | None,
) -> Figure:
    """Draw images under captions, each a list of lines and its colour. There is room for the longest caption."""
    if len(images) != len(captions):
        raise UsageError(f"{len(images)} images for {len(captions)} captions", "expected as many of both")
    pictures = normalize_images(images)
    side, columns = _choose_cell_size(len(images), columns), _count_columns(len(images), columns)
    # The highest picture of a row sets its height.
    tall = [side * min(1, len(picture) / len(picture[0])) for picture in pictures]
    rows = [max(tall[first : first + columns]) for first in range(0, len(tall), columns)]
    caption = max(len(lines) for lines, _ in captions) * FONT_SIZE * style.LINE_HEIGHT + 6
    width = GAP + columns * (side + GAP)
    head = style.wrap_text(title, 10, width - 2 * GAP, 3) if title else []
    top = len(head) * 10 * style.LINE_HEIGHT + 12 if head else 4
    height = top + sum(rows) + len(rows) * (caption + GAP / 2) + GAP / 2
    figure = style.make_figure(width, height)
    for number, (picture, (lines, color)) in enumerate(zip(pictures, captions, strict=True)):
        row, column = divmod(number, columns)
        left = GAP + column * (side + GAP)
        bottom = height - top - sum(rows[: row + 1]) - row * GAP / 2 - (row + 1) * caption
        # A picture stands directly under its caption, even where it is lower than its cell.
        axes = figure.add_axes((left / width, bottom / height, side / width, rows[row] / height), anchor="N")
        axes.imshow(picture, cmap="gray", vmin=0, vmax=1)
        axes.set_axis_off()
        axes.set_title("\n".join(lines), fontsize=FONT_SIZE, color=color, pad=4, linespacing=1.15)
    style.write_lines(figure, head, height - 8, 10, left=GAP)
    return figure


def normalize_images(images: Sequence[Tensor]) -> list[Any]:
    """Return raw images as arrays of 0 to 1, `(H, W)` for grey and `(H, W, 3)` for colour.

    Images whose dtype fixes no black and white share one range, 0 to 1 or wider where their values are.

    Raises:
        DataError: they are not `(C, H, W)`.
    """
    for image in images:
        if image.ndim != 3 or 0 in image.shape:
            what = f"a sample of shape {tuple(image.shape)} is no picture"
            raise DataError(what, "expected (channels, height, width)")
    small = [_downsample(image) for image in images]
    free = [values for image, values in zip(images, small, strict=True) if image.dtype not in DTYPE_RANGES]
    low = min([0.0, *(float(values.min()) for values in free)])
    high = max([1.0, *(float(values.max()) for values in free)])
    arrays = []
    for image, values in zip(images, small, strict=True):
        least, most = DTYPE_RANGES.get(image.dtype, (low, high))
        unit = ((values - least) / (most - least)).clamp(0, 1)
        colored = unit.permute(1, 2, 0) if len(unit) == 3 else unit.mean(dim=0)
        arrays.append(colored.numpy())
    return arrays


def _downsample(image: Tensor) -> Tensor:
    """Return an image as float32 of at most MAX_IMAGE_SIDE pixels a side."""
    values = image.detach().cpu().to(torch.float32).nan_to_num()
    height, width = values.shape[1:]
    scale = MAX_IMAGE_SIDE / max(height, width)
    if scale >= 1:
        return values
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    return torch.nn.functional.interpolate(values[None], size=size, mode="bilinear", antialias=True)[0]
