"""What `zoo show` says of a weights file: its header alone, so that its size does not matter and nothing is loaded."""

from __future__ import annotations

import json
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import Any

from zoo.cli.output import escape, write_json, write_result, write_table
from zoo.records.header import read_header
from zoo.records.metadata import DatasetOrigin, InputStatistics, WeightsMetadata, read_metadata
from zoo.records.plain import to_json_data
from zoo.records.repeat import write_recipe
from zoo.records.runs import FINISHED, RECORD_FILE, WEIGHTS_FILE, RunRecord, read_record
from zoo.registry.compatibility import show_shape

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


def show_weights(path: Path, *, as_json: bool) -> None:
    """Print what a file's header says, of another program's file its tensors; raise WeightsError for a bad file."""
    header = read_header(path)
    metadata = read_metadata(path, header.metadata) if header.metadata else None
    record: RunRecord | None = None
    if path.name == WEIGHTS_FILE and (path.parent / RECORD_FILE).is_file():
        record = read_record(path.parent / RECORD_FILE)
    recipe = write_recipe(record or metadata) if metadata else None
    if as_json:
        told = dict(header.metadata)
        if golden := told.get("golden"):
            told["golden"] = {key: value for key, value in golden.items() if key != "images"}
        tensors = {name: {"dtype": tensor.dtype, "shape": tensor.shape} for name, tensor in header.tensors.items()}
        write_json({"path": str(path), "size": header.size, "metadata": told, "tensors": tensors, "repeat": recipe})
        return
    count = sum(prod(tensor.shape) for tensor in header.tensors.values())
    facts = [("tensors", f"{len(header.tensors):,} with {count:,} values"), ("size", f"{header.size:,} bytes")]
    name = escape(str(path))
    if metadata:
        plugin = escape(" ".join(filter(None, [metadata.plugin.name, metadata.plugin.version])))
        write_result(f"{name}: weights of {metadata.model} of plugin {plugin}")
        if record and record.status != FINISHED:
            done = f"after {len(record.history)} of {record.train_config.get('epochs', '?')} epochs"
            facts.append(("its run", escape(f"{record.status}, {done}")))
        rows = [*_list_rows(metadata), *facts, ("repeat with", escape(recipe or ""))]
        write_table([row for row in rows if row[1]], indent="  ")
    else:
        write_result(f"{name}: weights of another program, their metadata name no model")
        shapes = [(key, tensor.dtype, show_shape(tensor.shape) or "scalar") for key, tensor in header.tensors.items()]
        write_table(shapes, indent="  ")
        write_table(facts)


def _list_rows(metadata: WeightsMetadata) -> list[tuple[str, str]]:
    """Return what metadata say. Foreign, and checked only as far as loading needs it: any value can be shown."""
    names, golden, image = metadata.class_names, metadata.golden, metadata.image
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
        ("started from", escape(metadata.init.path) if metadata.init else ""),
        ("adapted from", escape(metadata.adapted_from.path) if metadata.adapted_from else ""),
        ("frozen", _show(list(metadata.frozen))),
        ("dataset", escape(dataset.name)),
        ("dataset params", _show(dataset.params)),
        ("dataset digest", _show(dataset.digest)),
        ("metrics", _show(metadata.metrics)),
        ("trained with", _show(metadata.train_config)),
        *((fact, _show(getattr(metadata, fact))) for fact in ("seed", "device", "threads", "versions", "format")),
        ("odd images", _show_warned(metadata.statistics)),
        ("golden samples", str(len(golden.labels)) if golden else "none: zoo verify cannot prove its predictions"),
    ]


def _show_warned(statistics: InputStatistics | None) -> str:
    """Return how often single images are warned about, those that were changed in some way too."""
    if statistics is None or not statistics.warned:
        return ""
    shares = [f"{escape(name)} {share:.1%}" for name, share in statistics.warned.items() if share is not None]
    return f"warned about one by one: {', '.join(shares)}"


def _show(value: Any) -> str:
    """Return a JSON value as text on one line; what is null is left out of a table."""
    if isinstance(value, dict):
        return ", ".join(f"{escape(key)}={_show_part(item)}" for key, item in value.items() if item is not None)
    return ", ".join(map(_show_part, value)) if isinstance(value, list) else _show_part(value)


def _show_part(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else escape(value) if isinstance(value, str) else json.dumps(value)
