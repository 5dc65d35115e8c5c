"""Pretrained: the weights file that a training starts from, and what of it a model for other data can use."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from zoo.data.splits import DataSplits, read_example
from zoo.errors import OutOfMemoryError, PluginError, quote
from zoo.models.device import use_seed
from zoo.models.transfer import Transfer, transfer_tensors
from zoo.models.weights import hash_tensors, read_tensors
from zoo.records.header import read_header
from zoo.records.metadata import WeightsMetadata, read_metadata
from zoo.records.origins import FileOrigin
from zoo.records.plain import to_json_data
from zoo.registry.entries import Entry
from zoo.registry.factories import build_model
from zoo.registry.preprocess import Preprocess, name_dtype
from zoo.registry.specs import ModelSpec

log = logging.getLogger("zoo")

Table = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """A weights file to start from: where it is, what it says of itself, its tensors and the SHA-256 of their data."""

    path: Path
    metadata: WeightsMetadata
    tensors: dict[str, Tensor]
    digest: str

    @property
    def origin(self) -> FileOrigin:
        """What runs and weights made from it record."""
        return FileOrigin(path=str(self.path), digest=self.digest)

    def is_of(self, entry: Entry[ModelSpec]) -> bool:
        """Tell whether the file is of this model."""
        return self.metadata.qualified_model == entry.qualified_name

    def check(self, entry: Entry[ModelSpec], params: Table) -> None:
        """Check, before any data is there, that the model asked for can use the file: built for the file's own data.

        Raises:
            UsageError: it can use nothing; names the params that differ.
        """
        if causes := self._find_causes(entry, params):
            shape, classes = self.metadata.input_shape, len(self.metadata.class_names)
            try:
                with use_seed(0):
                    model = build_model(entry, input_shape=shape, num_classes=classes, params=params)
            except (PluginError, OutOfMemoryError):
                return  # the model cannot be built for the file's data, but may be for the data asked for
            with entry.blamed("failed"):
                transfer_tensors(model, self.tensors, where=self.path, causes=causes)

    def transfer_to(
        self,
        model: nn.Module,
        entry: Entry[ModelSpec],
        params: Table,
        input_shape: tuple[int, ...],
        class_names: Sequence[str],
    ) -> Transfer:
        """Give a model what fits; what depends on the classes only when they are the same.

        Raises:
            UsageError: nothing fits; names what differs.
        """
        ours, theirs = self.metadata.class_names, tuple(class_names)
        refused = {}
        if len(ours) == len(theirs) and ours != theirs:
            names = _find_head(model, entry, params, input_shape, len(theirs))
            refused = dict.fromkeys(names, "its classes are others than in the file")
        causes = self._find_causes(entry, params)
        if tuple(input_shape) != self.metadata.input_shape:
            causes.append(f"inputs: file {self.metadata.input_shape}, data {tuple(input_shape)}")
        if ours != theirs:
            causes.append("the classes are others" if refused else f"classes: file {len(ours)}, data {len(theirs)}")
        return transfer_tensors(model, self.tensors, where=self.path, refused=refused, causes=causes)

    def shows(self, entry: Entry[ModelSpec], preprocess: Preprocess, raw_shape: Sequence[int]) -> bool:
        """Tell whether raw images become inputs that the file is the proof of: its model takes these.

        Weights may be for larger images than their model declares, as the one built with their params does.
        """
        return self.is_of(entry) and preprocess.output_shape(raw_shape) == self.metadata.input_shape

    def choose_preprocess(
        self, entry: Entry[ModelSpec], dataset: str, splits: DataSplits, raw_shape: Sequence[int], declared: Preprocess
    ) -> Preprocess:
        """Return the file's own preprocess when it makes the file's inputs of these images, else what is declared.

        Tensors are of use for inputs like those they were trained on.
        """
        saved = self.metadata.preprocess
        dtype = read_example(splits.train).dtype
        trained = self.metadata.dataset
        # Float images have no range of their own: those of another data set may have been scaled in another way.
        same = (trained is not None and trained.name == dataset) or not dtype.is_floating_point
        if not (self.is_of(entry) and same and name_dtype(dtype) == self.metadata.raw_image.dtype):
            return declared
        if (declared.rounded or saved.rounded) and len(raw_shape) == 3:
            saved = _make_for_pictures(saved, raw_shape[0], self.metadata.input_shape, rounded=declared.rounded)
        if saved.output_shape(raw_shape) != self.metadata.input_shape:
            return declared
        if saved != declared:
            log.info("inputs are made as for %s: %s", self.path, saved)
        return saved

    def _find_causes(self, entry: Entry[ModelSpec], params: Table) -> list[str]:
        """Return how the model asked for differs from the file's."""
        if not self.is_of(entry):
            return [f"model: file {self.metadata.model}, requested {entry.name}"]
        saved, asked = self.metadata.params, to_json_data(params)
        return [
            f"{name}: file {json.dumps(saved.get(name))}, requested {json.dumps(asked.get(name))}"
            for name in {**saved, **asked}
            if saved.get(name) != asked.get(name)
        ]


def _make_for_pictures(saved: Preprocess, channels: int, wanted: Sequence[int], *, rounded: bool) -> Preprocess:
    """Return a file's preprocess for pictures with these channels; where it resizes nothing, they get the file's size.

    `wanted` is the file's input shape; pictures that are `rounded` may be of any size.
    """
    if rounded and saved.resize is None:
        size = (wanted[1], wanted[2])
        saved = replace(saved, resize=max(size), crop=size)
    if saved.channels is None and {channels, wanted[0]} == {1, 3}:
        saved = replace(saved, channels=wanted[0])
    return replace(saved, rounded=saved.rounded or rounded)


def read_pretrained(path: Path) -> Pretrained:
    """Read a weights file to start from; raise WeightsError when it is missing, damaged, or not zoo's."""
    header = read_header(path)
    metadata = read_metadata(path, header.metadata)
    return Pretrained(path=path, metadata=metadata, tensors=read_tensors(path), digest=hash_tensors(path, header))


def _find_head(
    model: nn.Module, entry: Entry[ModelSpec], params: Table, input_shape: tuple[int, ...], num_classes: int
) -> list[str]:
    """Return the names of the tensors that depend on the classes: those of another shape for one class more."""
    try:
        with use_seed(0):
            other = build_model(entry, input_shape=input_shape, num_classes=num_classes + 1, params=params).state_dict()
    except PluginError as error:
        name = quote(entry.name)
        log.warning("what of model %s belongs to the classes is not known, so all is kept: %s", name, error)
        return []
    shapes = {name: getattr(tensor, "shape", None) for name, tensor in other.items()}
    return [name for name, tensor in model.state_dict().items() if shapes.get(name) != getattr(tensor, "shape", None)]
