"""The loader that registry.toml names: weights of torchvision's classification models, trained on ImageNet."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import WeightsEnum

from zoo import Preprocess, PretrainedWeights, UsageError, WeightsError
from zoo_plugins import torch_hub

AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
"""How the names of auxiliary heads begin. They are for the training alone, and models of the catalogue have none."""
INCEPTIONS = ("googlenet", "inception_v3")
"""Models whose weights have auxiliary heads, and were trained on inputs that the model scales in another way itself."""


def load(*, name: str, offline: bool) -> PretrainedWeights:
    """Return the weights `MODEL.CHOICE`, say `resnet18.imagenet1k_v1`; their file is fetched by torch.hub.

    Raises:
        UsageError: the installed torchvision has no such weights.
        DownloadError, WeightsError: see `torch_hub.fetch`; or the file holds something else than tensors.
    """
    weights = find_weights(name)
    path, digest = torch_hub.fetch(weights.url, offline=offline)
    model, params = name.partition(".")[0], find_params(name)
    return PretrainedWeights(
        state_dict=_read_tensors(path, model, params),
        input_shape=(3, *_find_crop(weights)),
        preprocess=find_preprocess(weights),
        class_names=weights.meta["categories"],
        params=params,
        license=weights.meta.get("license", ""),
        source=weights.url,
        sha256=digest,
        versions={"torchvision": torchvision.__version__},
    )


def find_weights(name: str) -> WeightsEnum:
    """Return the weights that torchvision calls by the two parts of a name; raise UsageError where it has none."""
    model, _, choice = name.partition(".")
    try:
        return torchvision.models.get_model_weights(model)[choice.upper()]
    except (KeyError, ValueError):
        raise UsageError(
            f"torchvision {torchvision.__version__} has no weights {name!r}",
            fix="Install one that has them, pip install -U torchvision, or choose others",
        ) from None


def find_params(name: str) -> dict[str, Any]:
    """Return the params of the model that weights are for, as torchvision's builder of that model sets them."""
    model = name.partition(".")[0]
    if model in INCEPTIONS:
        return {"transform_input": True}
    height, _ = _find_crop(find_weights(name))
    return {"image_size": height} if model.startswith("vit_") and height != 224 else {}


def find_preprocess(weights: WeightsEnum) -> Preprocess:
    """Return the steps of torchvision's own transforms for weights: those of pictures as Pillow resizes them."""
    steps = weights.transforms()
    (resize,) = steps.resize_size
    return Preprocess(
        resize=resize,
        interpolation=steps.interpolation.value,
        crop=_find_crop(weights),
        mean=tuple(steps.mean),
        std=tuple(steps.std),
        rounded=True,
    )


def _find_crop(weights: WeightsEnum) -> tuple[int, int]:
    (crop,) = weights.transforms().crop_size
    return (crop, crop)


def _read_tensors(path: Path, model: str, params: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the tensors of a file as today's model has them: its layers read those of older versions."""
    try:
        read = torch.load(path, map_location="cpu", weights_only=True)
    except torch_hub.NOT_TENSORS as error:
        what = f"{path} holds something else than tensors, so it is not read"
        raise WeightsError(what, str(error).partition("\n")[0]) from error
    if model.startswith("densenet"):  # saved before its layers had names that they can have in torch today
        read = {re.sub(r"\.(norm|relu|conv)\.([12])\.", r".\1\2.", name): value for name, value in read.items()}
    whole = _build(model, params)
    whole.load_state_dict(read, assign=True)
    return {name: value for name, value in whole.state_dict().items() if not name.startswith(AUXILIARY)}


def _build(model: str, params: Mapping[str, Any]) -> nn.Module:
    """Return a model as torchvision builds it for weights, with auxiliary heads; its values mean nothing."""
    inception = {"aux_logits": True, "init_weights": False} if model in INCEPTIONS else {}
    build = partial(torchvision.models.get_model, model, weights=None, **inception, **params)
    try:
        with torch.device("meta"):
            return build()
    except NotImplementedError:  # it computes its own layout with tensors
        return build()
