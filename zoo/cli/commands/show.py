"""`zoo show`: what is known of an entry, from its spec alone, or of weights.

`--layers` builds the model, `--counts` loads the data.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import click

from zoo.cli.command import Command
from zoo.cli.commands.list import KINDS
from zoo.cli.options import Discover, output_options, place_options, plugin_options, read_params
from zoo.cli.output import escape, write_json, write_result, write_table
from zoo.cli.weights import is_reference, show_weights
from zoo.errors import DownloadError, UnknownNameError, UsageError, quote, suggest
from zoo.records.plain import to_json_data
from zoo.records.references import find_entries, find_weights
from zoo.registry.compatibility import adapt_preprocess, show_shape
from zoo.registry.places import open_places
from zoo.registry.specs import DatasetSpec, MetricSpec, ModelSpec, WeightsSpec


@click.command("show", cls=Command)
@click.argument("name", metavar="NAME|WEIGHTS")
@click.option("--layers", is_flag=True, help="Build a model and show its layers, shapes and parameter counts.")
@click.option("--dataset", default="shapes", metavar="NAME", help="With --layers: the data set to build for.  [shapes]")
@click.option("--param", "params", multiple=True, metavar="K=V", help="With --layers: a param of the model.")
@click.option("--counts", is_flag=True, help="Load a data set and show its samples per class and its batches.")
@click.option("--batch-size", default="32", metavar="N", help="With --counts: samples per batch.  [32]")
@click.option("--dataset-param", "dataset_params", multiple=True, metavar="K=V", help="With --counts: a param of it.")
@place_options()
@plugin_options
@output_options
def show_command(
    name: str,
    layers: bool,
    dataset: str,
    params: tuple[str, ...],
    counts: bool,
    batch_size: str,
    dataset_params: tuple[str, ...],
    data_dir: str | None,
    offline: bool | None,
    runs_dir: str | None,
    discover: Discover,
    as_json: bool,
) -> None:
    """Show what is known of a model, data set, metric or weights.

    WEIGHTS is a file, a run folder, @last, @best or MODEL@DATASET. Nothing of it is loaded but its header.
    """
    registry = discover()
    if is_reference(name):
        if layers or counts:
            option, kind = ("--layers", "model") if layers else ("--counts", "data set")
            raise UsageError(f"{option} and weights were both given", fix=f"Give the name of the {kind}")
        try:
            path = find_weights(name, open_places(registry, runs_dir=runs_dir, offline=True))
        except DownloadError:
            # Registered weights are shown from their declaration: showing them must not fetch them.
            model, _, dataset_name = name.rpartition("@")
            entries = find_entries(model, dataset_name, registry)
        else:
            show_weights(path, as_json=as_json)
            return
    else:
        entries = _find(registry, name)
    table = _build_layers(registry, name, dataset, read_params("--param", params)) if layers else None
    description = None
    if counts:
        from zoo.data.description import describe_dataset

        description = describe_dataset(
            name,
            dataset_params=read_params("--dataset-param", dataset_params),
            batch_size=batch_size,  # type: ignore[arg-type]  # text that is converted like any setting
            data_dir=data_dir,
            offline=offline,
            registry=registry,
        )
    if as_json:
        shown = [_to_dict(entry) for entry in entries]
        counted = {"counts": description.to_dict()} if description else {}
        write_json({"entries": shown, **({"layers": table} if table else {}), **counted})
        return
    for entry in entries:
        write_result(f"{entry.short_name}: {entry.spec.kind} of plugin {entry.plugin.label}")
        rows = [("description", entry.spec.description), *_ROWS[entry.spec.kind](entry.spec)]
        write_table([row for row in rows if row[1]], indent="  ")
    if table is not None:
        _write_layers(table)
    if description is not None:
        _write_counts(description)


def _find(registry: Any, name: str) -> list[Any]:
    found: list[Any] = []
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


def _show_values(values: Any) -> str:
    return ", ".join(f"{key}={value}" for key, value in values.items())


def _model_rows(spec: ModelSpec) -> list[tuple[str, str]]:
    return [
        ("input shape", show_shape(spec.input_shape or ()) or "any"),
        ("adapts", ", ".join(spec.adapt)),
        ("params", _show_values(spec.params) or "none"),
        ("recommended", _show_values(spec.train)),
        ("factory", str(spec.factory)),
    ]


def _dataset_rows(spec: DatasetSpec) -> list[tuple[str, str]]:
    names = [f"{index} {name}" for index, name in enumerate(spec.class_names)]
    return [
        ("input shape", show_shape(spec.input_shape or ()) or "not declared"),
        ("samples", ", ".join(f"{split} {count}" for split, count in spec.samples.items())),
        ("classes", names[0] if names else str(spec.num_classes or "not declared")),
        *(("", name) for name in names[1:]),
        ("params", _show_values(spec.params) or "none"),
        ("license", spec.license),
        ("source", spec.homepage),
        ("download", _show_download(sum(file.size for file in spec.files), len(spec.files)) if spec.files else "none"),
        ("factory", str(spec.factory)),
    ]


def _show_download(size: int, files: int) -> str:
    rounded = f"{size / 1e6:.1f} MB ({size} bytes)" if size >= 100_000 else f"{size} bytes"
    return f"{rounded} in {files} file{'' if files == 1 else 's'}"


def _metric_rows(spec: MetricSpec) -> list[tuple[str, str]]:
    return [
        ("better", "higher" if spec.higher_is_better else "lower"),
        ("params", _show_values(spec.params) or "none"),
        ("factory", str(spec.factory)),
    ]


def _weights_rows(spec: WeightsSpec) -> list[tuple[str, str]]:
    return [
        ("model", spec.model),
        ("dataset", spec.dataset),
        ("metrics", _show_values(spec.metrics)),
        ("license", spec.license),
        ("source", spec.homepage),
        ("file", spec.file),
        ("download", f"{_show_download(spec.size, 1)}: {spec.url}" if spec.size else ""),
        ("sha256", spec.sha256),
    ]


_ROWS: dict[str, Any] = {
    "model": _model_rows,
    "dataset": _dataset_rows,
    "metric": _metric_rows,
    "weights": _weights_rows,
}


def _to_dict(entry: Any) -> dict[str, Any]:
    values = {field.name: getattr(entry.spec, field.name) for field in fields(entry.spec)}
    plain = {name: str(value) if callable(value) else to_json_data(value) for name, value in values.items()}
    return {"kind": entry.spec.kind, "qualified_name": entry.qualified_name, **plain}


def _build_layers(registry: Any, model: str, dataset: str, params: dict[str, str]) -> dict[str, Any]:
    from zoo.models.probe import list_layers
    from zoo.registry.factories import build_model, load_factory
    from zoo.registry.params import resolve_params
    from zoo.registry.preprocess import Preprocess

    entry, data = registry.get("model", model), registry.get("dataset", dataset).spec
    if data.input_shape is None or data.num_classes is None:
        raise UsageError(f"dataset {quote(dataset)} declares no input shape and classes", fix="Give another --dataset")
    shape = adapt_preprocess(entry.spec, dataset, data.input_shape, Preprocess())[0].output_shape(data.input_shape)
    values = resolve_params(entry.spec, load_factory(entry), params)
    built = build_model(entry, input_shape=shape, num_classes=data.num_classes, params=values)
    with entry.blamed("failed"):
        return list_layers(built, shape)


def _write_layers(table: dict[str, Any]) -> None:
    write_result(f"layers for inputs of {show_shape(table['input_shape'])}")
    rows = [("layer", "type", "output", "parameters")]
    for layer in table["layers"]:
        shape = show_shape(layer["output_shape"] or ()) or "any"
        rows.append((layer["name"], layer["type"], shape, f"{layer['parameters']:,}"))
    write_table(rows, indent="  ")
    write_result(f"{table['parameters']:,} parameters, {table['trainable']:,} of them trainable")


def _write_counts(description: Any) -> None:
    splits = description.splits
    rows = [("class", *splits)]
    for index, name in enumerate(description.class_names):
        rows.append((f"{index} {escape(name)}", *(str(split.per_class[index]) for split in splits.values())))
    rows.append(("all", *(str(split.samples) for split in splits.values())))
    width = max(len(cell) for row in rows for cell in row[1:])
    write_table([(first, *(cell.rjust(width) for cell in cells)) for first, *cells in rows], indent="  ")
    for name, split in splits.items():
        batches = f"{split.batches} batch{'' if split.batches == 1 else 'es'} of {split.batch_size}"
        write_result(f"  {name}: {batches}, inputs {list(split.inputs)}, targets {list(split.targets)}")
