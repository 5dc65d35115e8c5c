"""Rows: specs as plain data that JSON keeps, with what they declare and no more."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

from zoo.errors import quote
from zoo.registry.imports import import_object
from zoo.registry.plugins import Plugin
from zoo.registry.specs import SPEC_CLASSES, AnySpec, FileSpec


def make_row(plugin: Plugin, spec: AnySpec) -> dict[str, Any]:
    """Return the declared fields of a spec as they are kept, after trying that they give the spec again."""
    text = json.dumps(_to_fields(plugin, spec), default=lambda value: dict(getattr(value, "__dict__", value)))
    row: dict[str, Any] = json.loads(text)
    read_row(spec.kind, row)
    return row


def _to_fields(plugin: Plugin, spec: AnySpec) -> dict[str, Any]:
    declared = {each: getattr(spec, each.name) for each in fields(SPEC_CLASSES[spec.kind])}
    said = {each: value for each, value in declared.items() if value is not each.default}
    row = {each.name: value for each, value in said.items() if value not in (None, "", (), {})}
    for key in ("factory", "loader"):
        if key in row:
            row[key] = name_callable(plugin, spec, key)
    return row


def name_callable(plugin: Plugin, spec: AnySpec, key: str = "factory") -> str:
    """Return `"package.module:object"` of a spec's factory or loader.

    Raises:
        PluginError: it cannot be found by that.
    """
    named = getattr(spec, key)
    if isinstance(named, str):
        return named
    reference = f"{getattr(named, '__module__', None)}:{getattr(named, '__qualname__', None)}"
    try:
        found = import_object(reference)
    except Exception:  # noqa: BLE001 whatever it is, the factory cannot be found again by name
        found = None
    if found != named:
        cause = f"its {key} cannot be imported by its name; expected a function or class of a module"
        raise plugin.broken(f"{spec.kind} {quote(spec.name)}", cause)
    return reference


def read_row(kind: str, row: dict[str, Any]) -> AnySpec:
    """Return the spec of a kind that `make_row` gave these fields of."""
    files = {"files": [FileSpec(**file) for file in row["files"]]} if "files" in row else {}
    return SPEC_CLASSES[kind](**{**row, **files})
