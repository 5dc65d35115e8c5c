"""Facts: what is known of one thing, as rows of text; of an entry, that is what its spec says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from zoo.records.plain import to_json_data
from zoo.records.repeat import follow_recipe
from zoo.registry.compatibility import show_shape
from zoo.registry.entries import Entry
from zoo.registry.specs import DatasetSpec, FileSpec, LossSpec, MetricSpec, ModelSpec, RecipeSpec, Spec, WeightsSpec

Row = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of one thing: a title, rows of a name and a text under it, and all of it as plain data.

    Of weights that name no model the rows are the tensors, and `more` says their number and the size of the file.
    """

    title: str
    rows: tuple[Row, ...]
    data: dict[str, Any]
    more: tuple[Row, ...] = ()


def describe_entry(entry: Entry[Any]) -> Facts:
    """Return what an entry declares."""
    values = {field.name: getattr(entry.spec, field.name) for field in fields(entry.spec)}
    plain = {name: _name_factory(value) if callable(value) else to_json_data(value) for name, value in values.items()}
    rows = [("description", entry.spec.description), *_ROWS[entry.spec.kind](entry.spec)]
    if isinstance(entry.spec, RecipeSpec):
        rows.append(("run with", follow_recipe(entry.short_name, expect=bool(entry.spec.expect))))
    return Facts(
        title=f"{entry.short_name}: {entry.spec.kind} of plugin {entry.plugin.label}",
        rows=tuple(row for row in rows if row[1]),
        data={"kind": entry.spec.kind, "qualified_name": entry.qualified_name, **plain},
    )


def _name_factory(factory: Any) -> str:
    """Return a factory as manifests name it, `package.module:object`, also one that was given as an object."""
    if isinstance(factory, str):
        return factory
    kind = type(factory)
    return f"{getattr(factory, '__module__', kind.__module__)}:{getattr(factory, '__qualname__', kind.__qualname__)}"


def _show_values(values: Any) -> str:
    return ", ".join(f"{key}={value}" for key, value in values.items())


def _model_rows(spec: ModelSpec) -> list[tuple[str, str]]:
    return [
        ("input shape", show_shape(spec.input_shape or ()) or "any"),
        ("adapts", ", ".join(spec.adapt)),
        ("params", _show_values(spec.params) or "none"),
        ("recommended", _show_values(spec.train)),
        ("factory", _name_factory(spec.factory)),
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
        ("download", _describe_files(spec.files)),
        ("factory", _name_factory(spec.factory)),
    ]


def _describe_files(files: Sequence[FileSpec]) -> str:
    """Return how much there is to fetch, as far as that is known, and what has to be got by hand."""
    if not files:
        return "none"
    sizes = [file.size for file in files]
    known, unknown = [size for size in sizes if size is not None], sizes.count(None)
    told = [_show_download(sum(known), len(known))] if known else []
    told += [f"{unknown} file{'' if unknown == 1 else 's'} of unknown size"] if unknown else []
    by_hand = sum(not file.urls for file in files)
    return ", ".join(told + ([f"{by_hand} to be got by hand"] if by_hand else []))


def _show_download(size: int, files: int) -> str:
    rounded = f"{size / 1e6:.1f} MB ({size} bytes)" if size >= 100_000 else f"{size} bytes"
    return f"{rounded} in {files} file{'' if files == 1 else 's'}"


def _metric_rows(spec: MetricSpec) -> list[tuple[str, str]]:
    return [("better", "higher" if spec.higher_is_better else "lower"), *_factory_rows(spec)]


def _factory_rows(spec: Spec) -> list[tuple[str, str]]:
    return [("params", _show_values(spec.params) or "none"), ("factory", _name_factory(spec.factory))]


def _loss_rows(spec: LossSpec) -> list[tuple[str, str]]:
    return [("soft targets", "taken" if spec.soft_targets else "not taken"), *_factory_rows(spec)]


def _recipe_rows(spec: RecipeSpec) -> list[tuple[str, str]]:
    return [
        ("model", spec.model),
        ("params", _show_values(spec.params)),
        ("dataset", spec.dataset),
        ("dataset params", _show_values(spec.dataset_params)),
        ("metrics", ", ".join(spec.metrics)),
        ("settings", _show_values(spec.train)),
        ("expect", _show_values(spec.expect)),
        ("tolerance", _show_values(spec.tolerance)),
    ]


def _weights_rows(spec: WeightsSpec) -> list[tuple[str, str]]:
    return [
        ("model", spec.model),
        ("dataset", spec.dataset),
        ("metrics", _show_values(spec.metrics)),
        ("license", spec.license),
        ("source", spec.homepage),
        ("file", spec.file),
        ("loader", _name_factory(spec.loader) if spec.loader else ""),
        ("download", f"{_show_download(spec.size, 1)}: {spec.url}" if spec.size else ""),
        ("sha256", spec.sha256),
    ]


_ROWS: dict[str, Any] = {
    "model": _model_rows,
    "dataset": _dataset_rows,
    "metric": _metric_rows,
    "loss": _loss_rows,
    "logger": _factory_rows,
    "recipe": _recipe_rows,
    "weights": _weights_rows,
}
