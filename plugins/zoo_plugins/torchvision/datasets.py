"""The data sets that registry.toml names: `svhn` of this module is the factory of torchvision's `SVHN`.

What a data set needs is looked for when its factory is, before anything is fetched.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec

import torchvision

from zoo import DataSplits, UsageError

RESIDENT = {
    **{"cifar10": "CIFAR10", "cifar100": "CIFAR100", "emnist": "EMNIST", "fashionmnist": "FashionMNIST"},
    **{"fer2013": "FER2013", "kmnist": "KMNIST", "mnist": "MNIST", "qmnist": "QMNIST", "semeion": "SEMEION"},
    **{"stl10": "STL10", "svhn": "SVHN", "usps": "USPS"},
}
STREAMS = {
    **{"clevr": "CLEVRClassification", "country211": "Country211", "dtd": "DTD", "fgvc_aircraft": "FGVCAircraft"},
    **{"flowers102": "Flowers102", "food101": "Food101", "gtsrb": "GTSRB", "imagenet": "ImageNet"},
    **dict.fromkeys(("imagenette", "imagenette_160", "imagenette_320"), "Imagenette"),
    **dict.fromkeys(("inaturalist", "inaturalist_mini"), "INaturalist"),
    **{"oxford_iiit_pet": "OxfordIIITPet", "pcam": "PCAM", "places365": "Places365"},
    **{"rendered_sst2": "RenderedSST2", "stanford_cars": "StanfordCars"},
}
DIVIDED = {
    **{"caltech101": "Caltech101", "caltech256": "Caltech256", "eurosat": "EuroSAT", "lfw": "LFWPeople"},
    **{"omniglot": "Omniglot", "sun397": "SUN397"},
}
READERS = {**RESIDENT, **STREAMS, **DIVIDED}
"""Names of factories, and of the classes of torchvision that read the data sets; each part has a module of its name."""
NEEDS = {
    **dict.fromkeys(("caltech101", "flowers102", "imagenet", "stanford_cars", "svhn"), "scipy"),
    "pcam": "h5py",
}
"""What torchvision's readers import beside torchvision's own needs; both packages have the name of their module."""


def __getattr__(name: str) -> Callable[..., DataSplits]:
    """Return the factory of a data set.

    Raises:
        UsageError: the installed torchvision has no such data set, or another package is not installed.
    """
    reader = READERS.get(name)
    if reader is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    what = f"data set {name.replace('_', '-')!r}"
    if not hasattr(torchvision.datasets, reader):
        fix = "Install one that has it, pip install -U torchvision"
        raise UsageError(f"torchvision {torchvision.__version__} cannot read {what}", f"it has no {reader}", fix)
    if name in NEEDS and find_spec(NEEDS[name]) is None:
        raise UsageError(f"{what} needs {NEEDS[name]}", "it is not installed", f"pip install {NEEDS[name]}")
    part = "resident" if name in RESIDENT else "streams" if name in STREAMS else "divided"
    module = import_module(f"zoo_plugins.torchvision.{part}")
    factory: Callable[..., DataSplits] = getattr(module, name)
    return factory
