"""Conversion: weights of another program, or of a model under another name, made weights of a registered model."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zoo.display import make_table, say
from zoo.errors import SettingError, UsageError, WeightsError, quote
from zoo.models.foreign import Taken, Wish, take_state_dict
from zoo.models.handover import hand_over
from zoo.models.references import find_weights
from zoo.models.state_dicts import refuse_folder
from zoo.records.header import read_header
from zoo.records.plain import to_json_table
from zoo.registry.arguments import checked
from zoo.registry.compatibility import show_shape
from zoo.registry.entries import Registry
from zoo.registry.places import Places, open_places
from zoo.registry.preprocess import Preprocess

SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".pkl", ".tar", ".th", ".json", ".safetensors")
"""How files of weights end that are surely meant as files: no name of registered weights does."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Conversion:
    """Weights that became those of another model: the file, what it was, the model that it has now, and its proof.

    Fields:
        weights: The new file.
        was: The model that zoo weights had, as `plugin/name`; of a state dict the file that it was in.
        model: The model now, as `plugin/name`.
        samples: Golden samples that prove it.
        difference: The largest one between a probability of the golden samples then and now; None for a state dict,
            which says nothing of predictions.
        taken: What was taken of a state dict; None for zoo weights, of which all is.
    """

    weights: Path
    was: str
    model: str
    samples: int
    difference: float | None = None
    taken: Taken | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return to_json_table({**asdict(self), "weights": str(self.weights)})

    def __repr__(self) -> str:
        return say("Conversion", f"{self.was} -> {self.model}", self.proof, weights=self.weights)

    def _repr_html_(self) -> str:
        return make_table([("was", self.was), ("is", self.model), *self.rows, ("weights", self.weights)])

    @property
    def proof(self) -> str:
        """What was proved, in words."""
        if self.difference is None and not self.samples:
            return "none: too many classes, or images too large, for golden samples"
        if self.difference is None:
            return f"{self.samples} golden samples of noise, replayed from the new file"
        return f"{self.samples} golden samples replayed, probabilities within {self.difference:.1g}"

    @property
    def rows(self) -> list[tuple[str, str]]:
        """What was done, as names and texts: of a state dict what was taken, and at last the proof."""
        rows = _describe(self.taken) if self.taken else []
        return [*rows, ("proof", self.proof)]


def _describe(taken: Taken) -> list[tuple[str, str]]:
    names, (before, after) = taken.class_names, taken.beginning
    where = f" under {quote(taken.key)}" if taken.key else ""
    others = f", not {' or '.join(map(quote, taken.other_keys))}" if taken.other_keys else ""
    shown = f"{', '.join(names[:3])}{' ...' if len(names) > 3 else ''}"
    steps = {key: value for key, value in taken.preprocess.to_dict().items() if value not in (None, (), False)}
    if taken.preprocess.resize is None:
        steps.pop("interpolation")
    told = ", ".join(f"{key}={_show(value)}" for key, value in steps.items())
    kinds = sorted(set(taken.rounded.values()))
    rows = [
        ("tensors", f"{taken.tensors}{where}{others}"),
        ("names", _tell_beginning(before, after)),
        ("left out", _list(taken.left_out)),
        ("missing", f"{_list(taken.missing)}: 0, as for a model without batches" if taken.missing else ""),
        ("rounded", f"{len(taken.rounded)} tensors to the nearest values, {', '.join(kinds)}" if kinds else ""),
        ("classes", f"{len(names)}: {shown}{'' if taken.named else ', numbered: nobody named them'}"),
        ("inputs", show_shape(taken.input_shape)),
        ("preprocess", told or "divided by the range of their dtype"),
    ]
    return [row for row in rows if row[1]]


def _tell_beginning(before: str, after: str) -> str:
    if before and after:
        return f"{after} in the place of {before}"
    return f"without the {before} before them" if before else f"with {after} before them" if after else ""


def _show(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) and isinstance(value[0], int) else str(value)


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{', '.join(names[:5])}{more}"


@checked
def convert(
    reference: str | os.PathLike[str],
    model: str,
    *,
    output: str | os.PathLike[str],
    class_names: Sequence[str] | str | os.PathLike[str] | None = None,
    preprocess: Preprocess | None = None,
    params: Mapping[str, Any] | None = None,
    input_shape: Sequence[int] | None = None,
    key: str | None = None,
    rename: Mapping[str, str] | None = None,
    drop: Sequence[str] = (),
    overwrite: bool = False,
    registry: Registry | None = None,
    plugins: Sequence[str | Path | object] = (),
    runs_dir: str | Path | None = None,
    offline: bool | None = None,
) -> Conversion:
    """Make weights those of the registered model `model`, and save them to `output`.

    Zoo weights, by any reference, are for a model that moved: from a plugin file into a package, say. The plugin that
    it was in need not be here. The new model is built with the params of the file, takes all its tensors, and must give
    the predictions of its golden samples. All else that the file says stays, and it says what it was converted from.

    A file of another program, `.safetensors` or one that `torch.save` wrote, holds a state dict alone. So what zoo
    weights know is to be said: `class_names`, in the order of the logits, or the path of a file of them;
    `preprocess`, how a raw image becomes an input; the `params` of the model. Without names the classes are numbered,
    as many as the tensors tell. `input_shape` (channels first) is needed where neither the crop or resize of
    `preprocess` nor the model tells it.

    In a checkpoint the state dict is looked for under `key`, else under the names that are usual, an average of the
    weights first. `rename` says what is called otherwise in the file and `drop` what is not of the model: each takes a
    whole name, or its beginning up to a dot. What all names begin with, `module.` say, is taken away, or put before
    them, where that makes all fit. Floats become the nearest ones of the model's dtype; nothing else is changed.

    `overwrite` lets `output` be a file that exists, also the one that is converted.

    Raises:
        UnknownNameError, AmbiguousNameError: no such model, or several.
        UsageError: `output` exists; what is said does not fit the file, or does not suffice.
        WeightsError: the file is missing, damaged, or asks for code; tensors do not fit: names them; or, of zoo
            weights, there are no golden samples, or the new model gives others: by how much.
        PluginError: the plugin of the new model is broken.
        StorageError: the new file cannot be written; an older one stays.
    """
    places, target = open_places(registry, plugins, runs_dir=runs_dir, offline=offline), Path(output)
    path = _find_file(reference, places)
    _check_target(path, target, overwrite)
    wish = Wish(
        class_names=_read_names(class_names),
        preprocess=preprocess,
        params=params or {},
        input_shape=input_shape,
        key=key,
        rename=rename or {},
        drop=drop,
    )
    entry = places.registry.get("model", model)
    if _is_zoo(path):
        if given := [name for name, value in vars(wish).items() if value != getattr(Wish(), name)]:
            fix = f"Leave out {', '.join(given)}"
            raise UsageError(f"{path} is zoo weights", "they say themselves what their model takes", fix)
        was, samples, difference = hand_over(path, target, entry, places.registry)
        return Conversion(weights=target, was=was, model=entry.qualified_name, samples=samples, difference=difference)
    taken, samples = take_state_dict(path, target, entry, places.registry, wish)
    return Conversion(weights=target, was=str(path), model=entry.qualified_name, samples=samples, taken=taken)


def _find_file(reference: str | os.PathLike[str], places: Places) -> Path:
    """Return the file to convert: a path as it is, whatever it holds, else what a reference to weights means."""
    path = Path(reference)
    try:
        path = path.expanduser()
        is_file, is_folder = path.exists() and not path.is_dir(), path.is_dir()
    except (OSError, RuntimeError, ValueError):  # names that are too long; homes of users who do not exist
        is_file = is_folder = False
    if is_file:
        return path
    if is_folder and str(reference):
        refuse_folder(path)
    if not is_folder and str(reference).endswith(SUFFIXES) and "://" not in str(reference):
        raise WeightsError(f"no weights at {quote(path)}", "no such file", "Give a .safetensors or .pth file")
    return find_weights(reference, places)


def _check_target(path: Path, target: Path, overwrite: bool) -> None:
    """Refuse to write over what is there."""
    is_there = is_itself = False
    with suppress(OSError):  # a name that is too long is no file; it is told when it is written
        is_there = target.exists()
        is_itself = is_there and target.samefile(path)
    if overwrite or not is_there:
        return
    what, fix = f"output {quote(target)} exists", "Write to another file with output=..."
    if is_itself:
        what, fix = f"output {quote(target)} is the file to convert", "Write to another one with output=..."
    raise UsageError(what, fix=f"{fix}, or give overwrite=True")


def _read_names(class_names: Sequence[str] | str | os.PathLike[str] | None) -> Sequence[str] | Path | None:
    if isinstance(class_names, str | os.PathLike):
        return Path(class_names).expanduser()
    if class_names is not None and not all(isinstance(name, str) and name for name in class_names):
        raise SettingError("class_names", "expected texts", class_names)
    return class_names


def _is_zoo(path: Path) -> bool:
    """Tell whether a file is of zoo: safetensors with metadata that say so."""
    try:
        return bool(read_header(path).metadata)
    except WeightsError:
        return False
