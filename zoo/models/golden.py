"""Golden samples: a few raw images and what the model made of them, kept in the weights file as its proof.

Replaying them runs decoding, preprocessing, model and order of the classes; each must be what it was.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zoo.errors import OutOfMemoryError, WeightsError, ZooError, describe, is_out_of_memory
from zoo.limits import BATCH_VALUES
from zoo.records.metadata import GoldenSamples, WeightsMetadata
from zoo.registry.global_state import keep_state
from zoo.registry.preprocess import Preprocess, name_dtype

TOLERANCE = 1e-4
"""How far a probability may be off: other machines, thread counts and versions of torch sum in other orders, which
moves the last few of the seven digits of a float32; a change of meaning moves the first ones."""

MAX_SAMPLES = 8
MAX_BYTES = 128 * 1024
"""Of raw images. In base64 a third is added; together with the probabilities it stays below the format's 256 KB."""
MAX_PROBABILITIES = 8192


def make_golden(
    model: nn.Module, preprocess: Preprocess, images: Tensor, class_names: Sequence[str]
) -> GoldenSamples | None:
    """Return raw images `(N, C, H, W)` with the model's probabilities, as many as there is room for; None without any.

    Of images too large every `stride`-th pixel is kept, and repeated when they are replayed. Samples with other axes
    are thinned out along their last two.
    """
    if len(class_names) > MAX_PROBABILITIES:
        return None
    stride, size = 1, images.element_size()
    while (kept := _thin(images[:MAX_SAMPLES], stride))[:1].numel() * size > MAX_BYTES:
        if stride >= max(images.shape[-2:]):
            return None  # its other axes alone are too large
        stride *= 2
    kept = kept.contiguous().cpu()
    count = min(len(kept), MAX_BYTES // (kept[:1].numel() * kept.element_size()), MAX_PROBABILITIES // len(class_names))
    kept = kept[:count]
    probabilities = _predict(model, preprocess, kept, stride, images.shape[1:])
    return GoldenSamples(
        dtype=name_dtype(kept.dtype),
        shape=tuple(kept.shape),
        stride=stride,
        images=base64.b64encode(kept.flatten().view(torch.uint8).numpy().tobytes()).decode(),
        probabilities=tuple(tuple(float(f"{value:.7g}") for value in row) for row in probabilities.tolist()),
        labels=tuple(class_names[index] for index in probabilities.argmax(dim=1).tolist()),
    )


def check_golden(where: object, model: nn.Module, metadata: WeightsMetadata) -> float:
    """Replay the golden samples on the CPU; return the largest difference of a probability.

    Raises:
        WeightsError: a probability differs by more than TOLERANCE, or a class has another name.
    """
    golden = metadata.golden
    if golden is None:
        raise WeightsError(f"{where} has no golden samples", "nothing proves its predictions")
    raw = torch.frombuffer(bytearray(base64.b64decode(golden.images)), dtype=torch.uint8)
    kept = raw.view(getattr(torch, golden.dtype)).view(golden.shape)
    shape = metadata.image.shape if metadata.image else kept.shape[1:]
    what = f"{where} no longer gives the predictions it was saved with"
    try:
        probabilities = _predict(model, metadata.preprocess, kept, golden.stride, shape)
    except ZooError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemoryError(f"{where}: not enough memory for its golden samples", describe(error)) from error
        raise WeightsError(what, f"its golden samples cannot be replayed ({describe(error)})") from error
    expected = torch.tensor(golden.probabilities)
    same_shape = expected.shape == probabilities.shape
    difference = float((probabilities - expected).abs().max()) if same_shape else float("nan")
    if not difference <= TOLERANCE:
        why = f"a probability of its golden samples is off by {difference:.2g}, at most {TOLERANCE:g} is right"
        raise WeightsError(what, f"{why}: tensors, params, preprocess or the code of the model have changed")
    for row, label in zip(expected, golden.labels, strict=True):
        name = metadata.class_names[int(row.argmax())]
        if name != label:
            raise WeightsError(what, f"class_names: class {int(row.argmax())} is {name!r}, it was {label!r}")
    return difference


@keep_state()
def predict_probabilities(model: nn.Module, inputs: Tensor) -> Tensor:
    """Return the probabilities `(N, num_classes)` that a model gives for inputs; on the model's device."""
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            probabilities: Tensor = model(inputs).softmax(dim=1)
            return probabilities
    finally:
        model.train(training)


def _predict(model: nn.Module, preprocess: Preprocess, kept: Tensor, stride: int, shape: Sequence[int]) -> Tensor:
    """Return the probabilities for raw images that were kept with a stride, as many at once as memory is for."""
    parts = kept.split(max(1, BATCH_VALUES // preprocess.count_values(shape)))
    return torch.cat([predict_probabilities(model, preprocess(_repeat(part, stride, shape))) for part in parts])


def _thin(images: Tensor, stride: int) -> Tensor:
    """Return images `(N, ...)` with every `stride`-th place along the last two axes, or the only one, of a sample."""
    places = slice(None, None, stride)
    return images[..., places, places] if images.ndim > 2 else images[..., places]


def _repeat(images: Tensor, stride: int, shape: Sequence[int]) -> Tensor:
    """Return the raw images that were kept with a stride, each pixel in the place of those left out."""
    for axis in range(1, images.ndim)[-2:] if stride > 1 else ():
        images = images.repeat_interleave(stride, dim=axis).narrow(axis, 0, shape[axis - 1])
    return images
