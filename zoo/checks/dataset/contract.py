"""Checks of a data set: it builds, is the same each time and everywhere, and leaves the process alone."""

from __future__ import annotations

import pickle
import time
from collections.abc import Generator, Mapping
from contextlib import closing
from typing import Any, cast

import torch
from torch.utils.data import IterableDataset

from zoo.checks.base import Check, Fault, Skip, Untried
from zoo.checks.dataset import rebuild
from zoo.checks.dataset.content import check_claims, check_classes, check_disjoint, check_images, check_range
from zoo.checks.dataset.subject import (
    READ_SECONDS,
    REREAD,
    DatasetSubject,
    choose_places,
    find_last,
    hash_image,
    read_places,
    read_sample,
    read_samples,
    read_split,
)
from zoo.checks.settings import check_use, keep_settings
from zoo.checks.subject import check_params
from zoo.checks.surroundings import refuse_network, reverse_listings
from zoo.data.batch import BatchSettings
from zoo.data.batches import make_batches
from zoo.data.fitted import fit_split
from zoo.data.loading import build_dataset
from zoo.data.splits import DataSplits, check_splits, count_samples
from zoo.data.streams import OWN_PART
from zoo.errors import DataError, DownloadError, PluginError, ZooError, describe
from zoo.registry.downloads import fetch_files
from zoo.registry.factories import load_factory
from zoo.registry.params import resolve_params
from zoo.registry.preprocess import Preprocess

PART_SIZE = 16
"""Samples that a worker gives at once where the parts of two are compared."""


def check_files(subject: DatasetSubject) -> str:
    """The files that it declares can be had, and are what it declares.

    They are fetched from the declared addresses unless they are there, and compared with size and checksum.
    """
    spec = subject.entry.spec
    subject.params = resolve_params(spec, load_factory(subject.entry), {})
    if not spec.files:
        return "it declares no files"
    try:
        fetch_files(spec.files, subject.root, offline=subject.offline, name=subject.entry.name)
    except DownloadError as error:
        raise Untried(f"its files are not here and cannot be fetched: {error}") from error
    return f"{len(spec.files)} files are what they are declared to be"


def check_builds(subject: DatasetSubject) -> str:
    """It gives splits that can be trained on.

    Both splits have samples, every target is from 0 to the number of class names less one, every value is finite. A
    wrong target ends a run, or worse, does not.
    """
    try:
        splits = subject.splits
    except PluginError as error:
        raise Fault(f"not built: {error.why}", "Mend what raises it") from error
    try:
        check_splits(subject.entry.name, splits)
    except ZooError as error:
        raise Fault(str(error), "Mend the data or how they are read", subject.definition) from error
    if rebuild.can_ask(subject.entry):
        rebuild.start()  # so that it imports torch while this process reads
    for name, split in splits.items():
        with keep_settings():
            subject.read[name] = read_split(name, split, len(splits.class_names), subject.locate(split))
    found = ", ".join(f"{name} {count_samples(split)}" for name, split in splits.items())
    return f"{found}; read {', '.join(f'{samples.share} of {name}' for name, samples in subject.read.items())}"


def check_same(subject: DatasetSubject) -> str:
    """A sample is the same each time it is read, and in each build.

    Otherwise a test score is not a number but a draw, and no run can be repeated. Random changes belong to training,
    not to the data. 64 samples of each split are read twice, backwards the second time, and once from a second build
    under another seed, with every folder listed backwards, since no file system promises an order; bit for bit. Their
    number stays, and reading one split leaves alone what another gave.
    """
    splits = subject.splits
    with reverse_listings():
        rebuilt = subject.build(seed=99)
    if list(rebuilt.class_names) != list(splits.class_names):
        names = [list(built.class_names)[:5] for built in (splits, rebuilt)]
        fix = "Sort them: sorted(...) also around os.listdir, iterdir and glob"
        raise Fault(f"class names are {names[0]} in one build, {names[1]} in the next", fix)
    fix = (
        "Take random changes out of __getitem__ and the factory, or draw them from a fixed seed; sort what folders list"
    )
    for name, split in splits.items():
        total = count_samples(split)
        rebuilt_split = dict(rebuilt.items()).get(name)
        where = subject.locate(split)
        if rebuilt_split is None or count_samples(rebuilt_split) != total:
            count = "none" if rebuilt_split is None else count_samples(rebuilt_split)
            raise Fault(f"{name}: {total} samples in one build, {count} in the next", fix, where)
        places = choose_places(split)
        samples = read_places(split, places, name, where)
        for label, source in (("twice", split), ("in two builds", rebuilt_split)):
            reread = read_places(source, places[::-1], name, where)[::-1]
            differing = [place for place, one, two in zip(places, samples, reread, strict=True) if one != two]
            if differing:
                seen = f"{name}: {len(differing)} of {len(places)} samples differ when read {label}"
                raise Fault(f"{seen}, the first is {differing[0]}", fix, where)
        if count_samples(split) != total:
            seen = f"{name}: {total} samples at first, {count_samples(split)} after some were read"
            raise Fault(seen, "Decide in the factory how many there are", where)
    _check_splits_apart(subject, splits)
    subject.steady = True
    return f"up to {REREAD} samples of each split are the same twice, and in two builds"


def _check_splits_apart(subject: DatasetSubject, splits: DataSplits) -> None:
    """Raise Fault when reading one split changes an image that another gave before."""
    for name, split in splits.items():
        for other, other_split in splits.items():
            image, _ = read_sample(split, 0, f"{name} sample 0")
            before = hash_image(image)
            read_sample(other_split, find_last(other_split), f"{other} sample")
            if name != other and hash_image(image) != before:
                seen = f"reading a {other} sample changes the image of {name} sample 0 that was read before it"
                raise Fault(seen, "Return a copy: image.clone()", subject.locate(split))


def check_processes(subject: DatasetSubject) -> str:
    """Another process gives the same data set.

    Each run is a process. `hash()` of a text and the order of a set of texts differ in each, so that classes change
    their numbers, and test images become training images, from run to run. Class names, counts and 64 samples of each
    split are compared; bit for bit.
    """
    if not rebuild.can_ask(subject.entry):
        raise Skip("it is known in this process only")
    if not subject.steady:
        raise Skip("it differs already in this one")
    here = rebuild.describe_splits(subject.splits)
    try:
        there = rebuild.describe_elsewhere(subject.entry, subject.root, subject.params)
    except TimeoutError as error:
        raise Untried(str(error)) from error
    if "error" in there:
        fix = "Keep what it needs in files under `root`, and in nothing that the process before left"
        raise Fault(f"not built in another process: {there['error']}", fix)
    fix = "Sort what comes out of a set, and split by a fixed order or hashlib instead of hash()"
    if here["class_names"] != there["class_names"]:
        seen = f"class names are {here['class_names'][:5]} here, {there['class_names'][:5]} in another process"
        raise Fault(seen, fix)
    for name, mine in here["splits"].items():
        theirs = there["splits"].get(name, {"samples": 0, "read": []})
        if mine["samples"] != theirs["samples"]:
            raise Fault(f"{name}: {mine['samples']} samples here, {theirs['samples']} in another process", fix)
        differing = sum(one != two for one, two in zip(mine["read"], theirs["read"], strict=True))
        if differing:
            raise Fault(f"{name}: {differing} of {len(mine['read'])} samples differ in another process", fix)
    return f"class names, counts and up to {REREAD} samples of each split are the same there"


def check_workers(subject: DatasetSubject) -> str:
    """Worker processes can read it.

    `--workers N` sends a Dataset to other processes, pickled where they are not forked. It must arrive whole: no
    lambda, no open file, no class defined inside a function. Of a stream each of several workers must give its part:
    two of them go through the training split, as long as that takes 10 s at most, and each sample comes once.
    """
    datasets = {name: split for name, split in subject.splits.items() if not isinstance(split, tuple)}
    for name, split in datasets.items():
        where, last = subject.locate(split), find_last(split)
        try:
            same = read_places(pickle.loads(pickle.dumps(split)), [last]) == read_places(split, [last])
        except Exception as error:
            fix = "Define classes and functions at the top of a module, and open files in __getitem__"
            raise Fault(f"{name} cannot be pickled: {describe(error)}", fix, where) from error
        if subject.steady and not same:
            raise Fault(f"{name}: sample {last} differs in a pickled copy", "Keep its state in plain attributes", where)
    if not datasets:
        return "its splits are tensors, which need no workers"
    if isinstance(subject.splits.train, IterableDataset):
        return _check_parts(subject, subject.splits.train)
    return f"{len(datasets)} splits arrive whole in a worker"


def _check_parts(subject: DatasetSubject, train: IterableDataset[Any]) -> str:
    """Raise Fault where two workers do not give each sample of a stream once."""
    preprocess = subject.splits.preprocess or Preprocess()
    fitted = fit_split(train, preprocess) if preprocess.rounded else train
    settings = BatchSettings(batch_size=PART_SIZE, device=torch.device("cpu"), shuffle_seed=0, workers=2)
    classes, started, read = len(subject.splits.class_names), time.perf_counter(), 0
    batches = make_batches(fitted, preprocess, settings, name=subject.entry.name, num_classes=classes)
    try:
        with closing(cast("Generator[Any, None, None]", batches.epoch(0))) as parts:
            for _, targets in parts:
                read += len(targets)
                if time.perf_counter() - started > READ_SECONDS:
                    break
    except DataError as error:
        raise Fault(
            f"train, read by two workers: {error.what}", error.fix or OWN_PART, subject.locate(train)
        ) from error
    return f"two workers give {read} of {batches.samples} training samples, each once"


def check_offline(subject: DatasetSubject) -> str:
    """Prepared once, it works without a network.

    Machines that train often have none. Built once more, and samples read, while every connection is refused.
    """
    fix = "Declare the files in the spec, or keep under `root` what was downloaded and look there first"
    attempts: list[str] = []
    try:
        with refuse_network(attempts):
            _read_some(subject.build())
    except Exception as error:
        if not attempts:
            raise
        raise Fault(f"it asks for {attempts[0]}: {describe(error)}", fix, subject.definition) from error
    if attempts:
        raise Fault(f"it asks for {attempts[0]}", fix)
    return "built while every connection was refused"


def check_settings(subject: DatasetSubject) -> str:
    """Building and reading it change no setting of the process.

    The seed, the thread count, the current folder belong to the run: a data set that seeds torch makes all runs alike.
    What it draws at random comes from a generator of its own.
    """
    fix = "Draw from a generator of its own, such as torch.Generator().manual_seed(0)"
    check_use(lambda: _read_some(build_dataset(subject.entry, root=subject.root, params=subject.params)), fix)
    return "seed, threads, dtype, gradient mode and current folder stay"


def _read_some(splits: DataSplits) -> None:
    for name, split in splits.items():
        for _ in read_samples(split, range(min(8, count_samples(split))), name):
            pass


def check_path(subject: DatasetSubject) -> str:
    """It reads what a path leads to.

    Without one there is nothing to check; an entry that gives the path in its `params` is checked like any other.
    """
    raise Skip(f"it reads what {subject.entry.spec.path_param!r} leads to, and it gives none itself")


PATH_CHECKS: Mapping[str, Check[DatasetSubject]] = {"path": check_path}
"""The checks of a data set that has to be told where its data are."""
GATES = ("files", "builds")
DATASET_CHECKS: Mapping[str, Check[DatasetSubject]] = {
    "files": check_files,
    "builds": check_builds,
    "params": check_params,
    "settings": check_settings,
    "claims": check_claims,
    "images": check_images,
    "classes": check_classes,
    "range": check_range,
    "same": check_same,
    "processes": check_processes,
    "disjoint": check_disjoint,
    "workers": check_workers,
    "offline": check_offline,
}
"""The checks in their order; when one of GATES fails, the checks after it are not tried."""
