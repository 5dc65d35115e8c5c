"""Checks of the content of a data set: classes, images, ranges, and whether its splits share images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import torch

from zoo.checks.base import Fault, Skip
from zoo.checks.dataset.subject import DatasetSubject, choose_places, read_samples
from zoo.data.loading import find_false_claims
from zoo.data.splits import LARGEST_INPUT, find_input_shape
from zoo.registry.compatibility import show_shape
from zoo.registry.preprocess import Preprocess, name_dtype

SHARED = 0.005
"""Share of the test images that may be training images too, because large collections repeat a few pictures."""

MIRRORED = 0.2
"""Share of the test images that may mirror training images, because small drawn pictures do so by chance."""

NARROWEST, MOST_SPREAD = 0.02, 3.0
"""Limits of inputs: narrowest range, and how many times the deviation of one split may be that of another."""


def check_classes(subject: DatasetSubject) -> str:
    """Every class name is used, and used once.

    A name without training samples is a class that nothing can learn: a shifted label, a folder that was not read. Two
    equal names are two classes that nobody can tell apart. A class without test samples is a warning. Where a large
    Dataset was read in part only, a class that did not turn up says nothing.
    """
    names = list(subject.splits.class_names)
    twice = [name for name, count in Counter(name.strip() for name in names).items() if count > 1]
    if twice:
        raise Fault(f"class name {twice[0]!r} is there twice", "Give each class a name of its own")
    for split, samples in subject.read.items():
        counts = Counter(samples.targets)
        unused = [name for index, name in enumerate(names) if not counts[index]]
        if unused and samples.whole:
            seen = f"{split}: {len(unused)} of {len(names)} classes have no samples: {unused[:5]}"
            fix = "Give samples of each class, or leave the names out; look whether labels start at 0"
            raise Fault(seen, fix, status="failed" if split == "train" else "warning")
    train = subject.read["train"]
    counts = Counter(train.targets)
    if len(counts) < len(names):
        return f"{len(counts)} of {len(names)} classes are in {train.share} training samples"
    return f"{len(names)} classes, each with {min(counts.values())} or more training samples"


def check_claims(subject: DatasetSubject) -> str:
    """It is what its spec declares: shape, classes, numbers of samples.

    The spec is what `zoo show` prints and what models are matched with before anything is loaded.
    """
    spec, splits = subject.entry.spec, subject.splits
    false = find_false_claims(spec, splits, find_input_shape(subject.entry.name, splits))
    if false:
        raise Fault("; ".join(false), "Declare what is loaded, or load what is declared")
    declared = sum(map(bool, (spec.input_shape, spec.num_classes, spec.class_names))) + len(spec.samples)
    return f"{declared} declared facts hold"


def check_images(subject: DatasetSubject) -> str:
    """Images are of one shape, channels first, and of one dtype.

    A batch is one tensor, so a run refuses images that differ, unless the preprocess is `rounded`, which resizes each
    by itself; then they have as many channels. A last axis of 3 or 4, or of 1 behind a square, means channels last: to
    a model that is as many channels as the picture is high.
    """
    for name, samples in subject.read.items():
        where = subject.locate(dict(subject.splits.items())[name])
        if len(samples.dtypes) > 1:
            shown = ", ".join(f"{count} {name_dtype(dtype)}" for dtype, count in samples.dtypes.most_common())
            raise Fault(f"{name} images of {len(samples.dtypes)} dtypes: {shown}", "Give all as uint8", where)
    shapes = sum((samples.shapes for samples in subject.read.values()), Counter[tuple[int, ...]]())
    where = subject.locate(subject.splits.train)
    if len(shapes) > 1 and not _is_fitted(subject, shapes):
        shown = ", ".join(f"{count} {show_shape(shape)}" for shape, count in shapes.most_common(4))
        fix = "Convert all to RGB, and resize them to one size, or declare a Preprocess(resize=..., rounded=True)"
        raise Fault(f"images of {len(shapes)} shapes: {shown}", fix, where)
    shape = next(iter(shapes))
    if len(shape) == 3 and min(shape[:2]) >= 8 and (shape[2] in (3, 4) or (shape[2] == 1 and shape[0] == shape[1])):
        seen = f"images are {show_shape(shape)}: height, width, channels"
        raise Fault(seen, "Put channels first: image.permute(2, 0, 1), or permute(0, 3, 1, 2) for all", where)
    if len(shape) == 2 and shape[0] == shape[1] and shape[0] >= 8:
        seen = f"images are {show_shape(shape)}: to a model that is {shape[0]} channels"
        raise Fault(seen, "Add the axis of the channel: images.unsqueeze(1)", where, "warning")
    dtypes = {samples.dtypes.most_common(1)[0][0] for samples in subject.read.values()}
    if len(dtypes) > 1:
        shown = " and ".join(sorted(map(name_dtype, dtypes)))
        raise Fault(f"splits of {shown}", "Give all splits as uint8, which zoo scales", where, "warning")
    told = show_shape(shape) if len(shapes) == 1 else f"of {len(shapes)} sizes and {shape[0]} channels"
    return f"images are {told}, {name_dtype(dtypes.pop())}"


def _is_fitted(subject: DatasetSubject, shapes: Iterable[tuple[int, ...]]) -> bool:
    """Tell whether images may differ in size: each is resized by itself, and all have as many channels."""
    preprocess = subject.splits.preprocess
    fitted = preprocess is not None and preprocess.rounded and preprocess.resize is not None
    return fitted and all(len(shape) == 3 for shape in shapes) and len({shape[0] for shape in shapes}) == 1


def check_range(subject: DatasetSubject) -> str:
    """The declared preprocess gives inputs of a usual size, in each split the same.

    Bytes divided by 255 lie in 0 to 1, normalised ones within 5 or so. Inputs beyond 20 were not divided; inputs within
    0.02 of each other, five of 256 grey levels, were divided twice, and normalised ones within 0.05 were normalised in
    other units. Such a model learns badly and slowly. Inputs that are 3 times as spread in one split as in another, or
    lie 3 deviations off, had another preparation. 64 samples of each split are looked at.
    """
    preprocess = subject.splits.preprocess or Preprocess()
    shapes = {shape for samples in subject.read.values() for shape in samples.shapes}
    if len(shapes) > 1 and not _is_fitted(subject, shapes):
        raise Skip("images differ in shape")
    inputs_of: dict[str, torch.Tensor] = {}
    for name, split in subject.splits.items():
        images = (image.unsqueeze(0) for _, image, _ in read_samples(split, choose_places(split), name))
        prepared = [preprocess(image).squeeze(0).clone().double() for image in images]
        # One row for each channel, because mean and std are declared for each.
        rows = [image.flatten(1) if image.ndim == 3 else image.flatten().unsqueeze(0) for image in prepared]
        inputs_of[name] = torch.cat(rows, 1)
    for name, inputs in inputs_of.items():
        low, high = float(inputs.min()), float(inputs.max())
        if max(-low, high) > LARGEST_INPUT:
            fix = (
                "Give bytes as uint8, or declare Preprocess(scale=...), mean and std in the units of the scaled values"
            )
            raise Fault(f"{name} inputs lie between {low:.4g} and {high:.4g}", fix)
        if low == high:
            raise Fault(f"all {name} inputs are {low:.4g}", "Look at the images")
        # Inputs within 0 to 1 may be pale pictures, so the wider limit is for normalised ones only.
        widest = float((inputs.amax(1) - inputs.amin(1)).max())
        if widest < NARROWEST or (widest < 2.5 * NARROWEST and max(-low, high) > 1.1):
            fix = (
                "Look whether values are divided twice, or mean and std are those of bytes; both are for scaled values"
            )
            seen = f"{name} inputs lie between {low:.5g} and {high:.5g}, those of a channel within {widest:.2g}"
            raise Fault(seen, fix)
    train_mean, train_std = float(inputs_of["train"].mean()), float(inputs_of["train"].std())
    for name, inputs in inputs_of.items():
        mean, std = float(inputs.mean()), float(inputs.std())
        alike = 1 / MOST_SPREAD <= std / train_std <= MOST_SPREAD
        if not alike or abs(mean - train_mean) > MOST_SPREAD * max(train_std, std):
            seen = (
                f"train inputs have mean {train_mean:.3g} and deviation {train_std:.3g}, "
                f"{name} inputs {mean:.3g} and {std:.3g}"
            )
            raise Fault(seen, "Prepare all splits alike; declare Preprocess(mean=..., std=...) and leave it to zoo")
    low, high = (float(limit) for limit in torch.cat(list(inputs_of.values()), 1).aminmax())
    return f"inputs lie between {low:.3g} and {high:.3g}"


def check_disjoint(subject: DatasetSubject) -> str:
    """Test and validation images are not among the training images, nor test images among those of validation.

    A model that has seen the test images is rewarded for its memory, and one that was chosen by them for luck. Compared
    by content; up to 0.5 % are let through with a warning, since large collections repeat a few pictures. Up to 20 %
    may be left-right mirror images of training images, since small drawn pictures are by chance; copies that were made
    before the split are more.
    """
    seen, known = [], {"training": set(subject.read["train"].digests)}
    fix = "Split before anything is copied or augmented"
    for name in ("validation", "test"):
        if name not in subject.read:
            continue
        digests = subject.read[name].digests
        count = len(digests)
        for other, images in known.items():
            if shared := sum(digest in images for digest in digests):
                found = f"{shared} of {count} {name} images ({shared / count:.2%}) are also {other} images"
                raise Fault(found, fix, status="failed" if shared / count > SHARED else "warning")
            either_way = {digest for digest, _ in images}
            mirrored = sum(digest in either_way for digest, _ in digests)
            if mirrored > MIRRORED * count:
                share = f"{mirrored / count:.2%}"
                raise Fault(f"{mirrored} of {count} {name} images ({share}) are mirror images of {other} images", fix)
        known[name] = set(digests)
        seen.append(f"none of {count} {name} images is a training image")
    return "; ".join(seen)
