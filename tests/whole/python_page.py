"""The page of the public names, docs/reference/python.md: made from their signatures and docstrings."""

from __future__ import annotations

import inspect
import re
from dataclasses import is_dataclass
from typing import Any

import zoo

GROUPS = {
    "Train": (
        *(
            "run",
            "resume",
            "reproduce",
            "Reproduction",
            "run_seeds",
            "summarise_runs",
            "RunResult",
            "ExpectedScore",
            "dry_run",
            "Preview",
        ),
        *("sweep", "Sweep", "SweepTrial", "Confirmation", "matrix", "Matrix", "MatrixCell"),
        *("TrainConfig", "Callback", "RunState", "RunRecord", "Epoch"),
    ),
    "Data": (
        *("load_dataset", "DataSplits", "make_loader", "Loader", "samples", "load_samples", "Samples", "fetch"),
        *("augment", "ImageFiles", "describe_dataset", "DatasetDescription", "SplitDescription", "Preprocess"),
        *("data_list", "data_verify", "Inventory", "DataState", "DataFile", "data_fetch"),
        *("data_add", "Addition", "AddedFile", "data_remove", "Removal", "RemovedFile"),
        *("data_shard", "Sharding", "ShardFile", "read_shards"),
    ),
    "Models": ("create_model", "list_layers", "LayerTable", "Layer"),
    "Weights": (
        *("load", "load_model", "Predictor", "predict", "Predictions", "Prediction"),
        *("save", "verify", "Verification", "adapt", "Adaptation"),
        *("embed", "Embeddings", "EmbeddingOrigin"),
        *("convert", "Conversion"),
    ),
    "Results": (
        *(
            "evaluate",
            "Evaluation",
            "ClassScore",
            "Outcomes",
            "OutcomeOrigin",
            "read_results",
            "read_samples",
            "Result",
        ),
        *("compare", "Comparison", "Row", "Pair", "Group", "GroupPair", "report"),
    ),
    "Runs": ("runs", "RunListing", "RunSummary", "runs_show", "runs_rename", "runs_remove", "runs_clean", "RunRemoval"),
    "Pictures": (
        *("plot", "plot_curves", "plot_schedule", "plot_confusion", "plot_predictions", "plot_wrong", "plot_samples"),
        *("plot_comparison", "find_wrong", "save_figure"),
    ),
    "What there is": (
        *(
            "list",
            "Listing",
            "list_models",
            "list_datasets",
            "list_metrics",
            "list_weights",
            "list_recipes",
            "show",
            "Card",
            "Facts",
        ),
        *("plugins", "PluginState"),
    ),
    "Checks": ("check", "Diagnosis", "bench", "Bench", "Speed", "plugin_test", "certify", "Certificate", "Finding"),
    "Plugins": (
        *("plugin_new", "NewPlugin", "Registry", "Entry", "model", "dataset", "metric", "loss"),
        *("logger", "weights", "hookimpl"),
        *("ModelSpec", "DatasetSpec", "MetricSpec", "LossSpec", "LoggerSpec", "RecipeSpec", "WeightsSpec", "FileSpec"),
        "PretrainedWeights",
    ),
    "Errors": (),
}
"""The names under their headings, in the order of the page; errors are found by their class."""
IN_CONTRACT = (
    *("ModelSpec", "DatasetSpec", "MetricSpec", "LossSpec", "LoggerSpec", "RecipeSpec", "WeightsSpec", "FileSpec"),
    "PretrainedWeights",
)
PAGES = {"augment": "augmentation.md"}
"""The page of each public module."""
WIDTH = 88


def find_public() -> dict[str, Any]:
    """Return each public name and what it is, the version aside."""
    names = {*zoo.__all__, "list"} - {"__version__"}
    return {name: getattr(zoo, name) for name in sorted(names)}


def find_errors() -> list[str]:
    public = find_public().items()
    found = [(name, thing) for name, thing in public if isinstance(thing, type) and issubclass(thing, Exception)]
    return [name for name, thing in sorted(found, key=lambda pair: (pair[1].exit_code, pair[0]))]


def make_python_page() -> str:
    """Return a section for each group, with signature and docstring of each name."""
    parts = []
    for title, names in GROUPS.items():
        parts.append(f"## {title}\n")
        if title == "Errors":
            rows = [f"| `zoo.{name}` | {getattr(zoo, name).exit_code} | {read_first(name)} |" for name in find_errors()]
            parts.append("\n".join(["| error | exit code | means |", "|---|---|---|", *rows, ""]))
        parts += [describe(name, getattr(zoo, name)) for name in names]
    return "\n".join(parts)


def read_first(name: str) -> str:
    return read_first_of(getattr(zoo, name))


def read_first_of(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").partition("\n\n")[0].replace("\n", " ")


def describe(name: str, thing: Any) -> str:
    if inspect.ismodule(thing):
        names = [each for each, own in vars(thing).items() if hasattr(own, "__doc__") and not inspect.ismodule(own)]
        public = [each for each in names if each[0] != "_"]
        rows = [f"- `.{each}`: {read_first_of(getattr(thing, each))}" for each in sorted(public)]
        page = f"[Its page]({PAGES[name]}) says more."
        return f"### `zoo.{name}`\n\n{inspect.getdoc(thing)}\n\n{page}\n\n{chr(10).join(rows)}\n"
    if name == "hookimpl":  # it is pluggy's, and so is its docstring
        return f"### `zoo.{name}`\n\nMarks a function that answers one of [the hooks](contract.md#hooks).\n"
    own = getattr(thing, "__name__", name)
    if own != name and hasattr(zoo, own):
        return f"### `zoo.{name}`\n\nThe same as `zoo.{own}`.\n"
    doc = to_markdown(inspect.getdoc(thing) or "")
    if name in IN_CONTRACT:
        return f"### `zoo.{name}`\n\n{doc.partition(chr(10) * 2)[0]} [The contract](contract.md) lists its fields.\n"
    if not isinstance(thing, type):
        if not inspect.isfunction(thing):
            return f"### `zoo.{name}`\n\n{doc}\n"
        return f"### `zoo.{name}`\n\n```text\n{show_call(name, thing)}\n```\n\n{doc}\n"
    return f"### `zoo.{name}`\n\n{doc}\n{list_members(thing)}"


def show_call(name: str, function: Any) -> str:
    """Return a call with parameters and defaults, over several lines where it is long."""
    signature = inspect.signature(function)
    shown, starred = [], False
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            shown.append("*")
            starred = True
        if parameter.kind is parameter.VAR_KEYWORD:
            shown.append(f"**{parameter.name}")
            continue
        default = "" if parameter.default is parameter.empty else f" = {show_default(parameter.default)}"
        shown.append(f"{parameter.name}: {parameter.annotation}{default}")
    returned = f" -> {signature.return_annotation}"
    line = f"{name}({', '.join(shown)}){returned}"
    return line if len(line) <= WIDTH else f"{name}(\n{''.join(f'    {part},{chr(10)}' for part in shown)}){returned}"


def show_default(default: Any) -> str:
    return "..." if inspect.isfunction(default) else repr(default)


def list_members(kind: type) -> str:
    """Return the properties and methods of a class with the first line of their docstrings."""
    rows = []
    for name, member in vars(kind).items():
        function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        called = name in ("__call__",)
        if (name.startswith("_") and not called) or not inspect.isfunction(function):
            continue
        first = (inspect.getdoc(function) or "").partition("\n\n")[0].replace("\n", " ")
        if isinstance(member, property):
            rows.append(f"- `.{name}`: {first}")
        else:
            parameters = [each for each in inspect.signature(function).parameters if each not in ("self", "cls")]
            rows.append(f"- `{kind.__name__.lower() if called else '.' + name}({', '.join(parameters)})`: {first}")
    if is_dataclass(kind) and "Fields:" not in (inspect.getdoc(kind) or ""):
        fields = ", ".join(f"`{field}`" for field in kind.__dataclass_fields__)
        rows.insert(0, f"- fields: {fields}")
    return "\n".join(["", "It has:", "", *rows, ""]) if rows else ""


def to_markdown(doc: str) -> str:
    """Return a docstring with its `Raises:` and `Fields:` as lists."""
    lines, listed = [], False
    for line in doc.splitlines():
        if heading := re.fullmatch(r"(Raises|Fields|Args|Returns):", line):
            lines += [f"{heading[1]}:", ""]
            listed = True
        elif listed and (item := re.match(r" {4}(\w[\w, ]*?): (.*)", line)):
            names = ", ".join(f"`{name.strip()}`" for name in item[1].split(","))
            lines.append(f"- {names}: {item[2]}")
        elif listed and line.startswith(" " * 8):
            lines[-1] += f" {line.strip()}"
        else:
            listed = listed and not line
            lines.append(line)
    return "\n".join(lines)
