"""Order: what the lines of `zoo list` can be sorted by, from what is declared and from the headers of files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

from zoo.errors import UsageError, ZooError, quote, suggest
from zoo.registry.entries import Entry, Registry
from zoo.registry.specs import Kind


@dataclass(frozen=True, kw_only=True)
class Order:
    """A key to sort by: `find` gives its value for an entry, None or "" where it is not known, `show` its text."""

    find: Callable[[Entry[Any]], Any]
    show: Callable[[Any], str] = str
    falling: bool = False

    def sort(self, entries: Sequence[Entry[Any]]) -> list[Entry[Any]]:
        """Return the entries in order, those whose value is not known last."""
        values = {entry.qualified_name: self.find(entry) for entry in entries}
        known = [entry for entry in entries if values[entry.qualified_name] not in (None, "")]
        known.sort(key=lambda entry: values[entry.qualified_name], reverse=self.falling)
        return [*known, *(entry for entry in entries if entry not in known)]

    def write(self, entry: Entry[Any]) -> str:
        """Return the value of an entry as a cell."""
        value = self.find(entry)
        return "-" if value in (None, "") else self.show(value)


def find_order(key: str, kinds: Sequence[Kind], entries: Sequence[Entry[Any]], registry: Registry) -> Order:
    """Return the order that a key means for entries of these kinds.

    Raises:
        UsageError: there is none; names those that there are.
    """
    orders = _list_orders(kinds[0] if len(kinds) == 1 else None, entries, registry)
    if key not in orders:
        known = f"Known{'' if len(kinds) == 1 else ' for all kinds, name one for more'}: {', '.join(orders)}"
        near = suggest(key, orders, "")
        raise UsageError(f"nothing can be sorted by {quote(key)}", fix=f"{near} {known}".strip())
    return orders[key]


def _list_orders(kind: Kind | None, entries: Sequence[Entry[Any]], registry: Registry) -> dict[str, Order]:
    orders = {
        "name": Order(find=lambda entry: entry.short_name),
        "plugin": Order(find=lambda entry: entry.plugin.name),
    }
    if kind in ("dataset", "weights"):
        orders["license"] = Order(find=lambda entry: entry.spec.license)
    if kind == "dataset":
        orders["classes"] = Order(find=lambda entry: entry.spec.num_classes)
        orders["samples"] = Order(find=lambda entry: sum(entry.spec.samples.values()) or None, show="{:,}".format)
    if kind == "weights":
        orders["model"] = Order(find=lambda entry: entry.spec.model)
        orders["dataset"] = Order(find=lambda entry: entry.spec.dataset)
        orders["parameters"] = Order(find=count_values, show="{:,}".format)
        for metric in sorted({name for entry in entries for name in entry.spec.metrics}):
            find = partial(_find_metric, metric)
            orders[metric] = Order(find=find, show="{:.4f}".format, falling=_is_higher_better(metric, registry))
    return orders


def _find_metric(metric: str, entry: Entry[Any]) -> float | None:
    return dict(entry.spec.metrics).get(metric)


def _is_higher_better(metric: str, registry: Registry) -> bool:
    if metric == "loss":
        return False
    try:
        return registry.get("metric", metric.partition(".")[0]).spec.higher_is_better
    except ZooError:  # its plugin is not here; most are better when they are higher
        return True


def count_values(entry: Entry[Any]) -> int | None:
    """Return the number of values in the tensors of registered weights, None where their file is not here."""
    from zoo.models.registered import find_file
    from zoo.records.header import read_header

    try:
        path = find_file(entry)
        header = read_header(path) if path is not None else None
    except ZooError:
        return None
    if header is None:
        return None
    return sum(prod(tensor.shape) for tensor in header.tensors.values())
