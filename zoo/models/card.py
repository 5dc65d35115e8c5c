"""Card: all that can be said of a name or of weights, as `zoo show` prints it. Importing this imports no torch."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.display import align, make_table
from zoo.errors import UnknownNameError, UsageError, quote, suggest
from zoo.models.references import find_reference
from zoo.models.registered import find_file
from zoo.records.facts import Facts, describe_entry
from zoo.records.weights_facts import describe_weights, is_reference
from zoo.registry.arguments import checked
from zoo.registry.compatibility import adapt_preprocess
from zoo.registry.entries import Entry, Registry, choose_registry
from zoo.registry.listing import KINDS
from zoo.registry.paths import read_path
from zoo.registry.places import open_places

if TYPE_CHECKING:
    from zoo.data.description import DatasetDescription
    from zoo.models.layers import LayerTable


@dataclass(frozen=True, kw_only=True, repr=False)
class Card:
    """What is known of a name or of weights; its `repr` is what `zoo show` prints.

    Fields:
        facts: One for each entry of the name, or one for the weights: a `title`, `rows` of texts, and `data`.
        is_weights: Whether they are of a weights file.
        layers: The layers of the model, None where they were not asked for.
        counts: What the data set holds, None where that was not asked for.
    """

    facts: tuple[Facts, ...]
    is_weights: bool = False
    layers: LayerTable | None = None
    counts: DatasetDescription | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        if self.is_weights:
            return self.facts[0].data
        more = {"layers": self.layers, "counts": self.counts}
        shown = {name: part.to_dict() for name, part in more.items() if part is not None}
        return {"entries": [facts.data for facts in self.facts], **shown}

    def __repr__(self) -> str:
        parts = [f"{facts.title}\n{align(facts.rows, '  ')}" for facts in self.facts]
        parts += [align(facts.more) for facts in self.facts if facts.more]
        return "\n".join([*parts, *(repr(part) for part in (self.layers, self.counts) if part is not None)])

    def _repr_html_(self) -> str:
        parts = [make_table([*facts.rows, *facts.more], caption=facts.title, most=100) for facts in self.facts]
        return "".join([*parts, *(part._repr_html_() for part in (self.layers, self.counts) if part is not None)])


@checked
def show(
    name: str | os.PathLike[str],
    *,
    layers: bool = False,
    dataset: str = "shapes",
    params: Mapping[str, Any] | None = None,
    counts: bool = False,
    batch_size: int | str = 32,
    dataset_params: Mapping[str, Any] | None = None,
    data_dir: str | Path | None = None,
    runs_dir: str | Path | None = None,
    offline: bool | None = None,
    plugins: Sequence[str | Path | object] = (),
    registry: Registry | None = None,
) -> Card:
    """Return what is known of a model, data set, metric or weights, from what they declare alone.

    Weights are a path, a run folder, `@last`, `@best` or `MODEL@DATASET`; only the header of the file is read.
    `layers` builds the model with `params` for the shape and classes of `dataset`, and lists its layers. `counts` loads
    the data set with `dataset_params`, and counts its samples by class and its batches of `batch_size`.

    Raises:
        UnknownNameError, UsageError: there is nothing of that name, or no layers or counts of it.
        WeightsError: a file that cannot be read.
        ZooError: see `create_model` and `describe_dataset`.
    """
    chosen, text = choose_registry(registry, plugins), os.fspath(name)
    entries: list[Entry[Any]] = []
    if is_reference(text):
        if layers or counts:
            asked, kind = ("layers", "model") if layers else ("counts", "data set")
            raise UsageError(f"{asked} and weights were both given", fix=f"Give the name of the {kind}")
        found = find_reference(name, open_places(chosen, runs_dir=runs_dir, offline=True))
        # Registered weights that are not here are shown from their declaration: showing them must not fetch them.
        path = found if isinstance(found, Path) else find_file(found)
        if path is not None:
            return Card(facts=(describe_weights(path, chosen),), is_weights=True)
        entries = [found] if isinstance(found, Entry) else []
    else:
        if counts:
            text, dataset_params = read_path(text, dataset_params, chosen)
        entries = _find_entries(chosen, text)
    table = _build_layers(chosen, text, dataset, params or {}) if layers else None
    description = None
    if counts:
        from zoo.data.description import describe_dataset

        places = {"data_dir": data_dir, "offline": offline, "registry": chosen}
        description = describe_dataset(text, dataset_params=dataset_params, batch_size=batch_size, **places)  # type: ignore[arg-type]
    return Card(facts=tuple(map(describe_entry, entries)), layers=table, counts=description)


def _find_entries(registry: Registry, name: str) -> list[Entry[Any]]:
    # First, because saying what is near an unknown name looks at all names there are.
    found = [registry.get(kind, name) for kind in registry.find_kinds(name)]
    if found:
        return found
    unknown: list[UnknownNameError] = []
    for kind in KINDS.values():
        try:
            found.append(registry.get(kind, name))
        except UnknownNameError as error:
            unknown.append(error)
    if found:
        return found
    known = [each for error in unknown for each in error.known]
    raise UnknownNameError("entry", name, known, unknown[0].notes, suggest(name, known, "See: zoo list"))


def _build_layers(registry: Registry, model: str, dataset: str, params: Mapping[str, Any]) -> LayerTable:
    from zoo.models.layers import list_layers
    from zoo.registry.factories import build_model, load_factory, refuse_params
    from zoo.registry.params import resolve_params
    from zoo.registry.preprocess import Preprocess

    entry, data = registry.get("model", model), registry.get("dataset", dataset).spec
    if data.input_shape is None or data.num_classes is None:
        what = f"dataset {quote(dataset)} declares no input shape and classes"
        raise UsageError(what, fix="Give another dataset=...")
    shape = adapt_preprocess(entry.spec, dataset, data.input_shape, Preprocess())[0].output_shape(data.input_shape)
    values = resolve_params(entry.spec, load_factory(entry), params)
    with refuse_params(bool(params)):
        built = build_model(entry, input_shape=shape, num_classes=data.num_classes, params=values)
    with entry.blamed("failed"):
        return list_layers(built, shape)
