"""The second part of a catalogue's manifest: the weights that its library has, made from what that says of them.

Run as a script, this writes that part anew and leaves the models. Nothing is built or fetched.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from zoo.registry.manifest import read_manifest

PLUGINS = Path(__file__).parents[2] / "plugins" / "zoo_plugins"
LIBRARIES = ("torchvision", "timm")
START = "# Weights: "
SELF_SUPERVISED = ("resmlp_12_224.fb_dino", "resmlp_24_224.fb_dino")
"""timm says that these have classes; they were trained without any."""


@dataclass(frozen=True)
class Row:
    """What the index says of weights."""

    name: str
    dataset: str
    default: bool
    classes: int
    side: tuple[int, ...]
    size: float = 0
    license: str = ""
    homepage: str = ""
    metrics: dict[str, float] = field(default_factory=dict)

    def write(self, library: str) -> str:
        """Return the table of the manifest."""
        sides = "x".join(map(str, self.side))
        values: dict[str, Any] = {
            "model": self.name.partition(".")[0],
            "dataset": self.dataset,
            "loader": f"zoo_plugins.{library}.weights:load",
            "description": f"{self.classes:,} classes, inputs {sides}{f', {self.size:.1f} MB' if self.size else ''}",
            "license": self.license,
            "homepage": self.homepage,
        }
        lines = [
            f'[weights."{self.name}"]',
            *(f"{key} = {json.dumps(value)}" for key, value in values.items() if value),
        ]
        lines += ["default = true"] if self.default else []
        lines += [f"metrics = {{ accuracy = {self.metrics['accuracy']:.5f} }}"] if self.metrics else []
        return "\n".join(lines)


def list_rows(library: str) -> Iterator[Row | str]:
    """Yield the weights of a library, or why some are left out, in the order of their names."""
    models = [spec.name for spec in read_manifest(PLUGINS / library / "registry.toml").specs if spec.kind == "model"]
    return _list_torchvision(models) if library == "torchvision" else _list_timm(models)


def _list_torchvision(models: list[str]) -> Iterator[Row | str]:
    weights = import_module("zoo_plugins.torchvision.weights")
    there = import_module("torchvision").models
    for model in there.list_models(module=there):
        for choice in there.get_model_weights(model):
            said = choice.meta
            if model not in models:
                yield "of models that are not in the catalogue"
            elif not said["categories"]:
                yield "without classes"
            else:
                yield Row(
                    name=f"{model}.{choice.name.lower()}",
                    dataset="imagenet",
                    default=choice is type(choice).DEFAULT,
                    classes=len(said["categories"]),
                    side=weights.find_preprocess(choice).crop,
                    size=said["_file_size"],
                    license=said.get("license", ""),
                    homepage=said.get("recipe", ""),
                    metrics={"accuracy": said["_metrics"]["ImageNet-1K"]["acc@1"] / 100},
                )


def _list_timm(models: list[str]) -> Iterator[Row | str]:
    import timm

    known = set(models)
    yield from _mark_defaults([_describe_timm(known, name) for name in timm.list_pretrained()])


def _describe_timm(models: set[str], name: str) -> Row | str:
    import timm
    from timm.data import infer_imagenet_subset

    weights = import_module("zoo_plugins.timm.weights")
    config = timm.get_pretrained_cfg(name)
    if name.partition(".")[0] not in models:
        return "of models that are not in the catalogue"
    subset = infer_imagenet_subset({"num_classes": config.num_classes})
    if subset is None or name in SELF_SUPERVISED:
        return "without classes, or with classes that timm has no names of"
    try:
        steps = weights.find_preprocess(config)
    except ValueError:
        return "with steps before the model that zoo does not have"
    return Row(
        name=name,
        dataset="imagenet" if subset == "imagenet-1k" else subset,
        default=False,
        classes=config.num_classes,
        side=steps.crop,
        license=config.license if config.license not in (None, "unknown") else "",
        homepage=f"https://huggingface.co/{config.hf_hub_id}" if config.hf_hub_id else "",
    )


def _mark_defaults(rows: list[Row | str]) -> Iterator[Row | str]:
    """Yield rows, of each model and data set one as the default: timm's own where it is among them, else its first."""
    import timm

    chosen: dict[tuple[str, str], str] = {}
    found = {row.name: row for row in rows if isinstance(row, Row)}
    for model in dict.fromkeys(name.partition(".")[0] for name in found):
        # In the order in which timm lists them, which is that of their choice.
        for name in timm.models.get_arch_pretrained_cfgs(model):
            if name in found:
                chosen.setdefault((model, found[name].dataset), name)
        own = f"{model}.{timm.get_pretrained_cfg(model).tag}"
        if own in found:
            chosen[model, found[own].dataset] = own
    for row in rows:
        if isinstance(row, Row):
            model = row.name.partition(".")[0]
            yield Row(**{**vars(row), "default": chosen[model, row.dataset] == row.name})
        else:
            yield row


def make_part(library: str) -> str:
    """Return the part of a manifest that declares weights."""
    found = list(list_rows(library))
    rows = sorted((row for row in found if isinstance(row, Row)), key=lambda row: row.name)
    number = version(library).partition("+")[0]
    lines = [
        f"{START}{len(rows)} of the {len(found)} that {library} {number} has; tests/shipped/weights_index.py lists"
    ]
    lines[0] += " them anew."
    lines += [
        f"# Left out: {count} {why}." for why, count in Counter(row for row in found if isinstance(row, str)).items()
    ]
    return "\n".join([*lines, "", *(f"{row.write(library)}\n" for row in rows)])


def read_rest(library: str) -> str:
    """Return what comes before the weights in a manifest."""
    text = (PLUGINS / library / "registry.toml").read_text(encoding="utf-8")
    return text.partition(START)[0].rstrip("\n") + "\n"


def read_weights(library: str) -> str:
    """Return the part of a manifest that declares weights."""
    _, start, text = (PLUGINS / library / "registry.toml").read_text(encoding="utf-8").partition(START)
    return start + text


if __name__ == "__main__":
    for wanted in sys.argv[1:] or LIBRARIES:
        whole = f"{read_rest(wanted)}\n{make_part(wanted)}"
        (PLUGINS / wanted / "registry.toml").write_text(whole, encoding="utf-8", newline="\n")
