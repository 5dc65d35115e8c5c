"""Pretrained weights: what a loader that a plugin declares gives. `zoo.models.published` makes a weights file of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from zoo.errors import show
from zoo.limits import MAX_CLASSES
from zoo.registry import fields
from zoo.registry.preprocess import Preprocess

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class PretrainedWeights:
    """What `loader(*, name, offline)` of weights gives: a state dict, and all that is needed to use it.

    A field that is wrong raises a ValueError that names it.

    Fields:
        state_dict: The tensors by name: all of those that the model has, and no others.
        input_shape: Shape of one input, channels first.
        preprocess: How raw images become inputs. Weights that were trained on pictures as Pillow resizes them, those of
            torchvision and timm say, have it with `rounded=True`.
        class_names: The names of the classes, in the order of the logits.
        num_classes: Their number; follows from `class_names` where those are given. Without names the classes are
            called `class 0`, `class 1` and so on.
        params: Params of the model that the tensors are for, where they are not its defaults.
        license: Under which terms they may be used; that of the spec where it says nothing.
        homepage: Where they come from; likewise.
        source: Address or path that the tensors were read from.
        sha256: SHA-256 of the file there.
        versions: Versions of the libraries that gave them, by name.
    """

    state_dict: Mapping[str, Tensor] = field(repr=False)
    input_shape: tuple[int, ...]
    preprocess: Preprocess = field(default_factory=Preprocess)
    class_names: tuple[str, ...] = field(default=(), repr=False)
    num_classes: int | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    license: str = ""
    homepage: str = ""
    source: str = ""
    sha256: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._check_tensors()
        if self.input_shape is None:
            raise ValueError("input_shape: expected a list of sizes, got None")
        fields.freeze_shape(self, "input_shape")
        if not isinstance(self.preprocess, Preprocess):
            raise ValueError(f"preprocess: expected a Preprocess, got {show(self.preprocess)}")
        made = self._try_preprocess()
        if made != self.input_shape:
            raise ValueError(f"input_shape: expected {made}, which preprocess makes, got {self.input_shape}")
        fields.freeze_texts(self, "class_names")
        if self.num_classes is None:
            object.__setattr__(self, "num_classes", len(self.class_names))
        fields.check_int("class_names or num_classes", self.num_classes, 1)
        if self.class_names and len(self.class_names) != self.num_classes:
            raise ValueError(f"class_names: expected {self.num_classes} names, got {len(self.class_names)}")
        if (self.num_classes or 0) > MAX_CLASSES:
            raise ValueError(f"num_classes: expected at most {MAX_CLASSES}, got {self.num_classes}")
        fields.freeze_map(self, "params")
        fields.freeze_map(self, "versions")
        fields.check_text(self, "license", "homepage", "source")
        if self.sha256:
            fields.check_sha256("sha256", self.sha256)

    def _check_tensors(self) -> None:
        from torch import Tensor

        state = self.state_dict
        if not isinstance(state, Mapping) or not state:
            raise ValueError(f"state_dict: expected a table of tensors by name, got {show(type(state).__name__)}")
        for name, value in state.items():
            if not isinstance(name, str) or not isinstance(value, Tensor):
                raise ValueError(f"state_dict: expected tensors by name, got {show(name)}: {type(value).__name__}")
        object.__setattr__(self, "state_dict", MappingProxyType(dict(state)))

    def _try_preprocess(self) -> tuple[int, ...]:
        """Return the shape of the inputs that raw images become."""
        if self.preprocess.is_for_images and len(self.input_shape) != 3:
            raise ValueError(f"input_shape: expected (channels, height, width), got {self.input_shape}")
        return self.preprocess.output_shape(self.raw_shape)

    @property
    def raw_shape(self) -> tuple[int, ...]:
        """Shape of a raw image that `preprocess` has the least to do with: of the size that it resizes to."""
        return self.preprocess.fitted_shape(self.input_shape)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the classes, `class 0` and so on where none are known."""
        return self.class_names or tuple(f"class {index}" for index in range(self.num_classes or 0))
