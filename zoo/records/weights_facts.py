"""Facts of weights: what is known of a file from its header, as rows of text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import Any

from zoo.errors import ZooError
from zoo.records.facts import Facts
from zoo.records.header import read_header
from zoo.records.metadata import InputStatistics, WeightsMetadata, read_metadata
from zoo.records.origins import DatasetOrigin, ModelOrigin, Publication, RecipeOrigin
from zoo.records.plain import to_json_data
from zoo.records.repeat import write_command
from zoo.records.run_folder import FINISHED, RECORD_FILE, WEIGHTS_FILE
from zoo.records.runs import RunRecord, read_record
from zoo.registry.compatibility import show_shape
from zoo.registry.entries import Registry
from zoo.registry.plugins import FIRST_PARTY
from zoo.registry.settings import DEFAULT_LR, TrainConfig, list_settings

FILES = (WEIGHTS_FILE, RECORD_FILE)
"""What a run folder has at least one of: a folder of data may be called like an entry."""
SHOWN = 20
"""Class names shown; all are in the JSON."""


def is_reference(name: str) -> bool:
    """Tell whether a name means weights and not an entry."""
    if "@" in name or name.endswith(".safetensors"):
        return True
    with suppress(OSError, RuntimeError, ValueError):
        path = Path(name).expanduser()
        return path.is_file() or any((path / file).is_file() for file in FILES if name)
    return False


def describe_weights(path: Path, registry: Registry | None = None) -> Facts:
    """Return what a file's header says, of another program's file its tensors; raise WeightsError for a bad file.

    Nothing is loaded but the header, so that the size of the file does not matter. The rows leave out settings that are
    zoo's defaults; where `registry` has the model and it recommends others, they are shown.
    """
    header = read_header(path)
    metadata = read_metadata(path, header.metadata) if header.metadata else None
    record: RunRecord | None = None
    if path.name == WEIGHTS_FILE and (path.parent / RECORD_FILE).is_file():
        record = read_record(path.parent / RECORD_FILE)
    command = write_command(record or metadata) if metadata else None
    told = dict(header.metadata)
    if golden := told.get("golden"):
        told["golden"] = {key: value for key, value in golden.items() if key != "images"}
    tensors = {name: {"dtype": tensor.dtype, "shape": tensor.shape} for name, tensor in header.tensors.items()}
    data = {"path": str(path), "size": header.size, "metadata": told, "tensors": tensors, "repeat": command}
    count = sum(prod(tensor.shape) for tensor in header.tensors.values())
    facts = [("tensors", f"{len(header.tensors):,} with {count:,} values"), ("size", f"{header.size:,} bytes")]
    if metadata is None:
        title = f"{path}: weights of another program, their metadata name no model"
        rows = [(key, tensor.dtype, show_shape(tensor.shape) or "scalar") for key, tensor in header.tensors.items()]
        return Facts(title=title, rows=tuple(rows), data=data, more=tuple(facts))
    plugin = " ".join(filter(None, [metadata.plugin.name, metadata.plugin.version]))
    if record and record.status != FINISHED:
        done = f"after {len(record.history)} of {record.train_config.get('epochs', '?')} epochs"
        facts.append(("its run", f"{record.status}, {done}"))
    unusual = _keep_unusual(metadata, registry)
    known = tuple(row for row in [*_list_rows(metadata, unusual), *facts, ("repeat with", command or "")] if row[1])
    return Facts(title=f"{path}: weights of {metadata.model} of plugin {plugin}", rows=known, data=data)


def _keep_unusual(metadata: WeightsMetadata, registry: Registry | None) -> dict[str, Any]:
    """Return the settings of a training without those that are zoo's defaults, and not otherwise recommended."""
    given, recommended = metadata.train_config or {}, dict[str, Any]()
    if registry is not None:
        with suppress(ZooError):
            recommended = dict(registry.get("model", metadata.qualified_model).spec.train)
    usual = {name: getattr(TrainConfig, name) for name in list_settings()}
    usual |= {"memory_format": "contiguous", "processes": 1}  # as they were chosen, never left open
    usual["lr"] = DEFAULT_LR.get(str(given.get("optimizer", TrainConfig.optimizer)))
    return {
        name: value
        for name, value in given.items()
        if name not in usual or value != usual[name] or recommended.get(name, value) != value
    }


def _list_rows(metadata: WeightsMetadata, settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what metadata say. Foreign, and checked only as far as loading needs it: any value can be shown."""
    names, golden, image = metadata.class_names, metadata.golden, metadata.image
    origin, features = metadata.converted_from, metadata.features
    dataset = metadata.dataset or DatasetOrigin(name="")
    form = f"{show_shape(image.shape)} {image.dtype}, {image.range[0]:g} to {image.range[1]:g}" if image else ""
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    steps = {key: value for key, value in to_json_data(metadata.preprocess).items() if value not in (None, [])}
    if metadata.preprocess.resize is None:
        steps.pop("interpolation")  # it is always there, and nothing is resized
    return [
        ("params", _show(metadata.params) or "none"),
        ("input shape", show_shape(metadata.input_shape)),
        ("images", form),
        ("preprocess", _show(steps) or "divided by the range of their dtype"),
        ("classes", f"{len(names):,}: {_show(list(names[:SHOWN]))}{more}"),
        ("features", f"{features.width:,} from {features.layer}" if features else ""),
        ("started from", metadata.init.path if metadata.init else ""),
        ("adapted from", metadata.adapted_from.path if metadata.adapted_from else ""),
        ("converted from", f"{origin.path}, {_tell_origin(origin)}" if origin else ""),
        *_list_publication(metadata.published),
        ("frozen", _show(list(metadata.frozen))),
        ("dataset", dataset.name),
        ("dataset params", _show(dataset.params)),
        ("dataset digest", _show(dataset.digest)),
        ("metrics", _show(metadata.metrics)),
        ("recipe", _show_recipe(metadata.recipe)),
        ("averaged", _show_average(metadata.train_config)),
        ("trained with", _show_settings(settings) if metadata.train_config else ""),
        *((fact, _show(getattr(metadata, fact))) for fact in ("seed", "device", "threads", "versions", "format")),
        ("odd images", _show_warned(metadata.statistics)),
        ("golden samples", str(len(golden.labels)) if golden else "none: zoo verify cannot prove its predictions"),
    ]


def _tell_origin(origin: ModelOrigin) -> str:
    return f"weights of {origin.model}" if origin.model else f"the file of another program with SHA-256 {origin.digest}"


def _list_publication(published: Publication | None) -> list[tuple[str, str]]:
    """Return what is said of registered weights that a file was made of."""
    if published is None:
        return []
    return [
        ("published as", published.qualified_name),
        ("license", published.license),
        ("source", published.homepage or published.source),
        ("sha256", published.sha256),
        ("stated scores", _show(dict(published.metrics))),
    ]


def _show_settings(unusual: Mapping[str, Any]) -> str:
    return "; ".join(filter(None, [_show(dict(unusual)), "else zoo's defaults"]))


def _show_average(config: Any) -> str:
    """Return that weights are averages, where the settings of their training say so."""
    decay = config.get("ema") if isinstance(config, dict) else None
    return f"a moving average of the weights of the training, decay {_show(decay)}" if decay is not None else ""


def _show_recipe(recipe: RecipeOrigin | None) -> str:
    if recipe is None:
        return ""
    name = recipe.name if recipe.plugin.name == FIRST_PARTY else recipe.qualified_name
    return f"{name}, but {', '.join(recipe.changed)}" if recipe.changed else name


def _show_warned(statistics: InputStatistics | None) -> str:
    """Return how often single images are warned about, those that were changed in some way too."""
    if statistics is None or not statistics.warned:
        return ""
    shares = [f"{name} {share:.1%}" for name, share in statistics.warned.items() if share is not None]
    return f"warned about one by one: {', '.join(shares)}"


def _show(value: Any) -> str:
    """Return a JSON value as text on one line; what is null is left out of a table."""
    if isinstance(value, dict):
        return ", ".join(f"{key}={_show_part(item)}" for key, item in value.items() if item is not None)
    return ", ".join(map(_show_part, value)) if isinstance(value, list) else _show_part(value)


def _show_part(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)
