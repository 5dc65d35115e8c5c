"""Manifests: specs as data in a `registry.toml`. Reading one imports no code that it names.

    schema = 1

    [models.baseline]
    factory = "zoo_plugins.models.baseline:Baseline"
    params = { hidden_units = 10 }

Tables are `models`, `datasets`, `metrics` and `weights`, with `schema = 2` also `losses`, `loggers` and `recipes`; keys
are the fields of the specs, and the name of a table is the name of the entry. An entry with a mistake is left out, with
a warning, and the others work. With `qualified_only = true` at the top, entries are found as `plugin/name` only: right
for a catalogue of hundreds.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from zoo.errors import ManifestError, closest, quote, show
from zoo.limits import MAX_MANIFEST
from zoo.registry.fields import MAX_SHOWN, make_absolute
from zoo.registry.flaws import Flaw
from zoo.registry.specs import SPEC_CLASSES, AnySpec, DatasetSpec, FileSpec, RecipeSpec, WeightsSpec
from zoo.storage.toml import read_toml

MANIFEST_FILE = "registry.toml"
SCHEMA = 2
TABLES = {
    **{"models": "model", "datasets": "dataset", "metrics": "metric", "losses": "loss", "loggers": "logger"},
    **{"recipes": "recipe", "weights": "weights"},
}
SINCE = {"losses": 2, "loggers": 2, "recipes": 2}
"""The schema from which on there are these tables; an older zoo refuses its number."""
NEEDED: dict[type, dict[str, str]] = {
    FileSpec: dict.fromkeys(("path", "urls"), ""),
    **dict.fromkeys((RecipeSpec, WeightsSpec), dict.fromkeys(("model", "dataset"), "; expected a name")),
}

D = TypeVar("D", AnySpec, FileSpec)


@dataclass(frozen=True)
class Manifest:
    """The specs that a manifest declares, and whether they answer to `plugin/name` only."""

    specs: tuple[AnySpec, ...]
    qualified_only: bool = False


def first_party_path() -> Path:
    """Return zoo's own manifest: inside the package when installed, one level above it in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / MANIFEST_FILE
    return installed if installed.is_file() else package.parent / MANIFEST_FILE


def read_manifest(path: Path, flaws: list[Flaw] | None = None) -> Manifest:
    """Read and check a manifest.

    Where there is a list for `flaws`, an entry that is wrong is left out and told there, as long as any other is right.

    Raises:
        ManifestError: the file cannot be read, is not TOML, is of a newer schema, or declares something unknown or
            wrong; the message names file, table and key.
    """
    document = _read_tables(path)
    schema = document.pop("schema", None)
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        newer = f"or {SCHEMA} for {', '.join(SINCE)}"
        raise ManifestError(path, "", f"schema: expected schema = 1 at the top, {newer}; got {show(schema)}")
    if schema > SCHEMA:
        why = f"schema {show(schema)} is newer than this zoo reads ({SCHEMA})"
        raise ManifestError(path, "", f"{why}. Fix: pip install -U zoo-torch")
    qualified_only = document.pop("qualified_only", False)
    if not isinstance(qualified_only, bool):
        raise ManifestError(path, "", f"qualified_only: expected true or false, got {show(qualified_only)}")
    specs: list[AnySpec] = []
    errors: list[ManifestError] = []
    for table, entries in document.items():
        if table not in TABLES:
            raise ManifestError(path, "", _explain_unknown(table, [*TABLES, "qualified_only", "schema"]))
        if SINCE.get(table, 1) > schema:
            why = f"needs schema = {SINCE[table]} at the top, got {show(schema)}"
            raise ManifestError(path, "", f"[{table}]: {why}. A zoo that reads {schema} alone does not know it")
        if not isinstance(entries, dict):
            raise ManifestError(path, table, f"expected tables [{table}.NAME], got {show(entries)}")
        kind = TABLES[table]
        for name, entry in entries.items():
            try:
                specs.append(_declare(SPEC_CLASSES[kind], path, f"{table}.{name[:MAX_SHOWN]}", entry, name=name))
            except ManifestError as error:
                if flaws is None:
                    raise
                errors.append(error)
                flaws.append(Flaw(kind, name[:MAX_SHOWN], str(error)))
    if errors and not specs:
        raise errors[0]
    return Manifest(tuple(specs), qualified_only=qualified_only)


def _read_tables(path: Path) -> dict[str, Any]:
    try:
        return read_toml(path, MAX_MANIFEST)
    except ValueError as error:
        raise ManifestError(path, "", str(error)) from error


def _explain_unknown(key: str, known: list[str]) -> str:
    near = closest(key[:MAX_SHOWN], known)
    hint = f"did you mean {quote(near)}? " if near else ""
    shown = key if key.isidentifier() and len(key) <= MAX_SHOWN else show(key)
    return f"{shown}: unknown key; {hint}known keys: {', '.join(sorted(known))}"


def _declare(wanted: type[D], path: Path, table: str, entry: object, **given: Any) -> D:
    """Return what a table declares as `wanted`; the fields `given` are not for the table to declare."""
    if not isinstance(entry, dict):
        raise ManifestError(path, table, f"expected a table, got {show(entry)}")
    known = [each.name for each in fields(wanted) if each.name not in given]
    for key in entry:
        if key not in known:
            raise ManifestError(path, table, _explain_unknown(key, known))
    for key, form in NEEDED.get(wanted, {"factory": "; expected 'package.module:object'"}).items():
        if key not in entry:
            raise ManifestError(path, table, f"{key}: missing{form}")
    if isinstance(entry.get("files"), list):
        files = enumerate(entry["files"])
        read = tuple(_declare(FileSpec, path, f"{table}.files.{number}", file) for number, file in files)
        entry = {**entry, "files": read}
    if wanted is DatasetSpec:
        entry = _find_beside(path.parent, entry)
    try:
        return wanted(**given, **entry)
    except ValueError as error:
        raise ManifestError(path, table, str(error)) from error


def _find_beside(folder: Path, entry: dict[str, Any]) -> dict[str, Any]:
    """Return what a data set declares, with the path that it gives as a param from the folder of the manifest."""
    name, params = entry.get("path_param"), entry.get("params")
    if not isinstance(name, str) or not isinstance(params, dict) or not isinstance(params.get(name), str):
        return entry
    if not params[name]:
        return entry
    return {**entry, "params": {**params, name: make_absolute(params[name], folder)}}
